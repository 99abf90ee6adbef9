//! `docs/clusters.md`: the exchange, and the kubeconfigs of cloud clusters with stand-ins for their plugins.
//!
//! The stand-ins refuse what the plugins refuse by their documentation, and print what they print. The real `aws` runs in
//! `tests/platforms/clients/eks.rs`, as it is not on every machine.

use crate::{
    exchange::Federation,
    harness::{Job, World, doors, oidc::Exchange, pages},
};

/// What all of them print: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.
const PRINT: &str = r#"case $KUBERNETES_EXEC_INFO in *client.authentication.k8s.io/v1beta1*) ;; *) echo 'no such version' >&2; exit 1 ;; esac
printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{},"status":{"expirationTimestamp":"2100-01-01T00:00:00Z","token":"%s"}}' \
  "$(cat "$STAND_IN_TOKEN")"
"#;

/// Each plugin: the mark of its kubeconfig, its name, and what it needs.
const PLUGINS: [(&str, &str, &str); 3] = [
    // https://docs.aws.amazon.com/cli/latest/reference/eks/get-token.html
    (
        "eks",
        "aws",
        "test \"$*\" = '--region eu-central-1 eks get-token --cluster-name prod --output json' || exit 252\n\
         test -n \"${AWS_ACCESS_KEY_ID-}\" || { test -n \"$AWS_ROLE_ARN\" && test -s \"$AWS_WEB_IDENTITY_TOKEN_FILE\"; } || exit 253\n",
    ),
    // https://github.com/kubernetes/cloud-provider-gcp/tree/master/cmd/gke-gcloud-auth-plugin
    (
        "gke",
        "gke-gcloud-auth-plugin",
        "test \"$*\" = --use_application_default_credentials || exit 1\n\
         test -n \"$GOOGLE_APPLICATION_CREDENTIALS\" || exit 1\n\
         case $KUBERNETES_EXEC_INFO in *'\"server\"'*) ;; *) exit 1 ;; esac\n",
    ),
    // https://azure.github.io/kubelogin/cli/get-token.html
    (
        "aks",
        "kubelogin",
        "test \"$*\" = 'get-token --server-id 6dae42f8-4368-4678-94ff-3960e28e3630' || exit 1\n\
         case $AAD_LOGIN_METHOD in\n\
         azurecli) ;;\n\
         workloadidentity) test -n \"$AZURE_CLIENT_ID$AZURE_TENANT_ID\" && test -s \"$AZURE_FEDERATED_TOKEN_FILE\" || exit 1 ;;\n\
         *) exit 1 ;;\n\
         esac\n",
    ),
];

/// A job whose repository has the kubeconfig of that cloud, and on whose machine its plugin is.
fn job<'w>(world: &'w World, on_gitlab: bool, cloud: &str) -> Job<'w> {
    let (_, plugin, needs) = PLUGINS.into_iter().find(|(mark, ..)| *mark == cloud).expect("known");
    let job = if on_gitlab { Job::gitlab(world) } else { Job::github(world) };
    job.unset_if_set(["JOBPASS_KUBECONFIG", "JOBPASS_IDENTITY_KUBECONFIG"]);
    let (bin, ci) = (job.directory().join("bin"), job.workspace().join("ci"));
    doors::make_directory(&bin);
    doors::make_directory(&ci);
    for (name, script) in [(plugin, format!("#!/bin/sh\n{needs}{PRINT}")), ("kubectl", "#!/bin/sh\ntest -r \"$KUBECONFIG\"\n".to_owned())] {
        doors::write_program(&bin.join(name), &script);
    }
    job.set("PATH", format!("{}:{}", bin.display(), job.get("PATH").expect("set")));
    let token = job.directory().join("identity.token");
    doors::write(&token, world.identity_token());
    job.set("STAND_IN_TOKEN", token);
    let yaml = pages::example("clusters", cloud);
    let server = yaml.split("server: '").nth(1).and_then(|rest| rest.split('\'').next()).expect("a server");
    doors::write(&ci.join(format!("{cloud}.yaml")), &yaml.replace(server, &world.url()));
    doors::write(&ci.join("ca.crt"), &world.ca_pem());
    job
}

