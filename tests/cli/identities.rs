//! Every kind of CI identity that works, and which of several is taken.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use insta::assert_snapshot;

use crate::{
    harness::{End, Job, Ran, World, doors},
    usage::{exec, plugin, replace_user},
};

/// A whole job with this identity; returns the line that says which one was used.
fn works(job: &Job<'_>) -> String {
    let request = job.request().succeed();
    let asked = asked_as(&request);
    let token = job.token();
    job.revoke().succeed();
    job.world.assert_dies(&token);
    job.assert_nothing_left();
    asked
}

fn asked_as(ran: &Ran) -> String {
    let said = ran.said();
    said.lines().find_map(|line| line.split_once(", asked as ")).map(|(_, asked)| asked.to_owned()).expect("it says as whom it asked")
}

#[test]
fn a_kubeconfig_in_base64() {
    let world = World::new();
    let job = Job::github(&world);
    // As `base64` prints it, and as people paste it: wrapped.
    let encoded = STANDARD.encode(world.kubeconfig());
    let wrapped = encoded.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>().join("\n");
    job.set("JOBPASS_IDENTITY_KUBECONFIG", wrapped);
    assert_snapshot!(works(&job), @"context `main` of the kubeconfig in `JOBPASS_IDENTITY_KUBECONFIG`");
}

#[test]
fn a_token_in_a_variable_with_its_server() {
    let world = World::new();
    let job = Job::gitlab(&world);
    job.unset("JOBPASS_KUBECONFIG");
    job.set("JOBPASS_IDENTITY_TOKEN", format!("{}\n", world.identity_token()));
    job.set("JOBPASS_SERVER", format!("{}/", world.url()));
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", world.ca_pem());
    assert_snapshot!(works(&job), @"the identity token of `JOBPASS_IDENTITY_TOKEN`");
}

#[test]
fn an_authority_in_base64_and_a_server_without_a_scheme() {
    let world = World::new();
    let job = Job::tekton(&world);
    job.set("JOBPASS_CERTIFICATE_AUTHORITY", STANDARD.encode(world.ca_pem()));
    job.set("JOBPASS_SERVER", world.url().trim_start_matches("https://"));
    assert_snapshot!(works(&job), @"the identity token of `JOBPASS_IDENTITY_TOKEN_FILE`");
}

#[test]
fn a_path_prefix_as_ranchers() {
    let world = World::sandbox("a real API server has none");
    world.on_sandbox().set_path_prefix("/k8s/clusters/c-1");
    let job = Job::gitlab(&world);
    assert!(world.url().ends_with("/k8s/clusters/c-1"));
    doors::write(&job.identity_file(), &world.kubeconfig());
    works(&job);
}

#[test]
fn a_client_certificate() {
    let world = World::sandbox("the harness has no CA of a real cluster");
    let identity = world.on_sandbox().client_identity(&world.user());
    let job = Job::gitlab(&world);
    let user = format!(
        "client-certificate-data: {}\n    client-key-data: {}",
        STANDARD.encode(&identity.certificate_pem),
        STANDARD.encode(&identity.key_pem)
    );
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &user));
    // The probe must not be answered for the certificate: `works` sees the token refused, and the receipt says so too.
    let request = job.request().succeed();
    assert!(!request.transcript().contains("::add-mask::"));
    let revoke = job.revoke().succeed();
    assert!(revoke.said().contains("dead: the API server answers 401"), "{}", revoke.transcript());
    job.assert_nothing_left();
}

#[test]
fn a_token_file_beside_its_kubeconfig() {
    let world = World::new();
    let job = Job::gitlab(&world);
    // A relative path is the kubeconfig's, not the working directory's.
    doors::write(&job.directory().join("token"), &format!("{}\n", world.identity_token()));
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), "tokenFile: token"));
    works(&job);
}

#[test]
fn an_authority_file_beside_its_kubeconfig() {
    let world = World::new();
    let job = Job::gitlab(&world);
    doors::write(&job.directory().join("ca.crt"), &world.ca_pem());
    let data = format!("certificate-authority-data: {}", STANDARD.encode(world.ca_pem()));
    doors::write(&job.identity_file(), &world.kubeconfig().replace(&data, "certificate-authority: ca.crt"));
    works(&job);
}

