//! `docs/operators.md`: each of its blocks, run as an operator would, by jobpass, kubectl and jq on a real control plane.
//!
//! Without `JOBPASS_TEST_CLUSTER` there is no kubectl, and what is named `on_a_real_cluster_…` has nothing to run; the blocks that
//! call jobpass run on the sandbox, too.

use std::{fs, path::Path, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{ControlPlane, Desk, Job, World, doors, eventually, pages::example, within};

/// The lease that the page speaks of.
const LEASE: &str = "jobpass-7a24c1e09b5d4f38a6c2d1e0f9b8a7c6";

/// A machine of an operator, with kubectl and an admin's kubeconfig.
fn desk<'w>(world: &'w World, directory: &Path) -> Job<'w> {
    let job = Job::local(world);
    let bin = job.directory().join("bin");
    doors::make_directory(&bin);
    doors::write_program(&bin.join("kubectl"), &format!("#!/bin/sh\nexec '{}' kubectl \"$@\"\n", ControlPlane::binary().display()));
    job.set("PATH", format!("{}:{}", bin.display(), job.get("PATH").expect("set")));
    job.set("KUBECONFIG", directory.join("admin.kubeconfig"));
    job
}

/// A block of the page with this world's names; what would ask is answered.
fn block(world: &World, name: &str) -> String {
    let mut text = example("operator", name).replace("ci/deploy-bot", &world.account());
    if let [lease] = world.secrets().iter().filter(|name| name.starts_with("jobpass-")).collect::<Vec<_>>().as_slice() {
        text = text.replace(LEASE, lease);
    }
    text.replace(" ci/jobpass-", &format!(" {}/jobpass-", world.namespace()))
        .replace("-n ci", &format!("-n {}", world.namespace()))
        .lines()
        .map(|line| {
            let asks = ["jobpass leases revoke", "jobpass lock", "jobpass unlock"].iter().any(|verb| line.starts_with(verb));
            if asks { format!("{line} --yes") } else { line.to_owned() }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs a block; what it prints.
fn run(desk: &Job<'_>, name: &str) -> String {
    desk.shell("sh", &format!("set -e\n{}", block(desk.world, name))).succeed().stdout
}

/// A job with a pass: its lease and its token.
fn pass(job: &Job<'_>) -> (String, String) {
    job.request().succeed();
    (job.lease(), job.token())
}

#[test]
fn the_trust_is_filled_in_without_a_gap() {
    let world = World::new();
    let desk = Job::local(&world);
    // It is run where the repository is.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = example("operator", "trust").replace(" deploy/", &format!(" {}/deploy/", root.display()));
    desk.shell("sh", &format!("set -e\n{script}")).succeed();
    let text = fs::read_to_string(desk.workspace().join("authentication.yaml")).expect("written");
    let filled: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    let entry = &filled["jwt"][0];
    assert_eq!(entry["issuer"]["audiences"], serde_json::json!(["https://api.example.com:6443"]));
    assert_eq!(entry["claimValidationRules"][0]["expression"], "claims.repository_id in ['123456789']");
    let is_gap = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    assert!(!text.split('@').any(is_gap), "{text}");
}

#[test]
fn a_pass_is_revoked_from_elsewhere_by_jobpass() {
    let world = World::new();
    let (_, token) = pass(&Job::github(&world));
    run(&Job::local(&world), "revoke");
    world.assert_dies(&token);
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn an_operator_sees_who_holds_a_pass_and_ends_it() {
    let world = World::new();
    let desk = Desk::new(&world);
    let job = Job::github(&world);
    let (lease, token) = pass(&job);
    let shown = run(&desk, "passes");
    let row =
        shown.lines().find(|line| line.starts_with(&lease["jobpass-".len()..][..6])).unwrap_or_else(|| panic!("no {lease} in {shown}"));
    for part in [&world.account(), "acme/app #9876543210", "octocat"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    assert!(run(&desk, "run").contains(&world.account()));
    let shown = run(&desk, "show");
    for part in [&lease, &world.user(), "https://github.com/acme/app/actions/runs/9876543210"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    run(&desk, "delete");
    world.assert_dies(&token);
    // The job's own revoke is content.
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn an_operator_ends_every_pass_of_an_account() {
    let world = World::new();
    let desk = Desk::new(&world);
    let (_, token) = pass(&Job::github(&world));
    let other = "jobpass-00000000000000000000000000000000";
    world.put_secret(other, "jobpass.dev/lease", &[]);
    run(&desk, "delete-account");
    world.assert_dies(&token);
    assert_eq!(world.secrets(), [other], "a pass of another account stays");
    assert!(!Job::github(&world).request().run().is_success(), "no new pass");
    run(&desk, "unlock");
    eventually("the lock is gone", || Job::github(&world).run("true").run().is_success());
}

#[test]
fn an_operator_ends_all_passes_and_lets_no_new_ones_be() {
    let world = World::new();
    let desk = Desk::new(&world);
    let (_, token) = pass(&Job::github(&world));
    run(&desk, "stop");
    world.assert_dies(&token);
    assert_eq!(world.secrets(), [""; 0]);
    assert!(!Job::github(&world).request().run().is_success(), "no new pass");
}

#[test]
fn an_operator_locks_an_account() {
    let world = World::new();
    let desk = Desk::new(&world);
    run(&desk, "lock");
    assert!(!Job::gitlab(&world).request().run().is_success(), "no new pass");
    run(&desk, "unlock");
    eventually("the lock is gone", || Job::gitlab(&world).run("true").run().is_success());
}

#[test]
fn on_a_real_cluster_an_operator_ends_every_token_of_an_account() {
    let Some(directory) = doors::control_plane() else { return };
    let world = World::new();
    let desk = desk(&world, &directory);
    let (_, token) = pass(&Job::github(&world));
    let unbound = ControlPlane::at(&directory).kubectl(&["create", "token", "deploy-bot", "-n", world.namespace()]).trim().to_owned();
    world.secret(&unbound);
    assert!(world.accepts(&unbound));
    run(&desk, "delete-every-token");
    world.assert_dies(&token);
    world.assert_dies(&unbound);
}

#[test]
fn an_operator_removes_what_is_left_over_and_nothing_else() {
    let world = World::new();
    let desk = Desk::new(&world);
    let (lease, token) = pass(&Job::github(&world));
    let old = "jobpass-00000000000000000000000000000000";
    let notes = json!({"jobpass.dev/lifetime": "0"});
    if let Some(directory) = doors::control_plane() {
        // Nobody can set its clock forward: it is over after 70 s.
        let metadata = json!({"name": old, "annotations": notes});
        let secret = json!({"metadata": metadata, "type": "jobpass.dev/lease"});
        ControlPlane::at(&directory).must("POST", &world.path("secrets"), Some(&secret));
    } else {
        let metadata = json!({"annotations": notes, "creationTimestamp": "2001-01-01T00:00:00Z"});
        world.on_sandbox().put_secret_with(world.namespace(), old, "jobpass.dev/lease", &metadata);
    }
    within(Duration::from_secs(110), "it is swept", || run(&desk, "left-over").contains("1 over, 1 removed"));
    assert_eq!(world.secrets(), [lease]);
    assert!(world.accepts(&token));
}

#[test]
fn on_a_real_cluster_an_operator_sees_eternal_tokens_and_disables_one() {
    let Some(directory) = doors::control_plane() else { return };
    let world = World::new();
    let desk = desk(&world, &directory);
    let plane = ControlPlane::at(&directory);
    let token = plane.eternal_token(world.namespace(), "legacy");
    world.secret(&token);
    assert!(world.accepts(&token));
    let row = |text: &str| text.lines().find(|line| line.contains(world.namespace())).unwrap_or_default().to_owned();
    let year = desk.shell("sh", "date -u +%Y-").succeed().stdout;
    // The server notes the use when it has answered.
    eventually("the day of its last use", || {
        let row = row(&run(&desk, "eternal"));
        row.contains("legacy") && row.split_whitespace().last().is_some_and(|day| day.starts_with(year.trim()))
    });
    // The server sends no token for this table, as the page says: what kubectl logs of the answer is searched like every output.
    let logged =
        block(&world, "eternal").replace("kubectl get", "kubectl -v=10 get").replace(" -A ", &format!(" -n {} ", world.namespace()));
    assert!(desk.shell("sh", &logged).succeed().stderr.contains("legacy"));
    let second = row(&run(&desk, "eternal-accounts"));
    assert!(second.contains("deploy-bot") && second.contains("legacy"), "{second}");
    run(&desk, "disable");
    within(Duration::from_secs(30), "the token is refused", || !world.accepts(&token));
    run(&desk, "enable");
    within(Duration::from_secs(30), "the token is taken again", || world.accepts(&token));
}

#[test]
fn on_a_real_cluster_an_operator_makes_a_secret_for_a_ci_identity_and_ends_it() {
    let Some(directory) = doors::control_plane() else { return };
    let world = World::new();
    let desk = desk(&world, &directory);
    let user = world.user();
    let name = user.rsplit(':').next().expect("a name");
    // Not among the job's files, where no secret may be.
    let kept = TempDir::new().expect("a directory");
    let run = |mark: &str| {
        // The namespace of the CI identities is every scenario's.
        let script = example("operator", mark).replace("jobpass/ci ", &format!("jobpass/{name} "));
        let script = script.replace("acme-app", world.namespace()).replace(" ci-", &format!(" {name}-"));
        desk.shell("sh", &format!("set -e\ncd '{}'\n{script}", kept.path().display())).succeed();
    };
    run("identity");
    let kubeconfig = fs::read_to_string(kept.path().join("ci.kubeconfig")).expect("made");
    let values: serde_json::Value = serde_json::from_str(&kubeconfig).expect("JSON");
    let token = values["users"][0]["user"]["token"].as_str().expect("a token").to_owned();
    world.secret(&token);
    let user = serde_json::json!([{"name": "jobpass-identity", "user": {"token": token}}]);
    assert_eq!(values["users"], user, "nothing of the admin's");
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    job.set("JOBPASS_IDENTITY_KUBECONFIG", &kubeconfig);
    assert!(job.run("true").succeed().stderr.contains(&format!("asked as context `{name}` of the kubeconfig")));
    run("identity-end");
    world.assert_dies(&token);
}

#[test]
fn on_a_real_cluster_the_audit_log_tells_a_pass_from_its_first_line_to_its_last() {
    let Some(directory) = doors::control_plane() else { return };
    let world = World::new();
    let desk = desk(&world, &directory);
    let job = Job::github(&world);
    let (lease, token) = pass(&job);
    assert!(world.accepts(&token));
    // Not among the job's files, where no secret may be.
    let kept = TempDir::new().expect("a directory");
    doors::write(&kept.path().join("leaked"), &token);
    let script = block(&world, "jti").replace("leaked-token.txt", &kept.path().join("leaked").to_string_lossy());
    let said = desk.shell("sh", &script).succeed().stdout;
    let (jti, secret) = said.trim().split_once(' ').expect("two words");
    assert_eq!(secret, lease);
    let trail = [block(&world, "trail").replace("7434a3cf-b29a-4d70-860a-2e645f326917", jti), block(&world, "trail-lease")];
    job.revoke().succeed();
    // Of a log that is being written, what is there of this world.
    let path = ControlPlane::at(&directory).audit_log();
    let log = || {
        let text = fs::read_to_string(&path).expect("the control plane writes it");
        let (whole, _) = text.rsplit_once('\n').expect("a line");
        whole.lines().filter(|line| line.contains(world.namespace())).collect::<Vec<_>>().join("\n")
    };
    eventually("the lease's end is logged", || log().lines().any(|line| line.contains(r#""verb":"delete""#) && line.contains(&lease)));
    doors::write(&desk.workspace().join("audit.log"), &log());
    let [uses, life] = trail.map(|script| desk.shell("sh", &script).succeed().stdout);
    let uses: Vec<_> = uses.lines().map(|line| line.split('\t').collect::<Vec<_>>()).collect();
    let account = format!("system:serviceaccount:{}:deploy-bot", world.namespace());
    assert!(uses.len() >= 2, "{uses:?}");
    assert_eq!((uses[0][1], uses[0][2], uses[0][4]), (world.user().as_str(), "create", "201"));
    assert!(uses[0][3].contains("/serviceaccounts/deploy-bot/token"), "{uses:?}");
    assert!(uses[1..].iter().all(|line| line[1] == account), "{uses:?}");
    assert!(uses.iter().any(|line| line[6].starts_with("curl/")), "{uses:?}");
    let life: Vec<_> = life.lines().map(|line| line.split('\t').skip(1).collect::<Vec<_>>()).collect();
    assert_eq!(life, [[world.user().as_str(), "create", "201"], [world.user().as_str(), "delete", "200"]]);
}
