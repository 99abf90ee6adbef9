//! The quick starts of README and `docs/` and the examples of `--help`, taken out of them and run as they stand.

use serde_json::json;

use crate::harness::{Job, World, doors, pages::example};

/// The block that is marked to run on this platform.
fn block(platform: &str) -> String {
    example("runs", platform)
}

/// The items of a list below a key, each on a line of its own.
fn items(yaml: &str, key: &str) -> String {
    let lines = yaml.lines().skip_while(|line| line.trim() != format!("{key}:")).skip(1);
    let items: Vec<_> = lines.map_while(|line| line.trim().strip_prefix("- ")).collect();
    assert!(!items.is_empty(), "{key} has no items");
    items.join("\n")
}

/// Puts programs into the job's PATH that say whether they were given what they need; which programs a job runs is its own business.
fn programs(job: &Job<'_>) {
    let bin = job.directory().join("bin");
    doors::make_directory(&bin);
    for (name, script) in [
        ("kubectl", "grep -q tokenFile \"$KUBECONFIG\" && grep -q ^eyJ \"$JOBPASS_TOKEN_FILE\" && echo \"kubectl $*: fine\""),
        ("helm", "echo \"helm $*: fine\""),
        (
            "curl",
            "while [ $1 != -K ]; do shift; done; grep -q 'Bearer eyJ' \"$2\" && [ \"$2 $3\" = \"$JOBPASS_CURL $JOBPASS_PASS_SERVER/version\" ] && echo 'curl: fine'",
        ),
    ] {
        let path = bin.join(name);
        doors::write_program(&path, &format!("#!/bin/sh\n{script}\n"));
    }
    let deploy = job.workspace().join("deploy.sh");
    doors::write_program(&deploy, "#!/bin/sh\necho \"deployed with $DB_PASSWORD and ${OPENSHIFT_TOKEN-no token}\"\n");
    job.set("PATH", format!("{}:{}", bin.display(), job.get("PATH").expect("set")));
    job.set("JOBPASS_SERVICE_ACCOUNT", job.world.account());
}

#[test]
fn the_quick_start_of_a_plain_shell() {
    let world = World::new();
    let job = Job::local(&world);
    programs(&job);
    let script = block("local").replace("ci/deploy-bot", &world.account());
    let ran = job.shell("sh", &format!("set -e\nown=$KUBECONFIG\n{script}\n[ \"$KUBECONFIG\" = \"$own\" ]")).succeed();
    assert_eq!(ran.stdout, "curl: fine\n");
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_is_held_beside_a_script() {
    let world = World::new();
    let job = Job::local(&world);
    programs(&job);
    let kubectl = job.directory().join("bin/kubectl");
    doors::write_program(&kubectl, "#!/bin/sh\ngrep -q '\"token\": \"eyJ' \"$2\" && shift 2 && echo \"kubectl $*: fine\"\n");
    let script = block("hold").replace("ci/deploy-bot", &world.account());
    let ran = job.shell("sh", &format!("set -e\n{script}")).succeed();
    assert_eq!(ran.stdout, "kubectl apply -f manifests/: fine\n");
    assert_eq!(world.secrets(), [""; 0]);
}

#[test]
fn the_line_of_run_on_every_platform() {
    let world = World::new();
    for job in Job::all(&world) {
        programs(&job);
        let ran = job.shell("sh", &block("run").replace("ci/deploy-bot", &world.account())).run();
        // Its kubeconfig names the token's file and does not hold it.
        assert_eq!(ran.stdout, "kubectl apply -f manifests/: fine\n", "{}", ran.transcript());
        job.assert_nothing_left();
    }
}

#[test]
fn the_quick_start_of_github() {
    let world = World::trusting();
    let job = Job::github(&world);
    programs(&job);
    job.unset("JOBPASS_IDENTITY_KUBECONFIG");
    let yaml = block("github");
    assert!(yaml.contains("id-token: write") && !yaml.contains("secrets."), "{yaml}");
    let known = world.github_job(&json!({}));
    let roots = job.directory().join("roots.pem");
    doors::write(&roots, world.github().ca_pem());
    job.set("SSL_CERT_FILE", &roots);
    job.set("ACTIONS_ID_TOKEN_REQUEST_URL", &known.request_url);
    job.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &known.request_token);
    for (name, of_repository, value) in
        [("JOBPASS_SERVER", "CLUSTER_SERVER", world.url()), ("JOBPASS_CERTIFICATE_AUTHORITY", "CLUSTER_CA", world.ca_pem())]
    {
        assert!(yaml.contains(&format!("{name}: ${{{{ vars.{of_repository} }}}}")), "{yaml}");
        job.set(name, value);
    }
    let steps: Vec<_> = yaml.split("- run: ").skip(1).collect();
    assert_eq!(steps.len(), 3);
    for step in steps {
        let ran = job.shell("sh", step.lines().next().expect("a step has a command")).succeed();
        job.enter(&ran);
    }
    assert_eq!(known.asked(), 2);
    job.assert_nothing_left();
}