#[test]
fn a_credential_plugin_runs_once_a_call_and_asks_nobody() {
    let world = World::new();
    let job = Job::gitlab(&world);
    doors::write(&job.directory().join("token"), world.identity_token());
    let script = format!(
        "echo x >>'{0}/runs'\ncat <<EOF\n{{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {{\"token\": \"$(cat '{0}/token')\"}}}}\nEOF",
        job.directory().display()
    );
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), "")));
    works(&job);
    assert_eq!(fs::read_to_string(job.directory().join("runs")).expect("it ran").lines().count(), 2, "once for request, once for revoke");
}

#[test]
fn a_credential_plugin_that_hangs_is_killed() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    let script = format!("echo $$ >'{}/pid'; exec sleep 50", job.directory().display());
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), "")));
    // In which it is started, on any machine.
    let ran = job.request().args(["--timeout", "6s"]).run();
    assert!(!ran.is_success());
    assert_snapshot!(ran.said());
    let pid = fs::read_to_string(job.directory().join("pid")).expect("it ran");
    crate::harness::eventually("it is killed", || !doors::is_running(pid.trim()));
}

#[test]
fn no_credential_plugin_is_started_for_a_server_that_is_none() {
    let world = World::sandbox("nothing is sent");
    let job = Job::gitlab(&world);
    let script = format!("echo x >'{}/runs'", job.directory().display());
    let kubeconfig = replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), ""));
    let named = kubeconfig.replace("    server: ", "    tls-server-name: a b\n    server: ");
    assert_ne!(named, kubeconfig);
    doors::write(&job.identity_file(), &named);
    let ran = job.request().run();
    assert_eq!(ran.end, End::Code(2), "{}", ran.transcript());
    assert!(ran.said().contains("its `tls-server-name` is no name"), "{}", ran.transcript());
    assert!(!job.directory().join("runs").exists(), "{}", ran.transcript());
}

#[test]
fn a_credential_plugin_that_answers_with_a_certificate() {
    let world = World::sandbox("the harness has no CA of a real cluster");
    let identity = world.on_sandbox().client_identity(&world.user());
    let job = Job::gitlab(&world);
    let status = serde_json::json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"clientCertificateData": identity.certificate_pem, "clientKeyData": identity.key_pem},
    });
    doors::write(&job.directory().join("identity.status"), &status.to_string());
    let script = format!("echo x >>'{0}/runs'\ncat '{0}/identity.status'", job.directory().display());
    doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &exec(&plugin(&job, &script), "")));
    works(&job);
    assert_eq!(fs::read_to_string(job.directory().join("runs")).expect("it ran").lines().count(), 2, "once for request, once for revoke");
}

#[test]
fn empty_texts_of_a_kubeconfig_are_unset_ones() {
    let world = World::new();
    let job = Job::gitlab(&world);
    doors::write(&job.directory().join("token"), world.identity_token());
    doors::write(&job.directory().join("ca.crt"), &world.ca_pem());
    let data = format!("certificate-authority-data: {}", STANDARD.encode(world.ca_pem()));
    let text = replace_user(&world.kubeconfig(), "token: \"\"\n    tokenFile: token");
    let text = text.replace(
        &data,
        "certificate-authority-data: \"\"\n    certificate-authority: ca.crt\n    tls-server-name: \"\"\n    proxy-url: \"\"",
    );
    doors::write(&job.identity_file(), &text);
    works(&job);
}

#[test]
fn a_pass_that_kubectl_has_rewritten_is_still_a_pass() {
    let world = World::new();
    let job = Job::local(&world);
    let request = job.request().succeed();
    job.enter(&request);
    let config = job.place().join("kubeconfig");
    // As `kubectl config set-context` leaves it: YAML, with the extension.
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&config).expect("written")).expect("JSON");
    let pass = &json["extensions"][0]["extension"];
    let yaml = format!(
        "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\ncurrent-context: \"\"\nextensions:\n- name: jobpass.dev/pass\n  extension:\n    \
         lease: {}\n    identity:\n      kind: kubeconfig\n      paths: [{}]\n",
        pass["lease"].as_str().expect("the lease"),
        job.identity_file().display()
    );
    fs::remove_file(&config).expect("removed");
    doors::write(&config, &yaml);
    let second = job.request().succeed();
    assert!(asked_as(&second).contains("as `KUBECONFIG` is a pass of jobpass"), "{}", second.transcript());
    job.revoke().arg("--all").succeed();
}

