//! The variables of a job: settings, platform and what is asked for are found or refused as a mistake of the call, and no value of them
//! is repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use jobpass::{
    context::Context,
    env::Env,
    failure::{Exit, Failure},
    lease::{
        Lease,
        object::{self, Maker},
    },
    options::{self as o, Flags, Options},
    platform::Platform,
    spec::{TokenSpec, is_label, is_subdomain},
};

use crate::{
    harmless::{SENTINEL, assert_harmless},
    lease::sealed,
};

/// The platforms' own variables that are read.
const OTHERS: &str = "CI GITHUB_ACTIONS GITHUB_WORKSPACE RUNNER_TEMP GITHUB_SERVER_URL GITHUB_REPOSITORY GITHUB_RUN_ID \
    GITHUB_RUN_ATTEMPT GITHUB_JOB GITHUB_SHA GITHUB_ACTOR GITLAB_CI CI_PROJECT_DIR RUNNER_TEMP_PROJECT_DIR CI_JOB_TIMEOUT CI_JOB_TOKEN \
    CI_SERVER_HOST CI_PROJECT_ID CI_JOB_ID CI_PROJECT_PATH CI_JOB_URL CI_COMMIT_SHA GITLAB_USER_LOGIN JOBPASS_POD_NAME JOBPASS_POD_UID \
    XDG_RUNTIME_DIR TMPDIR HOME BUILD_ID";

/// The first byte says which value holds what nobody may see. Then follow variables, separated by a zero byte: `NAME=VALUE`, or a byte
/// that chooses the name of one that is read.
pub(crate) fn run(data: &[u8]) {
    let [marked, data @ ..] = data else { return };
    let mut known: Vec<String> = o::ALL.iter().map(|setting| setting.variable()).collect();
    known.extend(OTHERS.split_ascii_whitespace().map(str::to_owned));
    let mut variables = BTreeMap::new();
    for piece in data.split(|byte| *byte == 0) {
        let Ok(text) = std::str::from_utf8(piece) else { continue };
        match (text.split_once('='), piece) {
            (Some((name, value)), _) if known.iter().any(|known| known == name) => {
                drop(variables.insert(name.to_owned(), value.to_owned()));
            }
            (_, [at, ..]) if at.is_ascii() => {
                drop(variables.insert(known[usize::from(*at) % known.len()].clone(), text[1..].to_owned()));
            }
            _ => {}
        }
    }
    let at = usize::from(*marked) % (variables.len() + 1);
    if let Some(value) = variables.values_mut().nth(at) {
        value.push_str(SENTINEL);
    }
    let env: Env = variables.iter().collect();
    // As for a verb that takes every setting as a flag, and got none.
    let flags: Flags = o::ALL.iter().map(|setting| (setting.name.to_owned(), None)).collect();
    match asked(&flags, env) {
        Ok((context, specs)) => specs.iter().for_each(|spec| assert_sound(spec, &context)),
        Err(failure) => {
            assert_eq!(failure.exit(), Exit::Usage, "{failure}");
            assert_harmless(&failure.to_string());
        }
    }
}

fn asked(flags: &Flags, env: Env) -> Result<(Context, [TokenSpec; 2]), Failure> {
    let options = Options::resolve(flags, &env)?;
    let platform = Platform::detect(&options, &env, || false)?;
    let context = Context::on(platform, options, env);
    let spec = TokenSpec::of(&context)?;
    let renewable = spec.clone().renewable(&context)?;
    context.base.clone()?;
    assert!(context.job_key.clone()?.is_none_or(|key| !key.is_empty()), "nothing names the job");
    Ok((context, [spec, renewable]))
}

/// What reaches the API server, a shell or a runner is of a form that each of them takes as it is meant.
fn assert_sound(spec: &TokenSpec, context: &Context) {
    let TokenSpec { service_account, ttl, lifetime, audiences, variable, kubeconfig_out, target_namespace, file_mode, .. } = spec;
    assert!(is_label(&service_account.namespace) && is_subdomain(&service_account.name) && is_label(target_namespace), "{spec:?}");
    assert!(Duration::from_mins(10) <= *ttl && *ttl <= Duration::from_hours(24) && ttl.as_secs() != 3607, "{ttl:?}");
    assert!(lifetime.is_none_or(|lifetime| *ttl <= lifetime && lifetime <= Duration::from_hours(168)), "{lifetime:?}");
    assert!([0o600, 0o400, 0o640, 0o440].contains(file_mode), "{file_mode:o}");
    assert!(audiences.iter().all(|audience| !audience.is_empty() && !audience.contains(char::is_whitespace)), "{audiences:?}");
    if let Some(name) = variable {
        let upper = name.to_ascii_uppercase();
        let is_word =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.starts_with(|c: char| c.is_ascii_digit());
        let names: BTreeSet<_> = "PATH HOME KUBECONFIG IFS PS4 ENV NODE_OPTIONS UID RANDOM _".split(' ').collect();
        let families = ["LD_", "GITHUB_", "CI_", "JOBPASS_", "RUNNER_", "INPUT_", "STATE_", "BASH", "DYLD_"];
        assert!(is_word && !name.is_empty(), "{name:?} is no name");
        assert!(!names.contains(upper.as_str()) && !families.iter().any(|family| upper.starts_with(family)), "{name} is somebody's");
    }
    if let (Some(path), Some(workspace)) = (kubeconfig_out, &context.workspace) {
        assert!(!is_below(path, workspace), "{} is in {}", path.display(), workspace.display());
    }
    let object = object::secret(&Lease::parse(&sealed()).expect("a lease"), spec, context, &Maker::default()).metadata;
    let (labels, annotations) = (object.labels.unwrap_or_default(), object.annotations.unwrap_or_default());
    for (name, value) in &labels {
        let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let ends = [value.as_bytes().first(), value.as_bytes().last()].into_iter().all(is_end);
        assert!(value.len() <= 63 && is_plain && ends, "{name} is {value:?}");
    }
    let size: usize = labels.iter().chain(&annotations).map(|(name, value)| name.len() + value.len()).sum();
    assert!(size <= 16_000, "the policies of deploy/ would refuse so much: {size}");
    assert!(!annotations.values().any(|value| value.contains(char::is_control)), "{annotations:?}");
}

/// Whether a path leads below a directory as it is written.
fn is_below(path: &std::path::Path, directory: &std::path::Path) -> bool {
    let plain = |path: &std::path::Path| {
        path.components().fold(PathBuf::new(), |mut plain, part| {
            if part.as_os_str() == ".." {
                plain.pop();
            } else {
                plain.push(part);
            }
            plain
        })
    };
    plain(path).starts_with(plain(directory))
}