/// A job of another CI system with this program, which prints a token of the job.
fn of_another<'w>(world: &'w World, program: &str, said: &str, token: &str) -> Job<'w> {
    let job = Job::local(world);
    programs(&job);
    job.unset("KUBECONFIG");
    job.set("CI", "true");
    job.set("JOBPASS_SERVER", world.url());
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem());
    let identity = job.directory().join("identity.issued");
    doors::write(&identity, token);
    // What it is asked for is what the page says.
    let script = format!("#!/bin/sh\n[ \"$*\" = '{said}' ] || {{ echo \"$*\" >&2; exit 2; }}\ncat {}\n", identity.display());
    let path = job.directory().join("home").join(program);
    doors::write_program(&path, &script);
    job.set("PATH", format!("{}:{}", job.directory().join("home").display(), job.get("PATH").expect("set")));
    job
}

#[test]
fn the_scripts_of_other_ci_systems() {
    let world = World::trusting_unwatched();
    // Tokens of another shape, in which neither platform's claims but those of the trust are; and no run.
    let token = world.gitlab_token(&json!({"pipeline_slug": "deploy", "oidc.circleci.com/project-id": "p", "exp": now() + 3600}));
    for (name, program, said) in [
        ("buildkite", "buildkite-agent", format!("oidc request-token --audience {} --lifetime 3600", world.url())),
        ("circleci", "circleci", format!("run oidc get --claims {{\"aud\": \"{}\"}}", world.url())),
    ] {
        let job = of_another(&world, program, &said, &token);
        let ran = job.shell("sh", &block(name).replace("ci/deploy-bot", &world.account())).succeed();
        assert_eq!(ran.stdout, "kubectl apply -f manifests/: fine\n", "{}", ran.transcript());
        assert!(ran.stderr.contains("the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN`"), "{}", ran.transcript());
        job.assert_nothing_left();
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn the_quick_start_of_gitlab() {
    let world = World::new();
    let job = Job::gitlab(&world);
    programs(&job);
    let yaml = block("gitlab");
    let main = format!("set -e\n{}\n{}", items(&yaml, "before_script"), items(&yaml, "script"));
    let ran = job.shell("sh", &main).succeed();
    assert_eq!(ran.stdout, "kubectl apply -f manifests/: fine\n");
    assert_eq!(world.secrets().len(), 1);
    job.shell("sh", &items(&yaml, "after_script")).succeed();
    job.assert_nothing_left();
}

#[test]
fn the_quick_start_of_tekton() {
    let world = World::new();
    let job = Job::tekton(&world);
    programs(&job);
    let yaml = block("tekton");
    let (_, rest) = yaml.split_once("script: |\n").expect("a script");
    let script = rest.lines().take_while(|line| line.starts_with("      ")).map(str::trim).collect::<Vec<_>>().join("\n");
    let ran = job.shell("sh", &script).succeed();
    assert_eq!(ran.stdout, "kubectl apply -f manifests/: fine\n");
    assert!(ran.stderr.contains("revoked the pass"), "{}", ran.transcript());
    job.assert_nothing_left();
}

/// The lines below `Examples:`, each as far as its explanation.
fn examples(job: &Job<'_>, verb: &str) -> Vec<String> {
    let help = job.jobpass().args([verb, "--help"]).succeed().stdout;
    let (_, rest) = help.split_once("Examples:\n").expect("it has examples");
    let lines = rest.lines().map_while(|line| line.strip_prefix("  "));
    lines.map(|line| line.split("   ").next().unwrap_or_default().replace("ci/deploy-bot", &job.world.account())).collect()
}

#[test]
fn the_examples_of_runs_help() {
    let world = World::new();
    let job = Job::gitlab(&world);
    programs(&job);
    job.set("DB_PASSWORD", "correct horse battery");
    world.secret("correct horse battery");
    let output: Vec<_> = examples(&job, "run").iter().map(|line| job.shell("sh", line).succeed().stdout).collect();
    assert_eq!(
        output,
        [
            "kubectl apply -f manifests/: fine\n",
            "deployed with *** and no token\n",
            "curl: fine\n",
            "helm upgrade app ./chart: fine\nkubectl rollout status deploy/app: fine\n"
        ]
    );
    job.assert_nothing_left();
}

#[test]
fn the_examples_of_scrubs_and_requests_help() {
    let world = World::new();
    let job = Job::local(&world);
    programs(&job);
    for line in examples(&job, "request") {
        job.shell("sh", &line).succeed();
    }
    job.revoke().arg("--all").succeed();
    let request = job.request().succeed();
    job.enter(&request);
    let lines = examples(&job, "scrub");
    assert_eq!(lines.len(), 2);
    assert_eq!(job.shell("sh", &lines[0]).succeed().stdout, "deployed with  and ***\n");
    job.set("DB_PASSWORD", "correct horse battery");
    world.secret("correct horse battery");
    assert_eq!(job.shell("sh", &lines[1]).succeed().stdout, "deployed with *** and ***\n");
    job.revoke().succeed();
}
