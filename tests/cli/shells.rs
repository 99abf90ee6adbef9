//! The env file, sourced as GitLab's and Tekton's scripts and people do it, in every shell that a job may have.

use insta::assert_snapshot;

use crate::harness::{Job, World, doors};

/// Runs a script in each shell; every one starts a pass of its own.
fn in_each_shell(job: &Job<'_>, script: &str, check: impl Fn(&str, &crate::harness::Ran)) {
    for shell in doors::shells() {
        let ran = job.shell(&shell, script).run();
        check(&shell, &ran);
        job.revoke().arg("--all").succeed();
    }
}

fn sourcing(world: &World) -> String {
    format!(". \"$(jobpass request --service-account {})\"", world.account())
}

#[test]
fn sourcing_exports_everything_under_errexit_and_nounset() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = format!(
        "set -eu\n{}\ntest \"$OPENSHIFT_TOKEN\" = \"$(cat \"$JOBPASS_TOKEN_FILE\")\"\ntest -r \"$KUBECONFIG\"\n\
         env | cut -d= -f1 | grep -E '^(JOBPASS_(CURL|EXPIRES|LEASE|PASS|TOKEN)|jobpass|KUBE|OPENSHIFT)' | sort\necho \"trace: $-\"",
        sourcing(&world)
    );
    in_each_shell(&job, &script, |shell, ran| {
        assert!(ran.is_success(), "{}", ran.transcript());
        let names = ran.stdout.lines().take_while(|line| !line.starts_with("trace")).collect::<Vec<_>>().join(" ");
        assert_eq!(
            names,
            "JOBPASS_CURL JOBPASS_EXPIRES_AT JOBPASS_LEASE JOBPASS_PASS_CA_FILE JOBPASS_PASS_NAMESPACE JOBPASS_PASS_SERVER JOBPASS_TOKEN_FILE \
             KUBECONFIG KUBE_CONFIG_PATH OPENSHIFT_TOKEN",
            "{shell}"
        );
    });
}

#[test]
fn a_trace_does_not_show_the_token_and_goes_on_afterwards() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = format!("set -ex\n{}\n: \"still traced\"\ncase $- in *x*) echo on ;; esac", sourcing(&world));
    in_each_shell(&job, &script, |shell, ran| {
        assert!(ran.is_success(), "{}", ran.transcript());
        assert!(ran.stderr.contains("still traced"), "{shell}: {}", ran.transcript());
        assert_eq!(ran.stdout, "on\n", "{shell}");
    });
}

#[test]
fn a_shell_that_prints_its_input_does_not_show_the_token() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let script = format!("set -ev\n{}\ncase $- in *x*) echo on ;; *) echo off ;; esac", sourcing(&world));
    in_each_shell(&job, &script, |shell, ran| {
        assert!(ran.is_success(), "{}", ran.transcript());
        assert_eq!(ran.stdout, "off\n", "{shell}: what was off stays off");
    });
}

#[test]
fn a_failed_request_ends_a_job_under_errexit() {
    let world = World::new();
    let job = Job::gitlab(&world);
    world.take_away("create", "serviceaccounts/token");
    let script = format!("set -e\n{}\necho 'the job went on'", sourcing(&world));
    in_each_shell(&job, &script, |shell, ran| {
        assert!(!ran.is_success(), "{shell}");
        assert_eq!(ran.stdout, "", "{shell}");
        assert!(ran.stderr.contains("error: cannot request a token"), "{shell}: {}", ran.transcript());
    });
}

#[test]
fn the_end_of_a_pass_is_known_to_the_shell_that_has_it() {
    let world = World::new();
    let job = Job::local(&world);
    // A second pass that is not this shell's stays.
    let other = job.request().succeed();
    assert!(!other.stdout.is_empty());
    let script = format!("set -e\n{}\njobpass revoke 2>/dev/null\n", sourcing(&world));
    for shell in doors::shells() {
        job.shell(&shell, &script).succeed();
        assert_eq!(job.places().len(), 1, "{shell}");
    }
    job.revoke().succeed();
    job.assert_nothing_left();
}

