//! Hands a pass to the job: mask first, then files, variables last.

use std::{ffi::OsString, path::PathBuf};

use serde_json::json;

use crate::{
    action::Phase,
    env::Env,
    failure::Failure,
    identity::kubeconfig::{marked, pass_of},
    jwt::Claims,
    kubeconfig,
    lease::{API_VERSION, Lease},
    name::random_hex,
    out::{Out, instant},
    pass::Pass,
    place::{self, Accepts},
    platform::{
        Platform,
        github::{self, FileCommand},
        gitlab, mask, shell,
    },
    processes,
    receipt::Receipt,
    secret::Secret,
    spec::TokenSpec,
};

/// The variables that a job gets besides the token, each with the output whose value it has.
pub const VARIABLES: [(&str, &str); 6] = [
    ("KUBECONFIG", "kubeconfig"),
    ("JOBPASS_TOKEN_FILE", "token-file"),
    ("JOBPASS_EXPIRES_AT", "expires-at"),
    ("JOBPASS_LEASE", "lease"),
    ("JOBPASS_PASS_SERVER", "server"),
    ("JOBPASS_PASS_NAMESPACE", "namespace"),
];

/// The way from a pass to the job.
pub struct Export<'a> {
    /// The platform.
    pub platform: Platform,
    /// The environment.
    pub env: &'a Env,
    /// The way out.
    pub out: &'a Out,
    /// The step of our action that its shim has started us for.
    pub phase: Option<Phase>,
    /// Whether stdout is JSON.
    pub json: bool,
}

