//! The real `aws eks get-token` as the credential plugin of a kubeconfig: the one of `docs/clusters.md`.
//!
//! It signs without asking anybody, so that it needs no AWS. The sandbox checks the signature, which on EKS AWS does.

use jobpass_sandbox::jwt;

use crate::{
    harness::{Job, World, doors, pages},
    processes::installed,
    shared,
};

#[test]
fn a_pass_is_begun_and_ended_by_the_token_of_the_real_aws() {
    let world = World::sandbox("it knows the tokens of EKS");
    let secret = jwt::opaque();
    world.secret(&secret);
    world.on_sandbox().add_aws_key(&world.user(), "prod", "AKIAEXAMPLE", &secret);
    let job = Job::github(&world);
    job.unset("JOBPASS_IDENTITY_KUBECONFIG");
    job.set("PATH", format!("{}:{}", installed("aws/bin").display(), shared::machine()));
    job.set("HOME", job.directory());
    for (name, value) in [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", &secret), ("AWS_EC2_METADATA_DISABLED", "true")] {
        job.set(name, value);
    }
    let yaml = pages::example("clusters", "eks");
    let server = yaml.split("server: '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a server");
    doors::write(&job.workspace().join("eks.yaml"), &yaml.replace(server, &world.url()));
    doors::write(&job.workspace().join("ca.crt"), &world.ca_pem());
    let kubeconfig = ["--kubeconfig", "eks.yaml"];
    job.request().args(kubeconfig).succeed();
    let token = job.token();
    assert!(world.accepts(&token));
    job.revoke().args(kubeconfig).succeed();
    world.assert_dies(&token);
    job.assert_nothing_left();
    // Another key than the cluster knows.
    let refused = job.request().args(kubeconfig).env("AWS_SECRET_ACCESS_KEY", "another").run();
    assert!(refused.stderr.contains("401"), "{}", refused.transcript());
    job.assert_nothing_left();
    // What the plugin says is repeated, and nothing of what it prints.
    let refused = job.request().args(kubeconfig).without("AWS_SECRET_ACCESS_KEY").without("AWS_ACCESS_KEY_ID").run();
    assert!(refused.stderr.contains("its credential plugin `aws`"), "{}", refused.transcript());
    job.assert_nothing_left();
}