#[test]
fn under_gitlabs_debug_trace_only_kubeconfig_is_exported() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.set("CI_DEBUG_TRACE", "true");
    let script = format!(
        "set -ex\n{}\ntest -z \"${{OPENSHIFT_TOKEN+set}}\"\ntest -r \"$KUBECONFIG\"\nenv | grep -c '^JOBPASS_LEASE' || :",
        sourcing(&world)
    );
    in_each_shell(&job, &script, |shell, ran| {
        assert!(ran.is_success(), "{}", ran.transcript());
        assert_eq!(ran.stdout, "0\n", "{shell}");
        assert!(ran.stderr.contains("warning: `CI_DEBUG_TRACE` is on"), "{shell}");
    });
}

#[test]
fn the_env_file_itself_holds_no_secret() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    let text = std::fs::read_to_string(request.stdout.trim()).expect("stdout is its path");
    assert_snapshot!(world.plain(&text));
    job.revoke().succeed();
}

#[test]
fn stdout_is_the_path_and_nothing_else() {
    let world = World::new();
    for job in [Job::gitlab(&world), Job::tekton(&world), Job::local(&world)] {
        let request = job.request().succeed();
        assert_eq!(request.stdout, format!("{}\n", job.place().join("env").display()));
        job.revoke().succeed();
    }
}

#[test]
fn files_are_the_users_own_under_any_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let mode = |path: &std::path::Path| std::fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777;
    let place = job.place();
    assert_eq!((mode(&place), mode(place.parent().expect("a base"))), (0o700, 0o700));
    for name in ["lease.json", "token", "kubeconfig", "env"] {
        assert_eq!(mode(&place.join(name)), 0o600, "{name}");
    }
    job.revoke().succeed();
}

#[test]
fn an_umask_that_takes_everything_takes_nothing_from_us() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    // An administrator's capabilities would open everything to us.
    let as_anybody = if doors::is_root() { "setpriv --bounding-set=-all --inh-caps=-all " } else { "" };
    for job in [Job::gitlab(&world), Job::local(&world)] {
        job.set("JOBPASS_DIR", job.base().join("made/anew"));
        let script = |call: &str| format!("umask 0777; exec {as_anybody}jobpass {call} --service-account {}", world.account());
        let request = job.shell("sh", &script("request")).succeed();
        let place = std::path::PathBuf::from(request.stdout.trim_end().strip_suffix("/env").expect("a path"));
        let mode = std::fs::symlink_metadata(&place).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o700);
        job.shell("sh", &(script("run --job-key second") + " -- sh -c 'test -r \"$KUBECONFIG\"; umask'")).succeed();
        job.shell("sh", &script("revoke --all")).succeed();
        assert!(!place.exists());
        assert_eq!(world.secrets(), [""; 0]);
    }
}

/// A shell that will not have the token in a variable says so with what it would not have: nobody may hear that.
#[test]
fn a_variable_that_cannot_hold_the_token_is_an_error_without_it() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let source = format!(". \"$(jobpass request --service-account {})\"", world.account());
    for (before, holds) in [("readonly OPENSHIFT_TOKEN=mine", false), ("OPENSHIFT_TOKEN=mine", true)] {
        let script = format!("{before}\ntrap 'echo ended' EXIT\nset -e\n{source}\necho \"${{#OPENSHIFT_TOKEN}}\"");
        in_each_shell(&job, &script, |shell, ran| {
            assert_eq!(ran.is_success(), holds, "{shell}: {}", ran.transcript());
            assert_eq!(ran.stdout.matches("ended").count(), 1, "{shell}: its own trap is nobody else's");
            let error = "error: in this shell the variable OPENSHIFT_TOKEN cannot hold the token";
            assert_eq!(ran.stderr.contains(error), !holds, "{shell}: {}", ran.transcript());
        });
    }
    // Of numbers only bash knows.
    if doors::shells().iter().any(|shell| shell == "bash") {
        for before in ["declare -i OPENSHIFT_TOKEN", "declare -a OPENSHIFT_TOKEN; declare -r OPENSHIFT_TOKEN"] {
            let ran = job.shell("bash", &format!("{before}\n{source}\n[ -z \"$OPENSHIFT_TOKEN\" ]")).run();
            assert!(ran.stderr.contains("cannot hold the token"), "{}", ran.transcript());
            job.revoke().arg("--all").succeed();
        }
    }
}

// What was there before.