impl Export<'_> {
    /// Refuses what could only fail once a token exists: the files by which the runner takes our answers.
    ///
    /// # Errors
    /// When one of them is not named or cannot be written.
    pub fn check(&self) -> Result<(), Failure> {
        if self.platform != Platform::Github {
            return Ok(());
        }
        if !self.out.is_heard() {
            return Err(Failure::usage("stderr is a file, so that the runner would not hear what it is to mask")
                .hint("leave stderr to the runner: `. \"$(jobpass request)\"` takes stdout only"));
        }
        for command in [FileCommand::State, FileCommand::Output, FileCommand::Env] {
            let path = self.file(command)?;
            place::check_append(&path, Accepts::File).map_err(|failure| {
                let what = format!("cannot use the file that `{}` names", command.variable());
                failure.within(what).hint("run it in a step of a job: the runner makes these files")
            })?;
        }
        Ok(())
    }

    /// Saves the lease where the platform keeps state, if it keeps any.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, lease: &Lease) -> Result<(), Failure> {
        match self.platform {
            Platform::Github => place::append(&self.file(FileCommand::State)?, &github::state(lease), Accepts::File),
            Platform::Gitlab | Platform::Tekton | Platform::Local => Ok(()),
        }
    }

    /// Takes back what was saved of a pass that did not come to be: the runner gives the last record to our post step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget(&self) -> Result<(), Failure> {
        match self.platform {
            Platform::Github => place::append(&self.file(FileCommand::State)?, github::NO_STATE, Accepts::File),
            Platform::Gitlab | Platform::Tekton | Platform::Local => Ok(()),
        }
    }

    /// Masks every form of a secret, as far as the platform can, and hides it from our own talk.
    ///
    /// # Errors
    /// When the mask cannot be written: then the token must not go on.
    pub fn mask(&self, secret: &Secret) -> Result<(), Failure> {
        let forms = mask::forms(secret);
        for form in &forms {
            self.out.hide(form);
        }
        if !self.masks() {
            return Ok(());
        }
        forms.iter().try_for_each(|form| self.out.command(github::mask_command(form).expose()))
    }

    /// Whether the platform hides a value when it is told to.
    fn masks(&self) -> bool {
        match self.platform {
            Platform::Github => true,
            // Where the runner does not listen, or our talk goes to a file, the command itself would publish the token.
            Platform::Gitlab => {
                gitlab::masking_database(self.env).is_some_and(|path| path.is_file())
                    && processes::is_below(gitlab::listens)
                    && self.out.is_piped()
            }
            Platform::Tekton | Platform::Local => false,
        }
    }

    /// Writes the files of the pass, and then hands them over.
    ///
    /// # Errors
    /// When something cannot be written; then the caller ends the pass.
    pub fn hand_over(&self, pass: &Pass, spec: &TokenSpec) -> Result<(), Failure> {
        self.mask(&pass.token)?;
        let outputs = self.write(pass, spec)?;
        self.warn_of_another(spec, &pass.lease);
        match self.platform {
            Platform::Github => self.to_runner(pass, spec, &outputs),
            Platform::Gitlab | Platform::Tekton | Platform::Local => self.to_shell(pass, spec, &outputs),
        }
    }

    /// Writes the files of the pass for a command of ours, and says which variables it gets. No platform learns of them.
    ///
    /// # Errors
    /// When something cannot be written; then the caller ends the pass.
    pub fn to_command(&self, pass: &Pass, spec: &TokenSpec) -> Result<Vec<(String, OsString)>, Failure> {
        for form in mask::forms(&pass.token) {
            self.out.hide(&form);
        }
        let outputs = self.write(pass, spec)?;
        let token = spec.variable.clone().map(|name| (name, pass.token.expose().into()));
        let others = outputs.variables().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        Ok(token.into_iter().chain(others).collect())
    }

    /// Writes the token and the kubeconfig.
    fn write(&self, pass: &Pass, spec: &TokenSpec) -> Result<Outputs, Failure> {
        let lease = &pass.lease;
        pass.place.write(place::TOKEN, pass.token.expose().as_bytes(), spec.file_mode)?;
        // Whatever the platform has named: the command may work in any directory.
        let path = |name| self.env.absolute(&pass.place.file(name));
        let token_file = path(place::TOKEN);
        let text = || kubeconfig::render(pass.cluster.identity(), lease, &pass.token, &token_file, &spec.target_namespace);
        let config = match (&spec.kubeconfig_out, spec.kubeconfig) {
            (_, false) => None,
            (None, true) => {
                pass.place.write(place::KUBECONFIG, text().expose().as_bytes(), spec.file_mode)?;
                Some(path(place::KUBECONFIG))
            }
            (Some(path), true) => {
                place::write_named(path, text().expose().as_bytes(), spec.file_mode, |text| marked(text).is_some())?;
                Some(path.clone())
            }
        };
        Ok(Outputs::of(pass, spec, &token_file, config.as_ref()))
    }

    /// GitHub: by the runner's files, the variables last.
    fn to_runner(&self, pass: &Pass, spec: &TokenSpec, outputs: &Outputs) -> Result<(), Failure> {
        let random = random_hex();
        let mut records = String::new();
        for (name, value) in &outputs.plain {
            records += &github::record(name, value, &random)?;
        }
        let token = Secret::new(github::record("token", pass.token.expose(), &random)?);
        place::append(&self.file(FileCommand::Output)?, &(records + token.expose()), Accepts::File)?;
        self.summary("jobpass: a pass for this job", &outputs.rows());
        self.say(pass);
        // For the rest of this step. The shim has no shell that could source it.
        let env_file = self.phase.is_none().then(|| self.env_file(pass, spec, &outputs.variables())).transpose()?;
        match &env_file {
            Some(path) => self.answer(outputs, path)?,
            None if self.json => self.out.data(&outputs.json(None))?,
            None => {}
        }
        let mut variables = String::new();
        if let Some(name) = &spec.variable {
            variables += &github::record(name, pass.token.expose(), &random)?;
        }
        for (name, value) in outputs.variables() {
            variables += &github::record(name, &value, &random)?;
        }
        place::append(&self.file(FileCommand::Env)?, Secret::new(variables).expose(), Accepts::File)?;
        self.confirm(&pass.lease)
    }

    /// Saves the lease once more, after everything else, and looks whether the runner will give it to our post step: a process that an
    /// earlier step has left behind may write to that file, too.
    fn confirm(&self, lease: &Lease) -> Result<(), Failure> {
        self.save(lease)?;
        let state = self.file(FileCommand::State)?;
        let text = place::read_named(&state).map_err(|error| Failure::new(format!("cannot read `{}`", state.display())).chain(&error))?;
        if github::state_of(&text).as_deref() == Some(&*lease.json()) {
            return Ok(());
        }
        Err(Failure::new("another process has changed what the runner keeps for the post step, which would not end this pass")
            .hint("find out which step before this one has left a process running"))
    }

    /// A shell: by a file that it sources, whose path is all that stdout carries.
    fn to_shell(&self, pass: &Pass, spec: &TokenSpec, outputs: &Outputs) -> Result<(), Failure> {
        let mut variables = outputs.variables();
        let traced = self.is_traced();
        if traced {
            // The trace shows every command with its expanded variables, and nothing masks ours.
            variables.retain(|(name, _)| *name == "KUBECONFIG");
        }
        let env_file = self.env_file(pass, spec, &variables)?;
        self.say(pass);
        if traced {
            self.out.warn("`CI_DEBUG_TRACE` is on: no variable is exported but KUBECONFIG, as the log would show them");
        }
        self.answer(outputs, &env_file)
    }

    /// Writes what a shell sources, and says where it is.
    fn env_file(&self, pass: &Pass, spec: &TokenSpec, variables: &[(&str, String)]) -> Result<String, Failure> {
        let token_file = pass.place.file(place::TOKEN);
        let token = spec.variable.as_deref().filter(|_| !self.is_traced()).map(|name| (name, token_file.as_path()));
        pass.place.write(place::ENV, shell::env_file(variables, token).as_bytes(), spec.file_mode)?;
        Ok(pass.place.file(place::ENV).to_string_lossy().into_owned())
    }

    /// Whether whatever the job's shell does with a variable ends up in the log.
    fn is_traced(&self) -> bool {
        self.platform == Platform::Gitlab && gitlab::is_traced(self.env)
    }

    /// All that stdout carries: the path of the env file, alone or as JSON with what else there is.
    fn answer(&self, outputs: &Outputs, env_file: &str) -> Result<(), Failure> {
        let json = self.json.then(|| outputs.json(Some(env_file)));
        self.out.data(json.as_deref().unwrap_or(env_file))
    }

    /// Tells the person who reads the log what there is now, while a command is about to use it.
    pub fn announce(&self, pass: &Pass) {
        self.out.say_aside(Self::announcement(pass));
    }

    fn announcement(pass: &Pass) -> String {
        let lease = &pass.lease;
        let last = lease.ends().filter(|last| *last > pass.expires_at);
        let more = last.map(|last| format!(", renewed until {last}")).unwrap_or_default();
        let until = format!("until {}{more}", pass.expires_at);
        let (account, id, why) = (&lease.service_account, lease.id(), &pass.cluster.identity().why);
        let text = format!("pass for service account `{account}` {until}, lease `{id}`\n  asked as {why}");
        pass.warnings.iter().fold(text, |text, warning| text + "\nwarning: " + warning)
    }

    /// The same, and how it is used and ended.
    fn say(&self, pass: &Pass) {
        self.out.say(Self::announcement(pass));
        match self.platform {
            Platform::Local => self.out.say(
                "  nothing masks the token in this shell: do not print it\n  \
                 use it:  . \"$(jobpass request …)\" sets the variables, and kubectl, oc and helm find it\n  \
                 end it:  jobpass revoke",
            ),
            Platform::Gitlab | Platform::Tekton if !self.masks() => {
                self.out.say(format!("  nothing masks the token in the log of this {} job: do not print it", self.platform));
            }
            Platform::Github | Platform::Gitlab | Platform::Tekton => {}
        }
    }

    /// A second pass in one job takes over the names of the first, which lives on: say so, with both leases.
    fn warn_of_another(&self, spec: &TokenSpec, lease: &Lease) {
        let ours = lease.id();
        let configs = self.env.get("KUBECONFIG").filter(|_| spec.kubeconfig).map(|list| self.env.paths(list));
        let mark = configs.into_iter().flatten().find_map(|path| pass_of(&path));
        let of_config = mark.map(|mark| ("KUBECONFIG".to_owned(), mark.lease));
        // A pass that is over has no token file any more, while the variables of a shell stay.
        let lives = self.env.path("JOBPASS_TOKEN_FILE").is_none_or(|path| path.exists());
        let variable = spec.variable.as_deref().filter(|_| lives).and_then(|name| Some((name, self.env.secret(name)?)));
        let of_variable = variable.and_then(|(name, token)| Some((name.to_owned(), Claims::of(&token)?.lease()?)));
        let mut others: Vec<(String, String)> = of_config.into_iter().chain(of_variable).filter(|(_, other)| *other != ours).collect();
        if let [(one, lease), (two, same)] = others.as_slice()
            && lease == same
        {
            others = vec![(format!("{one}` and `{two}"), lease.clone())];
        }
        for (names, other) in others {
            self.out.warn(format!("`{names}` was set by the pass `{other}` and now by `{ours}`; the former lives on until it is revoked"));
        }
    }

    /// Adds what became of the pass to the job's summary.
    pub fn summarise(&self, receipt: &Receipt) {
        let rows = [
            ("service account", receipt.service_account.clone()),
            ("lease", receipt.lease.clone()),
            ("revoked at", instant(receipt.revoked_at)),
            ("proof", receipt.proof.to_string()),
        ];
        self.summary("jobpass: the pass is over", &rows);
    }

    /// Adds a table to the job's summary. That is for people only, so its absence is no reason to fail.
    fn summary(&self, title: &str, rows: &[(&str, String)]) {
        if self.platform != Platform::Github {
            return;
        }
        let Some(path) = self.env.path(FileCommand::Summary.variable()) else { return };
        if let Err(failure) = place::append(&path, &github::summary(title, rows), Accepts::Stream) {
            self.out.warn(failure.brief());
        }
    }

    fn file(&self, command: FileCommand) -> Result<PathBuf, Failure> {
        self.env.path(command.variable()).ok_or_else(|| {
            Failure::usage(format!("`{}` is not set", command.variable())).hint("run it in a step of a job, or say `--platform local`")
        })
    }
}

