//! What the suites of the platforms share: the tools, a pod in the cluster, and what was asked.
#![expect(clippy::disallowed_methods, reason = "a variable names the directory of the tools")]

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{World, doors};

/// The directory that `tests/platforms/tools` has filled, with these in it.
pub(crate) fn tools(needed: &[&str]) -> PathBuf {
    let directory = env::var_os("JOBPASS_TEST_TOOLS").filter(|path| !path.is_empty()).map(PathBuf::from);
    let directory = directory.expect("JOBPASS_TEST_TOOLS names the directory target/tools/bin, which tests/platforms/tools makes");
    for tool in needed {
        assert!(directory.join(tool).exists(), "there is no {tool} in JOBPASS_TEST_TOOLS: run tests/platforms/tools");
    }
    directory
}

/// The search path of this machine.
pub(crate) fn machine() -> String {
    env::var("PATH").expect("a machine has a PATH")
}

/// jobpass's requests in their order, with words for names; not what it may do, which it asks after a refusal.
pub(crate) fn requests(world: &World) -> Vec<String> {
    let shorter = |line: String| line.replace("/api/v1/namespaces/NS/", "").replace("/apis/authentication.k8s.io/v1/", "");
    world.requests().iter().filter(|line| !line.contains("selfsubjectrulesreviews")).map(|line| shorter(world.plain(line))).collect()
}

/// A command that runs what is added to it as in a pod of the CI identity, and the variables of such a pod.
///
/// None where only root could play it: the mount of a pod stands at a fixed path. `.ci/run` is root.
pub(crate) fn pod(world: &World, directory: &Path) -> Option<(Command, [(&'static str, String); 2])> {
    pod_of(directory, [("token", world.identity_token()), ("ca.crt", &world.ca_pem()), ("namespace", world.home())], &world.url())
}

/// The same for any pod, with what is mounted in it.
pub(crate) fn pod_of(directory: &Path, mounted: [(&str, &str); 3], url: &str) -> Option<(Command, [(&'static str, String); 2])> {
    if !doors::is_root() {
        return None;
    }
    doors::make_directory(directory);
    for (name, text) in mounted {
        doors::write(&directory.join(name), text);
    }
    let script = "mount -t tmpfs pod /run && mkdir -p /run/secrets/kubernetes.io && cp -r \"$1\" /run/secrets/kubernetes.io/serviceaccount && \
                  shift && exec \"$@\"";
    let mut pod = doors::program("unshare");
    pod.args(["--mount", "sh", "-c", script, "sh"]).arg(directory);
    let (host, port) = url.trim_start_matches("https://").split_once(':').expect("a port");
    Some((pod, [("KUBERNETES_SERVICE_HOST", host.to_owned()), ("KUBERNETES_SERVICE_PORT", port.to_owned())]))
}