#[test]
fn what_the_variables_were_is_put_back() {
    let world = World::new();
    let job = Job::local(&world);
    let former = "a former one\n of 'two' \"lines\" ";
    world.secret(former);
    job.set("OPENSHIFT_TOKEN", former);
    job.set("JOBPASS_PASS_SERVER", "");
    // Not exported: it is none of the programs' business before, and so it is afterwards.
    let script = format!(
        "set -eux\nKUBE_CONFIG_PATH='a  b'\nbefore=$(set +x; env | grep -v '^_=' | sort)\nset -a\n{source}\nset +a\n\
         [ \"$KUBE_CONFIG_PATH\" = \"$KUBECONFIG\" ]\n{source}\njobpass revoke --all\njobpass_restore\n\
         set +x\n[ \"$(env | grep -v '^_=' | sort)\" = \"$before\" ]\n[ \"$KUBE_CONFIG_PATH\" = 'a  b' ]\n\
         set | grep -c '^jobpass_[a-zA-Z_]*=' || :\njobpass_restore\n[ \"$(env | grep -v '^_=' | sort)\" = \"$before\" ]\n\
         jobpass request --service-account {} >/dev/null",
        world.account(),
        source = sourcing(&world),
    );
    in_each_shell(&job, &script, |shell, ran| {
        assert!(ran.is_success(), "{shell}: {}", ran.transcript());
        assert_eq!(ran.stdout, "0\n", "{shell}: nothing of ours is left");
        assert!(!ran.stderr.contains("is no setting"), "{shell}: {}", ran.transcript());
    });
}

#[test]
fn what_somebody_has_changed_since_stays() {
    let world = World::new();
    let job = Job::local(&world);
    let other = job.directory().join("identity.other");
    doors::write(&other, &world.kubeconfig());
    let script = format!(
        "set -eu\n{source}\njobpass revoke\nexport KUBECONFIG={other}\n{source}\njobpass revoke\njobpass_restore\n\
         [ \"$KUBECONFIG\" = {other} ]\n{source}\nexport KUBECONFIG=/mine\njobpass_restore\n[ \"$KUBECONFIG\" = /mine ]\n\
         [ -z \"${{JOBPASS_LEASE+set}}${{OPENSHIFT_TOKEN+set}}\" ]",
        source = sourcing(&world),
        other = other.display(),
    );
    in_each_shell(&job, &script, |shell, ran| {
        assert!(ran.is_success(), "{shell}: {}", ran.transcript());
    });
}

#[test]
fn a_shell_is_told_how_it_gets_back_what_it_had_and_a_request_before_that_is_no_riddle() {
    let world = World::new();
    let job = Job::local(&world);
    let before = job.get("KUBECONFIG").expect("set");
    job.enter(&job.request().succeed());
    assert_snapshot!("the_end_in_a_shell_that_has_sourced", job.revoke().succeed().said());
    let refused = job.request().run();
    assert_snapshot!("a_request_with_a_kubeconfig_of_a_pass_that_is_over", refused.said());
    // By `--kubeconfig-out` it was elsewhere.
    let out = job.directory().join("out.kubeconfig");
    job.set("KUBECONFIG", &before);
    job.enter(&job.request().args(["--kubeconfig-out", &out.to_string_lossy()]).succeed());
    job.revoke().succeed();
    assert_eq!(job.request().run().said(), refused.said());
    // A pass that lives leads to what it was requested with, as long as that is there.
    job.set("KUBECONFIG", &before);
    job.enter(&job.request().succeed());
    let identity = std::fs::read_to_string(&before).expect("there");
    std::fs::remove_file(&before).expect("there");
    assert_snapshot!("a_request_with_a_kubeconfig_of_a_pass_whose_identity_is_gone", job.request().run().said());
    doors::write(before.as_ref(), &identity);
    job.revoke().succeed();
    // Whoever has a kubeconfig of his own at home gets a pass, and is told by which.
    doors::make_directory(&job.directory().join("home/.kube"));
    doors::write(&job.directory().join("home/.kube/config"), &world.kubeconfig());
    let again = job.request().succeed();
    assert!(again.said().contains("/.kube/config` (`KUBECONFIG` names a pass that is over)"), "{}", again.said());
    job.revoke().arg("--all").succeed();
    job.assert_nothing_left();
}