#[test]
fn the_kubeconfigs_of_clouds_hold_no_secret_and_their_plugins_are_asked() {
    let world = World::new();
    // What the login of each platform leaves to the steps after it.
    for (cloud, login) in [
        ("eks", ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")),
        ("gke", ("GOOGLE_APPLICATION_CREDENTIALS", "google.json")),
        ("aks", ("AAD_LOGIN_METHOD", "azurecli")),
    ] {
        let job = job(&world, false, cloud);
        let page = format!("jobpass run -s ci/deploy-bot --kubeconfig ci/{cloud}.yaml -- kubectl apply -f manifests/");
        let there = pages::pages().into_iter().any(|known| known.path == "docs/clusters.md" && known.text.contains(&page));
        assert!(there, "docs/clusters.md does not say `{page}`");
        let script = page.replace("ci/deploy-bot", &world.account());
        let refused = job.shell("sh", &script).run();
        assert!(refused.stderr.contains("its credential plugin"), "{}", refused.transcript());
        job.set(login.0, login.1);
        job.shell("sh", &script).succeed();
        job.assert_nothing_left();
        // The end of a pass that was requested asks the plugin once more.
        let request = job.request().args(["--kubeconfig", &format!("ci/{cloud}.yaml")]).succeed();
        assert!(request.stderr.contains("asked as"), "{}", request.transcript());
        let token = job.token();
        job.jobpass().args(["revoke", "--kubeconfig", &format!("ci/{cloud}.yaml")]).succeed();
        world.assert_dies(&token);
        job.assert_nothing_left();
    }
}

#[test]
fn the_jobs_of_gitlab_log_in_by_their_id_token() {
    let world = World::new();
    for (cloud, name, token) in
        [("eks", "eks-gitlab", "AWS_ID_TOKEN"), ("gke", "gke-gitlab", "GOOGLE_ID_TOKEN"), ("aks", "aks-gitlab", "AZURE_ID_TOKEN")]
    {
        let job = job(&world, true, cloud);
        let yaml = pages::example("clusters", name);
        let (before, script) = yaml.split_once("  script:\n").expect("a script");
        let (_, variables) = before.split_once("  variables:\n").expect("variables");
        for (name, value) in variables.lines().filter_map(|line| line.trim().split_once(": ")) {
            job.set(name, value);
        }
        job.set(token, "an-id-token");
        job.set("TMPDIR", job.directory());
        let script: Vec<_> = script.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect();
        let google = job.directory().join("google-token");
        let script = script.join("\n").replace("ci/deploy-bot", &world.account()).replace("/tmp/google-token", &google.to_string_lossy());
        assert!(script.contains(&format!("--hide {token} ")));
        job.shell("sh", &format!("set -e\n{script}")).succeed();
        job.assert_nothing_left();
    }
}

#[test]
fn the_exchange_of_the_page_is_one() {
    let world = World::trusting();
    let federation = Federation::of(&world);
    let (job, _) = federation.job();
    job.unset("JOBPASS_EXCHANGE_URL");
    job.unset("JOBPASS_EXCHANGE_CLIENT_ID");
    let bin = job.directory().join("bin");
    doors::make_directory(&bin);
    doors::write_program(&bin.join("kubectl"), "#!/bin/sh\ntest -r \"$KUBECONFIG\"\n");
    job.set("PATH", format!("{}:{}", bin.display(), job.get("PATH").expect("set")));
    doors::write(&job.workspace().join("ca.crt"), &world.ca_pem());
    let page = pages::example("clusters", "exchange");
    assert!(page.contains(&format!("--exchange-client-id {} ", Exchange::CLIENT)));
    let script = page
        .replace("ci/deploy-bot", &world.account())
        .replace("https://api.example.com:6443", &world.url())
        .replace("https://sso.example.com/realms/ci/token", &federation.endpoint.url())
        .replace("--exchange-audience kubernetes", &format!("--exchange-audience {}", world.url()));
    job.shell("sh", &script).succeed();
    assert!(!federation.endpoint.asked().is_empty());
    job.assert_nothing_left();
}