/// What a pass tells of itself, without the token.
struct Outputs {
    plain: Vec<(&'static str, String)>,
}

impl Outputs {
    fn of(pass: &Pass, spec: &TokenSpec, token_file: &std::path::Path, kubeconfig: Option<&PathBuf>) -> Self {
        let lease = &pass.lease;
        let mut plain = vec![
            // The token's own end: one that is in a variable is not renewed.
            ("expires-at", pass.expires_at.to_string()),
            ("server", lease.server.clone()),
            ("namespace", spec.target_namespace.clone()),
            ("service-account", lease.service_account.to_string()),
            ("lease", lease.id()),
            ("jti", lease.jti.clone().unwrap_or_default()),
            ("token-file", token_file.to_string_lossy().into_owned()),
        ];
        plain.extend(kubeconfig.map(|path| ("kubeconfig", path.to_string_lossy().into_owned())));
        Self { plain }
    }

    fn get(&self, name: &str) -> String {
        self.plain.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The variables that a job gets besides the token.
    fn variables(&self) -> Vec<(&'static str, String)> {
        VARIABLES.into_iter().map(|(variable, output)| (variable, self.get(output))).filter(|(_, value)| !value.is_empty()).collect()
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        ["service-account", "server", "expires-at", "lease"].into_iter().map(|name| (name, self.get(name))).collect()
    }

    fn json(&self, env_file: Option<&str>) -> String {
        let head = [("api-version", API_VERSION), ("kind", "Pass")];
        let body = self.plain.iter().map(|(name, value)| (*name, value.as_str()));
        let all = head.into_iter().chain(body).chain(env_file.map(|path| ("env-file", path)));
        // Members in this order, which a map of serde_json would not keep.
        let members: Vec<_> = all.map(|(name, value)| format!("{}:{}", json!(camel(name)), json!(value))).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// `token-file` as `tokenFile`.
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
        let outputs = Outputs {
            plain: ["kubeconfig", "token-file", "expires-at", "lease", "server", "namespace"].map(|name| (name, "x".to_owned())).to_vec(),
        };
        let exported: Vec<_> = outputs.variables().into_iter().map(|(name, _)| name).collect();
        assert_eq!(exported.len(), 6);
        let read: Vec<_> = ALL.iter().map(|setting| setting.variable()).filter(|name| exported.contains(&name.as_str())).collect();
        assert_eq!(read, ["JOBPASS_LEASE"], "a nested jobpass must not take the outer pass's target");
    }
}
