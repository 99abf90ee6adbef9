//! Calls that cannot go well: a clear error that names the setting, before anything is sent.

use std::{fs, os::unix::fs::symlink};

use insta::assert_snapshot;

use crate::harness::{Command, End, Job, Ran, World, doors};

/// Runs one call of its own world, which must be refused before any connection.
fn refused(on: impl FnOnce(&World) -> Job<'_>, call: impl FnOnce(&Job<'_>) -> Ran) -> String {
    let world = World::sandbox("nothing is sent, so that it does not matter to whom");
    let job = on(&world);
    let ran = call(&job);
    let End::Code(code @ (1 | 2)) = ran.end else { panic!("{}", ran.transcript()) };
    assert_eq!(world.relay().connections(), 0, "{}", ran.transcript());
    job.assert_nothing_left();
    // 2: the call itself is wrong; 1: what it needs is not there.
    format!("exit {code}\n{}", ran.said())
}

macro_rules! refused {
    ($($name:ident: $on:ident, |$job:ident| $call:expr;)+) => {$(
        #[test]
        fn $name() {
            assert_snapshot!(stringify!($name), refused(|world| Job::$on(world), |$job| $call));
        }
    )+};
}

// The settings themselves.
refused! {
    the_service_account_is_missing: local, |job| job.jobpass().arg("request").run();
    the_input_of_the_service_account_is_missing: github, |job| job.jobpass().arg("request").args(["--action", "main"]).run();
    a_bare_name_needs_a_namespace: local, |job| job.jobpass().args(["request", "-s", "deploy-bot"]).run();
    two_namespaces_are_named: local, |job| job.jobpass().args(["request", "-s", "ci/deploy-bot", "-n", "prod"]).run();
    a_service_account_that_is_none: local, |job| job.jobpass().args(["request", "-s", "ci/deploy-bot?dryRun=All"]).run();
    a_lifetime_that_is_none: local, |job| job.request().args(["--ttl", "soon"]).run();
    a_lifetime_that_is_too_short: gitlab, |job| job.request().env("JOBPASS_TTL", "5m").run();
    a_lifetime_that_is_too_long: github, |job| job.request().args(["--action", "main"]).env("INPUT_TTL", "87600h").run();
    a_variable_that_is_no_name: local, |job| job.request().args(["--variable", "MY-TOKEN"]).run();
    a_variable_of_the_platforms: local, |job| job.request().args(["--variable", "GITHUB_TOKEN"]).run();
    a_variable_of_the_shells: gitlab, |job| job.request().env("JOBPASS_VARIABLE", "RANDOM").run();
    a_variable_and_none: local, |job| job.request().args(["--variable", "TOKEN", "--no-variable"]).run();
    a_kubeconfig_and_none: local, |job| job.request().args(["--kubeconfig-out", "/tmp/x", "--no-kubeconfig"]).run();
    a_switch_that_is_neither: gitlab, |job| job.request().env("JOBPASS_NO_VARIABLE", "yes").run();
    a_strictness_that_is_neither: gitlab, |job| job.request().env("JOBPASS_STRICT", "yes").run();
    a_wait_that_is_neither: tekton, |job| job.request().env("JOBPASS_WAIT_DEAD", "1").run();
    a_choice_of_all_that_is_neither: local, |job| job.request().env("JOBPASS_ALL", "True").run();
    a_mode_that_others_can_read: local, |job| job.request().args(["--file-mode", "0644"]).run();
    a_target_namespace_that_is_none: local, |job| job.request().args(["--target-namespace", "Prod"]).run();
    an_output_that_is_unknown: local, |job| job.request().args(["--output", "yaml"]).run();
    a_timeout_that_is_too_long: local, |job| job.request().args(["--timeout", "1h"]).run();
    a_value_of_two_lines: gitlab, |job| job.request().env("JOBPASS_VARIABLE", "A\nexport B=1").run();
    a_directory_in_the_workspace: github, |job| job.request().args(["--dir", "."]).run();
    a_kubeconfig_in_the_workspace: gitlab, |job| job.request().args(["--kubeconfig-out", "kubeconfig"]).run();
    a_kubeconfig_that_leads_back_into_the_workspace: gitlab, |job| {
        symlink(job.workspace(), job.directory().join("elsewhere")).expect("a link");
        job.request().arg("--kubeconfig-out").arg(job.directory().join("elsewhere/kubeconfig").to_string_lossy()).run()
    };
    a_kubeconfig_that_is_a_directory: local, |job| job.request().args(["--kubeconfig-out", "/tmp/"]).run();
}

