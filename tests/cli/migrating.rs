//! `docs/migrating.md`: its steps, and the lines that it counts.

use serde_json::json;

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
    doors::write_program(
        &oc,
        "#!/bin/sh\ngrep -q tokenFile \"$KUBECONFIG\" && test -z \"${JOBPASS_IDENTITY_TOKEN-}\" && echo \"oc $*: $(cat \"$JOBPASS_TOKEN_FILE\")\"\n",
    );
    job.set("PATH", format!("{}:{}", job.directory().join("bin").display(), job.get("PATH").expect("set")));
    let yaml = pages::example("migrating", "step-1").replace("ci/deploy-bot", &world.account());
    let ran = job.shell("sh", &script(&yaml).join("\n")).succeed();
    assert_eq!(ran.stdout, "oc apply -f manifests/: ***\n", "{}", ran.transcript());
    // Told once, with the name of where it comes from.
    assert_eq!(ran.stderr.matches("never ends, and whoever has read it").count(), 1, "{}", ran.transcript());
    assert!(ran.stderr.contains("(the identity token of `JOBPASS_IDENTITY_TOKEN`)"), "{}", ran.transcript());
    let pass = world.tokens_of_passes();
    assert!(pass.iter().filter(|pass| **pass != token).all(|pass| !world.is_live(pass)));
    // His own Secret stays, where the token came from one.
    assert!(world.secrets().iter().all(|name| name == "legacy"), "{:?}", world.secrets());
    assert!(job.places().is_empty() && job.apart().is_none());
}

/// As whom a job has asked, by its log.
fn asked_as(job: &Job<'_>) -> String {
    let ran = job.run("true").succeed();
    ran.stderr.lines().find_map(|line| line.split_once(", asked as ")).map(|(_, asked)| asked.to_owned()).expect("said")
}

#[test]
fn a_job_goes_from_a_stored_secret_to_its_own_token_while_the_secret_is_there_and_back() {
    let page = pages::pages().into_iter().find(|page| page.path == "docs/migrating.md").expect("there").text;
    let world = World::trusting();
    let job = Job::gitlab(&world);
    job.set("JOBPASS_IDENTITY_ID_TOKEN", world.gitlab_token(&json!({})));
    assert!(asked_as(&job).starts_with("context `"));
    // What other jobs have stored goes on, with the same server as variables of the project.
    job.set("JOBPASS_SERVER", world.url());
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem());
    assert!(asked_as(&job).starts_with("context `"));
    job.set("JOBPASS_IDENTITY", "oidc");
    let own = "the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN`";
    assert_eq!(asked_as(&job), own);
    job.unset("JOBPASS_IDENTITY");
    assert!(asked_as(&job).starts_with("context `"));
    job.unset("JOBPASS_KUBECONFIG");
    assert_eq!(asked_as(&job), own);
    let (github, _) = Job::github_with_nothing_stored(&world, &json!({}));
    let of_github = asked_as(&github);
    assert!(of_github.starts_with("GitHub's OIDC token of this job"), "{of_github}");
    assert!(page.contains("`asked as GitHub's OIDC token of this job`") && page.contains(&own.replace('`', "")));
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