#[test]
fn the_first_of_several_kubeconfigs_wins_and_missing_ones_are_passed_over() {
    let world = World::new();
    let job = Job::local(&world);
    let other = job.directory().join("identity.other");
    doors::write(&other, &world.kubeconfig().replace("main", "other"));
    job.set("KUBECONFIG", format!("/nowhere/kubeconfig:{}:{}", job.identity_file().display(), other.display()));
    let asked = works(&job);
    assert!(asked.contains("context `main`"), "{asked}");
    let request = job.request().args(["--context", "other"]).succeed();
    assert!(asked_as(&request).contains("context `other`"));
    // `revoke` finds the same context again without being told.
    let revoke = job.revoke().succeed();
    assert!(revoke.is_success());
    job.assert_nothing_left();
}

#[test]
fn the_home_directorys_kubeconfig_counts_on_a_plain_shell_only() {
    let world = World::new();
    let job = Job::local(&world);
    job.unset("KUBECONFIG");
    let kube = job.directory().join("home/.kube");
    doors::make_directory(&kube);
    fs::rename(job.identity_file(), kube.join("config")).expect("moved");
    assert_snapshot!(works(&job), @"context `main` of the kubeconfig `JOB/home/.kube/config` (nothing else is set)");
}

#[test]
fn a_pass_is_never_a_ci_identity_but_knows_which_one_requested_it() {
    let world = World::new();
    let job = Job::local(&world);
    let first = job.request().succeed();
    job.enter(&first);
    assert_ne!(job.get("KUBECONFIG"), Some(job.identity_file().to_string_lossy().into_owned()));
    let second = job.request().succeed();
    assert!(asked_as(&second).contains("as `KUBECONFIG` is a pass of jobpass"), "{}", second.transcript());
    job.revoke().arg("--all").succeed();
    job.assert_nothing_left();
}

#[test]
fn a_pass_that_is_named_as_the_identity_is_refused() {
    let world = World::new();
    let job = Job::local(&world);
    let first = job.request().succeed();
    job.enter(&first);
    let pass = job.get("KUBECONFIG").expect("exported");
    let ran = job.request().args(["--kubeconfig", &pass]).run();
    assert_eq!(ran.end, crate::harness::End::Code(2));
    assert_snapshot!(ran.said());
    job.revoke().succeed();
}

#[test]
fn the_service_account_of_a_pod_whose_lease_goes_with_it() {
    // Its namespace is the pod's own, which no policy of ours watches.
    let world = World::unwatched();
    if !doors::is_root() {
        // The mount of a pod stands at a fixed path: only root can put one there for a single process. `.ci/run` is root.
        return;
    }
    let job = Job::tekton(&world);
    let uid = world.add_pod("deploy-run-pod");
    job.set("JOBPASS_POD_UID", &uid);
    let request = job.in_pod(world.identity_token()).args(["request", "-s", &world.account()]).succeed();
    assert!(asked_as(&request).contains("the service account of this pod"), "{}", request.transcript());
    let owner = world.metadata(&job.lease())["ownerReferences"][0].clone();
    let shown = (owner["kind"].as_str(), owner["uid"].as_str(), owner["name"].as_str());
    assert_eq!(shown, (Some("Pod"), Some(uid.as_str()), Some("deploy-run-pod")));
    assert!(owner["blockOwnerDeletion"].is_null());
    let token = job.token();
    // As when the run is cancelled and nobody gets the time to revoke.
    world.delete_pod("deploy-run-pod");
    crate::harness::eventually("the lease is collected", || world.secrets().is_empty());
    world.assert_dies(&token);
    let revoke = job.in_pod(world.identity_token()).arg("revoke").succeed();
    assert!(revoke.said().contains("absent:"), "{}", revoke.transcript());
    assert!(job.places().is_empty());
}

#[test]
fn a_pod_that_is_not_there_is_named_when_its_lease_is_collected() {
    let world = World::unwatched();
    if !doors::is_root() {
        return;
    }
    let job = Job::tekton(&world);
    // A uid that was copied from somewhere else.
    let ran = job.in_pod(world.identity_token()).args(["request", "-s", &world.account()]).run();
    // The collector needs a moment; until then the token is granted, and dies with the lease.
    if ran.is_success() {
        let token = job.token();
        crate::harness::eventually("the lease is collected", || world.secrets().is_empty());
        world.assert_dies(&token);
        job.in_pod(world.identity_token()).arg("revoke").succeed();
    } else {
        assert!(ran.said().contains("`JOBPASS_POD_UID` are not this pod's"), "{}", ran.transcript());
    }
    job.assert_nothing_left();
}