// The command line.
refused! {
    a_flag_that_is_unknown: local, |job| job.request().args(["--service-acount", "ci/x"]).run();
    a_flag_without_its_value: local, |job| job.request().arg("--ttl").run();
    a_switch_with_a_value: local, |job| job.request().arg("--no-variable=true").run();
    a_flag_that_is_given_twice: local, |job| job.request().args(["--ttl", "1h", "--ttl", "2h"]).run();
    a_flag_of_another_tool: local, |job| job.request().args(["--cacert", "/ca.crt"]).run();
    a_flag_with_one_dash: local, |job| job.jobpass().args(["request", "-serviceaccount", "ci/x"]).run();
    a_flag_before_the_verb: local, |job| job.jobpass().args(["--timeout", "3s", "request"]).run();
    a_service_account_without_its_flag: local, |job| job.jobpass().args(["request", "ci/deploy-bot"]).run();
    a_verb_of_another_tool: local, |job| job.jobpass().arg("logout").run();
    a_flag_of_an_operators_verb: local, |job| job.jobpass().args(["leases", "list", "--namespaces", "ci"]).run();
    a_verb_that_is_unknown: local, |job| job.jobpass().arg("login").run();
    a_secret_as_a_flag_is_not_repeated: local, |job| {
        job.world.secret("hunter2-hunter2");
        // Not through `arg`, which refuses what this is about: the value that a person has put in the wrong place.
        job.shell("sh", "jobpass request --identity-token=hunter2\"-\"hunter2").run()
    };
    a_stray_argument_is_not_repeated: local, |job| {
        job.world.secret("hunter2-hunter2");
        job.shell("sh", "jobpass request hunter2\"-\"hunter2").run()
    };
}

// The platform.
refused! {
    a_ci_system_that_is_unknown: local, |job| job.request().env("CI", "true").run();
    a_platform_that_is_none: local, |job| job.request().args(["--platform", "jenkins"]).run();
    github_without_its_directory: github, |job| job.request().without("RUNNER_TEMP").run();
    github_without_its_files: github, |job| job.request().without("GITHUB_OUTPUT").run();
    github_with_a_file_that_cannot_be_written: github, |job| job.request().env("GITHUB_ENV", job.directory()).run();
    gitlab_without_its_directory: gitlab, |job| job.request().without("CI_PROJECT_DIR").run();
    gitlab_with_its_directory_in_the_workspace: gitlab, |job| {
        job.request().env("RUNNER_TEMP_PROJECT_DIR", job.workspace().join("tmp")).run()
    };
    gitlab_with_a_relative_directory_that_is_not_here: gitlab, |job| job.request().env("CI_PROJECT_DIR", "builds/acme/app").run();
    gitlab_without_its_job: gitlab, |job| job.request().without("CI_JOB_ID").run();
    tekton_without_its_pod: tekton, |job| job.request().without("JOBPASS_POD_UID").run();
    tekton_without_a_volume_in_memory: tekton, |job| {
        // On disk wherever the tests run, as the directory of the build is.
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = disk.path().to_string_lossy().into_owned();
        job.world.names_exact(&path, "DISK");
        job.request().env("JOBPASS_DIR", path).run()
    };
}

// What was made for other tools.
refused! {
    the_variables_of_oc: gitlab, |job| {
        let job = job.request().without("JOBPASS_KUBECONFIG").env("OPENSHIFT_TOKEN", job.world.identity_token());
        job.env("OPENSHIFT_SERVER", "https://api.example.com:6443").env("OPENSHIFT_CA", "/ca.crt").run()
    };
    a_token_of_kubernetes_without_a_server: local, |job| {
        job.request().without("KUBECONFIG").env("K8S_TOKEN", job.world.identity_token()).run()
    };
    a_kubeconfig_under_another_name: github, |job| {
        job.unset("JOBPASS_IDENTITY_KUBECONFIG");
        job.request().env("KUBE_CONFIG_DATA", job.world.kubeconfig()).run()
    };
    an_identity_token_beside_the_server_of_oc: gitlab, |job| {
        let job = job.request().without("JOBPASS_KUBECONFIG").env("JOBPASS_IDENTITY_TOKEN", job.world.identity_token());
        job.env("OPENSHIFT_SERVER", "https://api.example.com:6443").run()
    };
}

