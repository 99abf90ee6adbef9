//! `docs/migrating.md`: its steps, and the lines that it counts.

use crate::harness::{Job, World, doors, pages};

/// The lines of the script of a job.
fn script(yaml: &str) -> Vec<&str> {
    let lines = yaml.lines().skip_while(|line| line.trim() != "script:").skip(1);
    lines.map_while(|line| line.trim().strip_prefix("- ")).collect()
}

#[test]
fn the_same_three_variables_are_enough_for_a_pass() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    // Its own token, which never ends and may do what `edit` lets it do.
    let token = world.own_token();
    doors::write(&job.directory().join("identity.ca"), &world.ca_pem());
    job.set("JOBPASS_IDENTITY_TOKEN", &token);
    job.set("JOBPASS_SERVER", world.url());
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", job.directory().join("identity.ca"));
    let oc = job.directory().join("bin/oc");
    doors::make_directory(&job.directory().join("bin"));
    doors::write(
        &oc,
        "#!/bin/sh\ngrep -q tokenFile \"$KUBECONFIG\" && test -z \"${JOBPASS_IDENTITY_TOKEN-}\" && echo \"oc $*: ${OPENSHIFT_TOKEN}\"\n",
    );
    doors::set_mode(&oc, 0o700);
    job.set("PATH", format!("{}:{}", job.directory().join("bin").display(), job.get("PATH").expect("set")));
    let yaml = pages::example("migrating", "step-1").replace("ci/deploy-bot", &world.account());
    let ran = job.shell("sh", &script(&yaml).join("\n")).succeed();
    assert_eq!(ran.stdout, "oc apply -f manifests/: ***\n", "{}", ran.transcript());
    let pass = world.tokens_of_passes();
    assert!(pass.iter().filter(|pass| **pass != token).all(|pass| !world.is_live(pass)));
    // His own Secret stays, where the token came from one.
    assert!(world.secrets().iter().all(|name| name == "legacy"), "{:?}", world.secrets());
    assert!(job.places().is_empty() && job.apart().is_none());
}

#[test]
fn the_lines_are_counted() {
    let page = pages::pages().into_iter().find(|page| page.path == "docs/migrating.md").expect("there").text;
    let (_, before) = page.split_once("## Today").expect("a head");
    let before = script(before.split("```yaml\n").nth(1).expect("a block")).len();
    let after = pages::example("migrating", "step-1");
    let counted = |row: &str| {
        let line = page.lines().find(|line| line.starts_with(&format!("| [{row}]"))).expect("a row");
        line.split('|').nth(2).expect("a column").trim().parse::<usize>().expect("a number")
    };
    assert_eq!([counted("today"), counted("step 1"), counted("step 2"), counted("step 3")], [before, script(&after).len(), 1, 1]);
}