#[test]
fn in_a_pod_a_whole_job_needs_no_setting_but_the_service_account() {
    let world = World::new();
    if !doors::is_root() {
        return;
    }
    let job = Job::tekton(&world);
    let command = job.in_pod(world.identity_token()).args(["run", "-s", &world.account(), "--", "sh", "-c"]);
    let run = command.arg("grep -c tokenFile \"$KUBECONFIG\"").succeed();
    assert_eq!(run.stdout, "1\n");
    job.assert_nothing_left();
}

/// A kubeconfig whose server has an address that leads to this machine and is not known as its own: those are never asked by a proxy.
pub(crate) fn elsewhere(kubeconfig: &str) -> String {
    kubeconfig.replace("    server: https://127.0.0.1:", "    tls-server-name: 127.0.0.1\n    server: https://0.0.0.0:")
}

/// A proxy that takes CONNECT for one address, and remembers what it was asked.
pub(crate) struct Proxy {
    pub(crate) address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that does what it says.
    pub(crate) fn new(world: &World) -> Self {
        Self::astray(world, world)
    }

    /// One that takes connections for one world to another.
    pub(crate) fn astray(world: &World, to: &World) -> Self {
        let [asked, to] = [world, to].map(|world| world.url().trim_start_matches("https://").to_owned());
        let asked = [asked.replace("127.0.0.1", "0.0.0.0"), asked];
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let heads = Arc::default();
        let heard = Arc::clone(&heads);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (asked, to, heard) = (asked.clone(), to.clone(), Arc::clone(&heard));
                std::thread::spawn(move || tunnel(client, &asked, &to, &heard));
            }
        });
        Self { address, heads }
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no test has panicked here").clone()
    }
}

fn tunnel(mut client: TcpStream, asked: &[String], to: &str, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_exact(&mut byte).is_err() {
            return;
        }
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(asked.iter().any(|asked| head.starts_with(&format!("CONNECT {asked} "))), "{head}");
    assert!(!head.contains("Bearer"), "the proxy must not see the credential");
    heads.lock().expect("no test has panicked here").push(head);
    let Ok(mut server) = doors::dial(to) else { return };
    if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
        return;
    }
    let (Ok(mut client_too), Ok(mut server_too)) = (client.try_clone(), server.try_clone()) else { return };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut server_too, &mut client_too);
        let _ = client_too.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Both);
}

#[test]
fn a_proxy_of_the_environment_is_used_by_every_connection() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let proxy = Proxy::new(&world);
    let address = &proxy.address;
    job.set("HTTPS_PROXY", format!("http://{address}"));
    works(&job);
    assert_eq!(proxy.heads().len(), 0, "this machine is reached without one");
    doors::write(&job.identity_file(), &elsewhere(&world.kubeconfig()));
    works(&job);
    assert_eq!(proxy.heads().len(), 3, "request, revoke and its probe");
    // Empty parts and other oddities are passed over, as curl and Go do it.
    let port = world.url().rsplit_once(':').expect("a port").1.to_owned();
    for none in ["localhost,,0.0.0.0/8,", &format!("0.0.0.0:{port}"), "other.example.com,*"] {
        job.set("NO_PROXY", none);
        works(&job);
        assert_eq!(proxy.heads().len(), 3, "NO_PROXY names the server: {none}");
    }
}

#[test]
fn a_proxy_of_the_kubeconfig_is_the_passs_too() {
    let world = World::new();
    let job = Job::gitlab(&world);
    let proxy = Proxy::new(&world);
    let address = &proxy.address;
    let line = format!("    server: {}\n", world.url());
    doors::write(&job.identity_file(), &world.kubeconfig().replace(&line, &format!("{line}    proxy-url: http://{address}\n")));
    let request = job.request().succeed();
    let config = fs::read_to_string(job.place().join("kubeconfig")).expect("written");
    assert!(config.contains(&format!("http://{address}")), "kubectl must go the same way");
    assert!(request.is_success());
    job.revoke().succeed();
    assert_eq!(proxy.heads().len(), 3);
}
