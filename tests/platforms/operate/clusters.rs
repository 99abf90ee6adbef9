//! Three clusters at once, of which one is down: its row says so, and what was to be done on the others is done.

use std::{collections::BTreeMap, slice};

use crate::{
    calls::operator,
    ground::{GROUND, leases},
    harness::{Plane, within},
    passes::{Pass, Team, is_taken},
    servers::DEAD,
};

/// The contexts.
const ALL: &str = "large,second,third";

/// Two passes of the same service account on a cluster.
fn two(plane: &Plane) -> [Pass; 2] {
    let team = Team::new(plane, "shop", slice::from_ref(&plane.url));
    [team.job(0).request(), team.job(0).request()]
}

/// How many leases each cluster has in the document.
fn counted(items: &serde_json::Value) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for item in items.as_array().expect("a list") {
        *counted.entry(item["cluster"].as_str().expect("a name").to_owned()).or_default() += 1;
    }
    counted
}

#[test]
fn one_that_is_down_is_a_row_and_the_others_are_done() {
    let ground = &*GROUND;
    let mut third = ground.third();
    let passes = [two(&ground.large), two(&ground.second)];
    two(&third);
    let listed = operator(&ground.kubeconfig, &["leases", "list", "-n", "shop", "--context", ALL, "-o", "json"]).ended(0).json();
    assert_eq!(counted(&listed["items"]), [("large", 2), ("second", 2), ("third", 2)].map(|(name, n)| (name.to_owned(), n)).into());

    third.stop();
    let listed = operator(&ground.kubeconfig, &["leases", "list", "-n", "shop", "--context", ALL, "-o", "json"]).ended(3).json();
    assert_eq!(counted(&listed["items"]), [("large", 2), ("second", 2)].map(|(name, n)| (name.to_owned(), n)).into());
    let errors = listed["errors"].as_array().expect("a list");
    assert_eq!((errors.len(), &errors[0]["cluster"]), (1, &"third".into()), "{listed}");
    let reason = errors[0]["reason"].as_str().expect("a reason");
    let table = operator(&ground.kubeconfig, &["leases", "list", "-n", "shop", "--context", ALL]).ended(3);
    let row = table.stdout.lines().find(|line| line.starts_with("third")).unwrap_or_else(|| panic!("no row of it: {table}"));
    assert!(row.contains(reason), "{row}");
    println!("a cluster that is down, as a row: {row}");

    let account = "shop/deploy-bot";
    let reason = ["--reason", "three clusters", "--yes"];
    let revoked = operator(&ground.kubeconfig, &[&["leases", "revoke", "-s", account, "--context", ALL], &reason[..]].concat()).ended(3);
    assert!([&revoked.stdout, &revoked.stderr].iter().any(|text| text.contains("third")), "{revoked}");
    for (plane, passes) in [&ground.large, &ground.second].into_iter().zip(&passes) {
        assert_eq!(leases(plane, Some("shop")), 0);
        for pass in passes {
            within(DEAD, "the pass is dead", || !is_taken(&plane.url, &plane.ca_pem, &pass.token));
        }
    }
}
