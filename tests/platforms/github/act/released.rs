//! The action as a release has it, `uses: OWNER/jobpass@REF`: from the commit that `release/commit` makes in a bare clone, and nothing else.

use super::*;

/// The version of this tree, and the tag that follows its releases.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What it is used by, and the workflow of a user.
fn workflow(reference: &str) -> String {
    format!(
        "name: released
on: push
permissions: {{}}
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: acme-tools/jobpass@{reference}
        with:
          service-account: ${{{{ vars.SERVICE_ACCOUNT }}}}
          identity-kubeconfig: ${{{{ secrets.CI_KUBECONFIG }}}}
      - run: |
          cp \"$JOBPASS_TOKEN_FILE\" \"$KEPT/token\"
          command -v jobpass >\"$KEPT/path\"
          jobpass --version >\"$KEPT/version\"
"
    )
}

/// A bare clone with a release in it, its commit, and a tree of it.
fn released(directory: &Path) -> (String, PathBuf) {
    let (bare, tree) = (directory.join("jobpass.git"), directory.join("tree"));
    let run = |program: &str, arguments: &[&str]| {
        let mut command = doors::tool(program);
        // The clone may be another user's, as of a pipeline.
        command.args(arguments).env("PATH", path()).env("HOME", directory).env("GIT_CONFIG_COUNT", "1");
        let output =
            command.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*").assert().success().get_output().clone();
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    run("git", &["clone", "--quiet", "--bare", SOURCE, &text(&bare)]);
    // `release/build` leaves its files there.
    let dist = Path::new(SOURCE).join("target/dist");
    let commit = run(&format!("{SOURCE}/release/commit"), &[&text(&bare), "HEAD", &text(&dist)]);
    run("git", &["clone", "--quiet", "--branch", &format!("v{VERSION}"), &text(&bare), &text(&tree)]);
    (commit, tree)
}

#[test]
fn the_action_needs_nothing_but_the_tree_of_its_release() {
    let directory = TempDir::new().expect("a directory");
    let (commit, tree) = released(directory.path());
    let series = format!("v{}", VERSION.split('.').next().unwrap_or_default());
    for reference in [series, format!("v{VERSION}"), commit] {
        let world = World::new();
        let repository = Repository::empty(&world, "released");
        doors::write(&repository.at("repository/.github/workflows/released.yml"), &workflow(&reference));
        repository.commit();
        repository.keep_secrets(&["CI_KUBECONFIG"]);
        let mut act = doors::program(tools().join("act"));
        act.args(["--use-new-action-cache", "--local-repository"]).arg(format!("acme-tools/jobpass@{reference}={}", tree.display()));
        let acted = repository.start_by(act, &[]).wait();
        assert_eq!((acted.code, acted.jobs.as_slice()), (0, ["success".to_owned()].as_slice()), "{}", acted.log);
        assert!(repository.kept("path").trim().ends_with("/bin/linux-x64/jobpass"), "{}", repository.kept("path"));
        assert!(repository.kept("version").starts_with(&format!("jobpass {VERSION} (")), "{}", repository.kept("version"));
        repository.assert_revoked(1);
    }
}
