//! The variables that the command does not get: they hold a Kubernetes or OpenShift credential, or name a file that holds one.

use std::{collections::BTreeMap, path::PathBuf};

use jobpass_scrub::Patterns;

use crate::{
    context::Context,
    env::Env,
    failure::{Code, Failure},
    handover,
    identity::held::{self, Held},
    options::{self as o, Options, Setting},
    secret::Secret,
};

/// In bytes: a longer value is not taken for a list of paths.
const LONGEST: usize = 32 * 1024;

/// What is removed from the command's environment, and hidden in its output.
pub(super) struct Hidden {
    /// Names of the variables that are removed.
    pub(super) names: Vec<String>,
    /// Those of `names` that no setting names; they are told in the log.
    pub(super) told: Vec<String>,
    /// The credentials in all of them, and in those that `--keep` leaves to the command.
    pub(super) secrets: Vec<Held>,
}

impl Hidden {
    /// Looks for credentials in every variable of the environment.
    ///
    /// # Errors
    /// When `--hide` or `--keep` names a variable that the command gets from its pass, or both name the same one.
    pub(super) fn of(context: &Context) -> Result<Self, Failure> {
        let Context { options, env, .. } = context;
        let (asked, kept) = (options.list(&o::HIDE), options.list(&o::KEEP));
        for (setting, name) in asked.iter().map(|name| (&o::HIDE, name)).chain(kept.iter().map(|name| (&o::KEEP, name))) {
            is_free(setting, name, options)?;
        }
        if let Some(name) = asked.iter().find(|name| kept.contains(name)) {
            return Err(
                Failure::new(Code::UsageConflict, format!("`{name}` is to be hidden and kept")).hint("leave out `--hide` or `--keep`")
            );
        }
        let is_kept = |name: &String| kept.contains(&name.as_str());
        let ours = of_identity(env);
        let mut hidden = Self { names: asked.into_iter().map(str::to_owned).collect(), told: Vec::new(), secrets: Vec::new() };
        let mut files = BTreeMap::new();
        for name in env.names("") {
            let Some(held) = env.secret(&name).and_then(|value| of_value(&value, env, &mut files)) else { continue };
            hidden.secrets.extend(held);
            let is_known = ours.contains(&name) || hidden.names.contains(&name) || is_of_pass(&name, options);
            if !is_known && !is_kept(&name) {
                hidden.told.push(name);
            }
        }
        hidden.names.extend(ours.into_iter().filter(|name| !is_kept(name)));
        hidden.names.extend(hidden.told.iter().cloned());
        Ok(hidden)
    }

    /// Adds the credentials to the patterns that are hidden in the output.
    pub(super) fn add_to(held: &[Held], patterns: &mut Patterns) {
        for secret in held {
            match secret {
                Held::Token(token) => patterns.token(token.expose()),
                // A value below 8 bytes is refused and stays visible, as it would be found in ordinary text: such as the last line
                // of a key.
                Held::Value(value) => drop(patterns.value(value.expose())),
            }
        }
    }
}

/// Refuses to hide or keep a variable that the pass sets: the command would get the value of the pass in any case.
fn is_free(setting: &Setting, name: &str, options: &Options) -> Result<(), Failure> {
    if !is_of_pass(name, options) {
        return Ok(());
    }
    let is_token = is_token(name, options);
    let source = options.get(setting).map(|given| given.source.to_string()).unwrap_or_default();
    Err(Failure::new(Code::UsageConflict, format!("{source} names `{name}`, which the command gets from its pass")).hint(if is_token {
        "leave `--variable` out: then the token is only in files"
    } else {
        "leave it out: what the job itself has there does not reach the command"
    }))
}

/// Whether the command gets this variable from its pass.
fn is_of_pass(name: &str, options: &Options) -> bool {
    let is_one_of = |variables: &[(&str, &str)]| variables.iter().any(|(variable, _)| *variable == name);
    is_token(name, options)
        || is_one_of(&handover::VARIABLES)
        || options.get(&o::REGISTRY_AUTH).is_some() && is_one_of(&handover::OF_REGISTRY)
}

/// Whether it is the variable that gets the token.
fn is_token(name: &str, options: &Options) -> bool {
    options.chosen(&o::VARIABLE).is_some_and(|given| given.text == name)
}

/// Names of the variables from which jobpass itself reads the CI identity.
fn of_identity(env: &Env) -> Vec<String> {
    let settings = [
        &o::IDENTITY_TOKEN,
        &o::IDENTITY_TOKEN_FILE,
        &o::IDENTITY_KUBECONFIG,
        &o::KUBECONFIG,
        &o::IDENTITY_ID_TOKEN,
        &o::IDENTITY_PASSWORD,
        &o::IDENTITY_PASSWORD_FILE,
    ];
    let names = settings.into_iter().flat_map(|setting| [setting.variable(), setting.input()]);
    names.chain(env.names("JOBPASS_IDENTITY_")).collect()
}

/// The credentials in a value, or in the files that it names; none if there are no such.
fn of_value(value: &Secret, env: &Env, files: &mut BTreeMap<PathBuf, Option<Vec<Held>>>) -> Option<Vec<Held>> {
    let held = held::of_text(value.expose(), &env.absolute("".as_ref()));
    if held.is_some() || value.size() > LONGEST {
        return held;
    }
    // The paths in a value: the whole of it, as a path may have any character in it; a list with colons, as in `KUBECONFIG`; or the
    // parts of any other list or of a tool's flags.
    let whole = value.expose().trim();
    let parts = whole.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '=' | '"' | '\''));
    let paths = [whole].into_iter().chain(whole.split(':')).chain(parts).filter(|part| !part.is_empty());
    let mut found = None;
    for path in paths {
        let held = files.entry(env.absolute(path.as_ref())).or_insert_with_key(|path| held::of_file(path));
        if let Some(held) = held {
            found.get_or_insert_with(Vec::new).append(&mut held.clone());
        }
    }
    found
}
