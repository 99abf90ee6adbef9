//! The CI/CD component: its inputs become the settings, and what is none is refused before there is a pipeline.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

/// A project that is a component itself, with its pipeline changed in one place.
fn with<'w>(world: &'w World, from: &str, to: &str) -> Project<'w> {
    let pipeline = fixture("component");
    assert!(pipeline.contains(from), "{from}");
    let project = Project::with_text(world, &pipeline.replacen(from, to, 1)).with_jobpass();
    project.copy("templates/jobpass.yml", "templates/jobpass.yml");
    project
}

#[test]
fn two_includes_with_inputs_are_two_sets_of_jobs() {
    let world = World::new();
    let project = with(&world, "", "");
    let pipeline = project.succeed(&["PASS deploy", "PASS staging"]);
    pipeline.assert_says("kubectl says ***");
    assert_eq!(project.kept("mode"), "640\n");
    assert_eq!(project.kept("namespace"), "namespace\": \"elsewhere\"\n");
    let second = UNUSED.map(|request| request.replace("LEASE-1", "LEASE-2"));
    assert_eq!(project.requests(), [UNUSED.map(str::to_owned), second].concat());
    project.assert_revoked(2);
    let claims = claims(&project.kept("of-staging"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 15 * 60);
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("a JWT")).expect("base64");
    serde_json::from_slice(&claims).expect("claims")
}

#[test]
fn a_setting_of_the_job_itself_is_the_one_that_holds() {
    let world = World::new();
    let project = with(&world, "  stage: staging\n", "  stage: staging\n  variables:\n    JOBPASS_TTL: 20m\n");
    project.succeed(&["PASS deploy", "PASS staging"]);
    let claims = claims(&project.kept("of-staging"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 20 * 60);
}

#[test]
fn a_setting_of_the_whole_pipeline_is_none_of_these_jobs() {
    let world = World::new();
    // One that is an input, one that the script would miss, two that no verb could read, and one that would change the lease's name.
    let variables = "variables:\n  JOBPASS_VARIABLE: MINE\n  JOBPASS_NO_KUBECONFIG: 'true'\n  JOBPASS_WAIT_DEAD: perhaps\n  \
                     JOBPASS_TIMEOUT: long\n  JOBPASS_JOB_KEY: mine\n\nstages: ";
    let project = with(&world, "stages: ", variables);
    project.succeed(&["PASS deploy", "PASS staging"]).assert_says("kubectl says ***");
    let second = UNUSED.map(|request| request.replace("LEASE-1", "LEASE-2"));
    assert_eq!(project.requests(), [UNUSED.map(str::to_owned), second].concat());
    project.assert_revoked(2);
}

#[test]
fn an_input_that_is_none_is_refused_before_there_is_a_job() {
    for (from, to, name) in [
        ("service-account: ci/deploy-bot", "service-account: deploy-bot", "service-account"),
        ("service-account: ci/deploy-bot", "ttl: 15m", "service-account"),
        ("ttl: 15m", "ttl: for ever", "ttl"),
        ("file-mode: '0640'", "file-mode: '0666'", "file-mode"),
        ("as: staging", "as: Staging", "as"),
        ("variable: STAGING_TOKEN", "variable: STAGING-TOKEN", "variable"),
        ("variable: STAGING_TOKEN", "no-variable: perhaps", "no-variable"),
        ("variable: STAGING_TOKEN", "sha256: abc", "sha256"),
        ("variable: STAGING_TOKEN", "url: file:///jobpass", "url"),
    ] {
        let world = World::new();
        let project = with(&world, from, to);
        let pipeline = project.run(&[]);
        pipeline.assert(1, &[]);
        assert!(pipeline.log.contains(&format!("`{name}`")), "{name}: {}", pipeline.log);
        assert_eq!(project.requests(), [""; 0]);
    }
}
