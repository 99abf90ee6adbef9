//! Hands a pass to the job: masks first, then files, variables last. `ForRunner` does it for a CI runner, `ForCommand` for `run`.

use std::path::{Path, PathBuf};

use serde::Serializer as _;

use crate::{
    context::Context,
    failure::Failure,
    files::{self, Accepts},
    name,
    out::{API_VERSION, Out, instant, one_line},
    pass::Pass,
    pass_curl,
    pass_extension::PassExtension,
    pass_kubeconfig::{self, Gives},
    platform::{
        Platform,
        github::{self, FileCommand},
    },
    receipt::Receipt,
    registry_auth,
    spec::{KubeconfigMode, Registry, TokenSpec},
    store,
};

pub mod command;
pub mod marks;
pub mod others;
pub mod runner;

pub use command::ForCommand;
pub use others::ForOthers;
pub use runner::ForRunner;

/// The variables that a job gets besides the token, each with the name of the output that has the same value.
pub const VARIABLES: [(&str, &str); 9] = [
    ("KUBECONFIG", "kubeconfig"),
    // The same for Terraform's providers, which do not read the other one:
    // https://github.com/hashicorp/terraform-provider-kubernetes/blob/main/docs/index.md
    ("KUBE_CONFIG_PATH", "kubeconfig"),
    ("JOBPASS_TOKEN_FILE", "token-file"),
    ("JOBPASS_PASS_CA_FILE", "ca-file"),
    ("JOBPASS_CURL", "curl-config"),
    ("JOBPASS_EXPIRES_AT", "expires-at"),
    ("JOBPASS_LEASE", "lease"),
    ("JOBPASS_PASS_SERVER", "server"),
    ("JOBPASS_PASS_NAMESPACE", "namespace"),
];

/// Those that it gets besides where a docker configuration is written.
pub const OF_REGISTRY: [(&str, &str); 2] = [("DOCKER_CONFIG", "docker-config"), ("REGISTRY_AUTH_FILE", "registry-auth-file")];

/// Our own program, where it is found by `PATH`.
const JOBPASS: &str = "jobpass";

/// Writes the files of the pass, for this job: the token and the kubeconfig.
fn write(context: &Context, pass: &Pass, spec: &TokenSpec) -> Result<Outputs, Failure> {
    let program = context.env.program().unwrap_or(JOBPASS.as_ref());
    // Absolute paths, even where the platform has named a relative directory: the command may change its working directory.
    write_for(pass, spec, |name| context.env.absolute(&pass.store.file(name)), program)
}

/// Writes the files of the pass for somebody who knows them by these paths, and jobpass by this program.
fn write_for(pass: &Pass, spec: &TokenSpec, path: impl Fn(&str) -> PathBuf, program: &Path) -> Result<Outputs, Failure> {
    let (lease, identity) = (&pass.lease, pass.cluster.identity());
    let (token_file, curl) = (path(store::TOKEN), path(store::CURL));
    pass.store.write(store::TOKEN, pass.token.expose().as_bytes(), spec.file_mode)?;
    let authority = identity.authority_pem().map(|pem| pass.store.write(store::AUTHORITY, &pem, spec.file_mode));
    let authority = authority.transpose()?.map(|()| path(store::AUTHORITY));
    let text = pass_curl::render(identity, &pass.token, authority.as_deref());
    pass.store.write(store::CURL, text.expose().as_bytes(), spec.file_mode)?;
    let gives = match spec.kubeconfig_mode {
        KubeconfigMode::Token => Gives::Token(&pass.token),
        KubeconfigMode::Exec => Gives::Exec(program),
    };
    let text = || pass_kubeconfig::render(identity, lease, gives, &token_file, &spec.target_namespace);
    let config = match (&spec.kubeconfig_out, spec.kubeconfig) {
        (_, false) => None,
        (None, true) => {
            pass.store.write(store::KUBECONFIG, text().expose().as_bytes(), spec.file_mode)?;
            Some(path(store::KUBECONFIG))
        }
        (Some(path), true) => {
            files::write_user_file(path, text().expose().as_bytes(), spec.file_mode, |text| PassExtension::of_text(text).is_some())?;
            Some(path.clone())
        }
    };
    if let Some(Registry { path, hosts }) = &spec.registry {
        let text = registry_auth::render(hosts, &pass.token);
        files::write_user_file(path, text.expose().as_bytes(), spec.file_mode, registry_auth::is_of_passes)?;
    }
    let files = [("token-file", Some(token_file)), ("kubeconfig", config), ("ca-file", authority), ("curl-config", Some(curl))];
    Ok(Outputs::of(pass, spec, files))
}

