//! Five thousand leases of lost jobs: they are seen at once, and swept in a minute, and nothing else is touched.

use std::time::Duration;

use crate::{
    calls::operator,
    ground::{EACH, FEW, FOREIGN, GROUND, MANY, SECOND, foreign_secrets, leases},
};

/// The gates.
const LIST: Duration = Duration::from_secs(3);
const SWEEP: Duration = Duration::from_mins(1);
/// In MB: how much more memory thousands may take than fifty.
const MORE: f64 = 20.0;

#[test]
fn thousands_are_listed_and_swept_and_nothing_else() {
    let ground = &*GROUND;
    let total = MANY.len() * EACH;
    ground.wait_until_over();
    ground.third().stop();
    let few = operator(&ground.kubeconfig, &["leases", "list", "-n", FEW.0, "-o", "json"]).ended(0);
    assert_eq!(few.json()["items"].as_array().expect("a list").len(), FEW.1);
    for format in ["table", "json"] {
        let many = operator(&ground.kubeconfig, &["leases", "list", "-o", format]).ended(0);
        println!(
            "list of {total} leases as {format}: {:.2} s, {:.1} MB, {:.1} MB of {}",
            many.took.as_secs_f32(),
            many.peak,
            few.peak,
            FEW.1
        );
        assert!(many.took < LIST, "{:?}", many.took);
        assert!(many.peak < few.peak + MORE, "{} MB, and {} MB for a few", many.peak, few.peak);
    }

    let (before, alive) = (foreign_secrets(&ground.large), leases(&ground.large, None) - total);
    assert!(before.len() >= MANY.len() * FOREIGN);
    let shown = operator(&ground.kubeconfig, &["leases", "sweep", "--dry-run", "--context", "large"]).ended(0);
    assert_eq!(leases(&ground.large, None), total + alive, "it was dry: {shown}");
    let swept = operator(&ground.kubeconfig, &["leases", "sweep", "--context", "large,second,third"]).ended(3);
    println!("sweep of {} leases on two clusters: {:.2} s, {:.1} MB", total + SECOND, swept.took.as_secs_f32(), swept.peak);
    assert!([&swept.stdout, &swept.stderr].iter().any(|text| text.contains("third")), "{swept}");
    assert!(swept.took < SWEEP, "{:?}", swept.took);
    assert!(swept.peak < few.peak + MORE, "{} MB, and {} MB for a few", swept.peak, few.peak);
    assert_eq!(leases(&ground.large, None), alive, "what is alive stays, and what is over does not");
    assert_eq!(leases(&ground.large, Some(FEW.0)), FEW.1);
    assert_eq!(leases(&ground.second, Some(MANY[0])), 0);
    assert_eq!(foreign_secrets(&ground.large), before, "Secrets of others were touched");
}