#[test]
fn help_and_version_are_verbs_too() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let shown = |line: &str| line.split(' ').fold(job.jobpass(), Command::arg).succeed().stdout;
    for (verb, flag) in
        [("help", "--help"), ("help run", "run --help"), ("version", "--version"), ("help leases list", "leases list --help")]
    {
        assert_eq!(shown(verb), shown(flag));
    }
    assert_eq!(job.jobpass().args(["help", "nothing"]).run().end, End::Code(2));
}

// The CI identity.
refused! {
    no_identity: gitlab, |job| job.request().without("JOBPASS_KUBECONFIG").run();
    an_id_token_without_a_server: gitlab, |job| {
        job.request().without("JOBPASS_KUBECONFIG").env("JOBPASS_IDENTITY_ID_TOKEN", job.world.identity_token()).run()
    };
    a_server_without_an_id_token: gitlab, |job| job.request().without("JOBPASS_KUBECONFIG").env("JOBPASS_SERVER", job.world.url()).run();
    an_action_without_a_server: github, |job| {
        job.unset("JOBPASS_IDENTITY_KUBECONFIG");
        job.set("ACTIONS_ID_TOKEN_REQUEST_URL", "https://pipelines.example.com/token?api-version=1");
        job.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", job.world.identity_token());
        job.request().args(["--action", "main"]).env("INPUT_SERVER", "").run()
    };
    an_empty_identity_as_forks_get_it: github, |job| {
        job.unset("JOBPASS_IDENTITY_KUBECONFIG");
        job.request().args(["--action", "main"]).env("INPUT_IDENTITY-KUBECONFIG", "").run()
    };
    inputs_of_which_none_is_set: github, |job| {
        job.unset("JOBPASS_IDENTITY_KUBECONFIG");
        let command = job.request().args(["--action", "main"]);
        // The runner sets every input that the action declares.
        command.env("INPUT_IDENTITY-TOKEN", "").env("INPUT_IDENTITY-KUBECONFIG", "").run()
    };
    an_empty_variable_of_the_identity: gitlab, |job| job.request().without("JOBPASS_KUBECONFIG").env("JOBPASS_IDENTITY_TOKEN", "").run();
    an_empty_kubeconfig_as_an_unprotected_branch_gets_it: gitlab, |job| job.request().env("JOBPASS_KUBECONFIG", "").run();
    an_identity_token_without_a_server: gitlab, |job| {
        let token = job.world.identity_token().to_owned();
        job.request().without("JOBPASS_KUBECONFIG").env("JOBPASS_IDENTITY_TOKEN", token).run()
    };
    an_identity_token_of_several_words: gitlab, |job| {
        let token = format!("Bearer {}", job.world.identity_token());
        job.request().without("JOBPASS_KUBECONFIG").env("JOBPASS_IDENTITY_TOKEN", token).env("JOBPASS_SERVER", job.world.url()).run()
    };
    an_identity_token_file_that_is_empty: tekton, |job| {
        doors::write(&job.directory().join("token"), "\n");
        job.request().run()
    };
    an_identity_token_file_that_is_missing: tekton, |job| job.request().env("JOBPASS_IDENTITY_TOKEN_FILE", "/nowhere/token").run();
    a_token_and_a_kubeconfig: gitlab, |job| {
        let token = job.world.identity_token().to_owned();
        job.request().env("JOBPASS_IDENTITY_TOKEN", token).run()
    };
    a_kubeconfig_that_is_missing: local, |job| job.request().args(["--kubeconfig", "/nowhere/kubeconfig"]).run();
    a_kubeconfig_that_is_none: github, |job| {
        let text = format!("not: [a kubeconfig\n{}", job.world.identity_token());
        job.request().env("JOBPASS_IDENTITY_KUBECONFIG", text).run()
    };
    a_path_where_a_kubeconfigs_text_belongs: github, |job| job.request().env("JOBPASS_IDENTITY_KUBECONFIG", "/home/me/.kube/config").run();
    a_kubeconfig_without_a_context: gitlab, |job| {
        edit(job, |text| text.replace("current-context: main\n", ""));
        job.request().run()
    };
    a_context_that_is_unknown: gitlab, |job| job.request().args(["--context", "prod"]).run();
    a_context_of_an_unknown_cluster: gitlab, |job| {
        edit(job, |text| text.replace("cluster: main", "cluster: other"));
        job.request().run()
    };
    a_context_of_an_unknown_user: gitlab, |job| {
        edit(job, |text| text.replace("user: ci", "user: other"));
        job.request().run()
    };
    a_context_without_a_kubeconfig: tekton, |job| job.request().args(["--context", "prod"]).run();
    a_kubeconfig_with_a_bad_authority: gitlab, |job| {
        edit(job, |text| text.replace("certificate-authority-data: LS0t", "certificate-authority-data: AAAA"));
        job.request().run()
    };
    a_kubeconfig_whose_authority_is_missing: gitlab, |job| {
        edit(job, |text| {
            let (before, rest) = text.split_once("certificate-authority-data:").expect("there");
            let (_, after) = rest.split_once('\n').expect("a line");
            format!("{before}certificate-authority: /nowhere/ca.crt\n{after}")
        });
        job.request().run()
    };
    an_auth_provider: gitlab, |job| {
        edit(job, |text| replace_user(&text, "auth-provider:\n      name: oidc"));
        job.request().run()
    };
    a_token_file_that_is_missing: gitlab, |job| {
        edit(job, |text| replace_user(&text, "tokenFile: /nowhere/token"));
        job.request().run()
    };
    a_client_certificate_that_is_none: gitlab, |job| {
        edit(job, |text| replace_user(&text, "client-certificate-data: AAAA\n    client-key-data: AAAA"));
        job.request().run()
    };
    a_plugin_that_is_not_installed: gitlab, |job| {
        edit(job, |text| replace_user(&text, &exec("no-such-plugin", "installHint: install it by\n        hand")));
        job.request().run()
    };
    a_plugin_that_fails: gitlab, |job| {
        let plugin = plugin(job, "echo 'the-secret-that-it-prints'; echo 'login first ::set-output name=x::y' >&2; exit 3");
        job.world.secret("the-secret-that-it-prints");
        edit(job, |text| replace_user(&text, &exec(&plugin, "")));
        job.request().run()
    };
    a_plugin_that_wants_to_ask_somebody: gitlab, |job| {
        let always = exec(&plugin(job, "exit 1"), "").replace("IfAvailable", "Always");
        edit(job, |text| replace_user(&text, &always));
        job.request().run()
    };
    a_plugin_that_prints_no_credential: gitlab, |job| {
        let plugin = plugin(job, "echo 'the-secret-that-it-prints'");
        job.world.secret("the-secret-that-it-prints");
        edit(job, |text| replace_user(&text, &exec(&plugin, "")));
        job.request().run()
    };
    a_server_without_tls: tekton, |job| job.request().args(["--server", "http://127.0.0.1:8080"]).run();
    a_server_that_is_the_console: tekton, |job| job.request().args(["--server", "https://console-openshift-console.apps.example.com"]).run();
    a_server_that_is_none: tekton, |job| job.request().args(["--server", "https://user@example.com"]).run();
    an_authority_that_is_none: tekton, |job| job.request().args(["--certificate-authority", "/nowhere/ca.crt"]).run();
    an_authority_and_no_check: tekton, |job| job.request().arg("--insecure-skip-tls-verify").run();
    a_proxy_that_is_none: tekton, |job| job.request().args(["--server", "https://api.example.com:6443"]).env("HTTPS_PROXY", "gopher://example.com").run();
}

/// Changes the CI identity's kubeconfig.
fn edit(job: &Job<'_>, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(job.identity_file()).expect("the harness made it");
    let changed = change(text.clone());
    assert_ne!(changed, text, "nothing was changed");
    doors::write(&job.identity_file(), &changed);
}

/// Puts something else in the place of the user's token.
pub(crate) fn replace_user(kubeconfig: &str, user: &str) -> String {
    let (before, rest) = kubeconfig.split_once("    token: ").expect("a token");
    let (_, after) = rest.split_once('\n').expect("a line");
    format!("{before}    {user}\n{after}")
}

/// A kubeconfig's user who is asked for by a program.
pub(crate) fn exec(command: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!("\n      {more}") };
    format!("exec:\n      apiVersion: client.authentication.k8s.io/v1\n      interactiveMode: IfAvailable\n      command: {command}{more}")
}

/// A credential plugin that runs this script; returns its path.
pub(crate) fn plugin(job: &Job<'_>, script: &str) -> String {
    let path = job.directory().join("identity.plugin");
    doors::write_program(&path, &format!("#!/bin/sh\n{script}\n"));
    path.to_string_lossy().into_owned()
}
