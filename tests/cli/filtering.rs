//! `scrub`: a filter for output that cannot be wrapped.

use insta::assert_snapshot;

use crate::harness::{End, Job, World};

#[test]
fn a_shells_own_pass_and_a_variable_are_hidden() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    job.enter(&request);
    job.set("DB_PASSWORD", "correct horse battery");
    world.secret("correct horse battery");
    let script = "{ echo $OPENSHIFT_TOKEN; echo $OPENSHIFT_TOKEN | base64; echo \"a $DB_PASSWORD b\"; echo plain; } | jobpass scrub --scrub-env DB_PASSWORD";
    let ran = job.shell("sh", script).succeed();
    assert_eq!(ran.stdout.lines().filter(|line| line.contains("***")).count(), 3, "{}", ran.stdout);
    assert!(ran.stdout.ends_with("a *** b\nplain\n"), "{}", ran.stdout);
    job.revoke().succeed();
}

#[test]
fn a_variable_is_hidden_as_tools_write_it() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    job.set("PW", "it's p@ss=w/ord+1");
    job.set("KEY", "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7b\n-----END KEY-----\n");
    let script = r#"{
        (set -x; : "$PW" "p$PW") 2>&1
        export -p | grep PW=
        echo "Authorization: Basic $(printf %s "u:$PW" | base64 -w 0)" | fold -w 30
        echo "password: $(printf %s "$PW" | od -An -v -tx1 | tr -d ' \n')" | fold -w 24
        printf '%s\n' 'password=it%27s+p%40ss%3Dw%2Ford%2B1' '{"password":"it\u0027s p@ss\u003dw/ord+1"}'
        printf %s "$KEY" | sed 's/^/  /'
    } | jobpass scrub --scrub-env PW --scrub-env KEY"#;
    let ran = job.shell("sh", script).succeed();
    for part in ["p@ss", "rd+1", "rd%2B", "MIIE", "KEY", "J3MgcEBzcz", "40737", "p%40"] {
        assert!(!ran.stdout.contains(part), "{part} is in {}", ran.stdout);
    }
    assert!(ran.stdout.ends_with("password=***\n{\"password\":\"***\"}\n  ***\n  ***\n  ***\n"), "{}", ran.stdout);
}

#[test]
fn a_token_in_a_variable_needs_no_lease() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let request = job.request().succeed();
    job.enter(&request);
    job.unset("JOBPASS_LEASE");
    let ran = job.shell("sh", "echo ${OPENSHIFT_TOKEN##*.} | jobpass scrub --scrub-env OPENSHIFT_TOKEN").succeed();
    assert_eq!(ran.stdout, "***\n");
    job.revoke().succeed();
}

#[test]
fn a_lease_by_its_name_or_its_file() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.request().succeed();
    let lease = format!("{}/{}", world.namespace(), job.lease());
    let place = job.place();
    for named in [format!("--lease {lease}"), format!("--lease-file {}/lease.json", place.display())] {
        let ran = job.shell("sh", &format!("cat {}/token | jobpass scrub {named}", place.display())).succeed();
        assert_eq!(ran.stdout, "***", "{named}");
    }
    // Also by a variable, and of another job: what is hidden once too often does no harm.
    let script = format!("cat {}/token | jobpass scrub", place.display());
    let other = job.shell("sh", &script).env("JOBPASS_LEASE_FILE", place.join("lease.json")).env("CI_JOB_ID", "4712").succeed();
    assert_eq!(other.stdout, "***");
    job.revoke().succeed();
    let over = job.jobpass().args(["scrub", "--lease", &lease]).run();
    assert_eq!(over.end, End::Code(1));
    assert_snapshot!(over.said());
}

#[test]
fn nothing_to_hide_is_a_mistake() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    let ran = job.jobpass().arg("scrub").run();
    assert_eq!(ran.end, End::Code(2));
    assert_snapshot!(ran.said());
}

#[test]
fn arbitrary_bytes_pass_untouched() {
    let world = World::sandbox("nothing is sent");
    let job = Job::local(&world);
    job.set("WORD", "a-secret-word");
    let script = "head -c 3000000 /dev/urandom >bytes; jobpass scrub --scrub-env WORD <bytes | cmp - bytes && echo same; rm bytes";
    let ran = job.shell("sh", script).succeed();
    assert_eq!(ran.stdout, "same\n");
}

#[test]
fn every_pass_of_a_job_is_hidden_where_the_variable_names_the_last_one() {
    let world = World::new();
    let job = Job::github(&world);
    let first = job.request().args(["--variable", "ONE_TOKEN"]).succeed();
    job.enter(&first);
    let second = job.request().args(["--variable", "OTHER_TOKEN"]).succeed();
    job.enter(&second);
    let ran = job.shell("sh", "{ echo $ONE_TOKEN; echo $OTHER_TOKEN; } | jobpass scrub").succeed();
    assert_eq!(ran.stdout, "***\n***\n");
    job.revoke().succeed();
    job.assert_nothing_left();
}
