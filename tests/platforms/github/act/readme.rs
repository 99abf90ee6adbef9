//! The workflows of README and `docs/github.md` as they stand, with jobpass as the submodule that they speak of.

use super::*;

/// What they say `cargo` and `kubectl` are called with; the one makes the binary, the other keeps the token that it was given.
const CARGO: &str = "#!/bin/sh -eu
test \"$*\" = 'build --release --locked --no-default-features --manifest-path jobpass/Cargo.toml'
mkdir -p jobpass/target/release
cp \"$BUILT\" jobpass/target/release/jobpass
";
const KUBECTL: &str = "#!/bin/sh -eu
config=${KUBECONFIG-}
case $1 in --kubeconfig) config=$2; shift 2;; esac
test \"$*\" = 'apply -f manifests/'
grep -q tokenFile \"$config\"
cp \"$(dirname \"$config\")/token\" \"$(mktemp \"$KEPT/token-XXXXXX\")\"
echo \"kubectl says $(cat \"$JOBPASS_TOKEN_FILE\")\"
echo \"variable ${OPENSHIFT_TOKEN+set}\"
";

/// A user's repository with one of these workflows.
fn user<'w>(world: &'w World, name: &str) -> Repository<'w> {
    let repository = Repository::empty(world, name);
    let workflow = pages::example("workflow", name).replace("ci/deploy-bot", &world.account());
    doors::write(&repository.at("repository/.github/workflows").join(&repository.workflow), &workflow);
    repository.copy("action.yml", "jobpass/action.yml");
    repository.copy_shim("jobpass/github");
    repository.commit();
    for (program, script) in [("cargo", CARGO), ("kubectl", KUBECTL)] {
        let path = repository.at("bin").join(program);
        doors::write_program(&path, script);
    }
    repository
}

/// The requests of a job with nothing stored: who it is it learns from the API server.
fn asked() -> Vec<&'static str> {
    [&["POST selfsubjectreviews -> 201"], UNUSED.as_slice()].concat()
}

fn succeed(repository: &Repository<'_>) -> Acted {
    succeed_by(repository, doors::program(tools().join("act")), &[])
}

/// Runs act by a command that ends in it; the job must succeed.
fn succeed_by(repository: &Repository<'_>, act: process::Command, variables: &[(&str, &str)]) -> Acted {
    let variables = [&[("BUILT", env!("CARGO_BIN_EXE_jobpass"))], variables].concat();
    let acted = repository.start_by(act, &variables).wait();
    assert_eq!((acted.code, acted.jobs.as_slice()), (0, ["success".to_owned()].as_slice()), "{}", acted.log);
    acted
}

#[test]
fn the_minimal_workflow() {
    let world = World::trusting();
    let repository = user(&world, "minimal").permitted();
    repository.keep_secrets(&[]);
    let acted = succeed(&repository);
    acted.assert_says("kubectl says ***");
    assert_eq!(repository.requests(), asked());
    // Once by the step, once by its post step: the first token may be over by then.
    assert_eq!(repository.permitted.as_ref().map(oidc::Job::asked), Some(2));
    repository.assert_revoked(1);
}

#[test]
fn the_workflow_with_a_stored_identity() {
    let world = World::new();
    let repository = user(&world, "stored");
    repository.keep_secrets(&["CI_KUBECONFIG"]);
    let acted = succeed(&repository);
    acted.assert_says("kubectl says ***");
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}

#[test]
fn the_minimal_workflow_without_the_permission() {
    let world = World::trusting();
    let repository = user(&world, "minimal");
    repository.keep_secrets(&[]);
    let acted = repository.start_by(doors::program(tools().join("act")), &[("BUILT", env!("CARGO_BIN_EXE_jobpass"))]).wait();
    assert_eq!((acted.code, acted.jobs.as_slice()), (1, ["failure".to_owned()].as_slice()), "{}", acted.log);
    acted.assert_says("`permissions: id-token: write`");
    assert_eq!(repository.requests(), [""; 0]);
    repository.assert_revoked(0);
}

#[test]
fn the_hardened_workflow() {
    let world = World::trusting();
    let repository = user(&world, "hardened").permitted();
    repository.keep_secrets(&[]);
    let acted = succeed(&repository);
    acted.assert_says("kubectl says ***");
    acted.assert_says("hidden from the command: `ACTIONS_ID_TOKEN_REQUEST_URL`, `ACTIONS_ID_TOKEN_REQUEST_TOKEN`");
    assert_eq!(repository.requests(), asked());
    repository.assert_revoked(1);
}

#[test]
fn the_workflow_of_a_long_job() {
    let world = World::trusting();
    let repository = user(&world, "long-job").permitted();
    repository.keep_secrets(&[]);
    let acted = succeed(&repository);
    acted.assert_says(", renewed until ");
    assert_eq!(repository.requests(), asked());
    repository.assert_revoked(1);
}

#[test]
fn the_workflow_of_several_clusters() {
    let world = World::trusting();
    let repository = user(&world, "several-clusters").permitted();
    repository.keep_secrets(&[]);
    let acted = succeed(&repository);
    assert_eq!(
        acted.log.lines().filter(|line| *line == "variable" || *line == "variable ").count(),
        2,
        "no variable is wanted: {}",
        acted.log
    );
    repository.assert_revoked(2);
}

#[test]
fn the_self_hosted_workflow() {
    let world = World::new();
    let mut repository = user(&world, "self-hosted");
    let Some((mut pod, variables)) = shared::pod(&world, &repository.at("mounted")) else { return };
    pod.arg(tools().join("act"));
    repository.label = "self-hosted";
    repository.keep_secrets(&[]);
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let acted = succeed_by(&repository, pod, &variables);
    acted.assert_says("asked as the service account of this pod");
    assert_eq!(repository.requests(), UNUSED);
    repository.assert_revoked(1);
}