/// The line for the log that says what the job has now, and the warnings.
fn announcement(pass: &Pass) -> String {
    let lease = &pass.lease;
    let last = lease.ends().filter(|last| *last > pass.expires_at);
    let more = last.map(|last| format!(", renewed until {last}")).unwrap_or_default();
    let until = format!("until {}{more}", pass.expires_at);
    let (account, short, why) = (&lease.service_account, name::short(&lease.name), one_line(&pass.cluster.identity().why));
    let text = format!("pass for service account `{account}` {until}, lease `{short}`, asked as {why}");
    pass.warnings.iter().fold(text, |text, warning| text + "\nwarning: " + warning)
}

/// Adds a table with the end of a pass to GitHub's job summary.
pub fn summarise(context: &Context, receipt: &Receipt, out: &Out) {
    let rows = [
        ("service account", receipt.service_account.clone()),
        ("lease", receipt.lease.clone()),
        ("revoked at", instant(receipt.revoked_at)),
        ("proof", receipt.proof.to_string()),
    ];
    summary(context, "jobpass: the pass is over", &rows, out);
}

/// Adds a table to GitHub's job summary. Only people read it, so a failure is just a warning.
fn summary(context: &Context, title: &str, rows: &[(&str, String)], out: &Out) {
    if context.platform != Platform::Github {
        return;
    }
    let Some(path) = context.env.path(FileCommand::Summary.variable()) else { return };
    if let Err(failure) = files::append(&path, &github::summary(title, rows), Accepts::Stream) {
        out.warn(failure.brief());
    }
}

/// The outputs of a pass, without the token.
struct Outputs {
    plain: Vec<(&'static str, String)>,
}

impl Outputs {
    fn of(pass: &Pass, spec: &TokenSpec, files: [(&'static str, Option<PathBuf>); 4]) -> Self {
        let lease = &pass.lease;
        let mut plain = vec![
            // The expiry of the token itself, not of the lease: a token in a variable is not renewed.
            ("expires-at", pass.expires_at.to_string()),
            ("server", lease.server.clone()),
            ("namespace", spec.target_namespace.clone()),
            ("service-account", lease.service_account.to_string()),
            ("lease", lease.id()),
            ("jti", lease.jti.clone().unwrap_or_default()),
        ];
        plain.extend(files.into_iter().filter_map(|(name, path)| Some((name, path?.to_string_lossy().into_owned()))));
        if let Some(path) = spec.registry.as_ref().map(|registry| &registry.path) {
            let directory = path.parent().unwrap_or(path);
            plain.extend(
                [("docker-config", directory), ("registry-auth-file", path)]
                    .map(|(name, path)| (name, path.to_string_lossy().into_owned())),
            );
        }
        Self { plain }
    }

    fn get(&self, name: &str) -> String {
        self.plain.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The variables that the job gets besides the token; those without a value are left out.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let all = VARIABLES.into_iter().chain(OF_REGISTRY);
        all.map(|(variable, output)| (variable, self.get(output))).filter(|(_, value)| !value.is_empty()).collect()
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        ["service-account", "server", "expires-at", "lease"].into_iter().map(|name| (name, self.get(name))).collect()
    }

    fn json(&self, env_file: Option<&str>) -> String {
        let head = [("api-version", API_VERSION), ("kind", "Pass")];
        let body = self.plain.iter().map(|(name, value)| (*name, value.as_str()));
        let all = head.into_iter().chain(body).chain(env_file.map(|path| ("env-file", path)));
        // Written by hand in this order, which a map of `serde_json` would not keep.
        let mut text = Vec::new();
        let written = serde_json::Serializer::new(&mut text).collect_map(all.map(|(name, value)| (camel(name), value)));
        written.ok().and_then(|()| String::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// The JSON form of a name: `token-file` becomes `tokenFile`.
fn camel(name: &str) -> String {
    let mut parts = name.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &part[..1].to_uppercase() + &part[1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ALL;

    #[test]
    fn names_in_json_are_in_camel_case() {
        assert_eq!(camel("service-account"), "serviceAccount");
        assert_eq!(camel("jti"), "jti");
    }

    #[test]
    fn no_variable_that_we_export_is_a_setting_of_ours() {
        let outputs = Outputs { plain: VARIABLES.map(|(_, output)| (output, "x".to_owned())).to_vec() };
        let exported: Vec<_> = outputs.variables().into_iter().map(|(name, _)| name).collect();
        assert_eq!(exported.len(), VARIABLES.len());
        let read: Vec<_> = ALL.iter().map(|setting| setting.variable()).filter(|name| exported.contains(&name.as_str())).collect();
        assert_eq!(read, ["JOBPASS_LEASE"], "a nested jobpass must not take the outer pass's target");
    }
}
