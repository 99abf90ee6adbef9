//! Hands a pass to the rest of the job: through the runner's own files, or by an env file that the job's shell sources.

use std::path::PathBuf;

use super::{Outputs, announcement, marks::Marks, summary, write};
use crate::{
    context::Context,
    failure::{Code, Failure},
    files::{self, Accepts},
    jwt::Claims,
    lease::Lease,
    name::{self, random_hex},
    out::{Out, one_line},
    pass::{Observer, Pass},
    pass_extension::PassExtension,
    platform::{
        Platform,
        github::{self, FileCommand},
        gitlab, mask, shell,
    },
    processes,
    secret::Secret,
    spec::TokenSpec,
    store,
};

/// Hands the pass over to the job.
pub struct ForRunner<'a> {
    context: &'a Context,
    out: &'a Out,
    marks: Marks<'a>,
}

impl Observer for ForRunner<'_> {
    /// Masks every form of a secret, if the platform can do that, and hides it in our own messages.
    fn mask(&self, secret: &Secret) -> Result<(), Failure> {
        let forms = mask::forms(secret);
        for form in &forms {
            self.out.hide(form);
        }
        if !self.masks() {
            return Ok(());
        }
        forms.iter().try_for_each(|form| self.out.command(github::mask_command(form).expose()))
    }

    /// Saves the lease where the platform keeps state, if it keeps any.
    fn save(&self, lease: &Lease) -> Result<(), Failure> {
        self.marks.leave(lease);
        self.keep(lease)
    }

    /// Overwrites the saved lease: the runner gives the last record to our post step.
    fn forget(&self) -> Result<(), Failure> {
        self.marks.take_away();
        match self.context.platform {
            Platform::Github => files::append(&self.file(FileCommand::State)?, github::NO_STATE, Accepts::File),
            Platform::Gitlab | Platform::Tekton | Platform::Local => Ok(()),
        }
    }
}

impl<'a> ForRunner<'a> {
    /// The hand-over in this job.
    #[must_use]
    pub fn of(context: &'a Context, out: &'a Out) -> Self {
        Self { context, out, marks: Marks::of(context) }
    }

    /// Checks before a token exists that the runner's files can be written.
    ///
    /// # Errors
    /// When one of the files is not named by its variable, or cannot be written.
    pub fn check(&self) -> Result<(), Failure> {
        if self.context.platform != Platform::Github {
            return Ok(());
        }
        if !self.out.is_heard() {
            return Err(Failure::new(Code::PlatformDeaf, "stderr is a file, so that the runner would not hear what it is to mask")
                .hint("leave stderr to the runner: `. \"$(jobpass request)\"` takes stdout only"));
        }
        for command in [FileCommand::State, FileCommand::Output, FileCommand::Env] {
            let path = self.file(command)?;
            files::check_append(&path, Accepts::File).map_err(|failure| {
                let what = format!("cannot use the file that `{}` names", command.variable());
                failure.within(what).hint("run it in a step of a job: the runner makes these files")
            })?;
        }
        Ok(())
    }

    fn keep(&self, lease: &Lease) -> Result<(), Failure> {
        match self.context.platform {
            Platform::Github => files::append(&self.file(FileCommand::State)?, &github::state(lease), Accepts::File),
            Platform::Gitlab | Platform::Tekton | Platform::Local => Ok(()),
        }
    }

    /// Whether a mask command on stderr really masks the value.
    fn masks(&self) -> bool {
        match self.context.platform {
            Platform::Github => true,
            // Where the runner does not read our stderr, the mask command itself would publish the token in the log or a file.
            Platform::Gitlab => {
                gitlab::masking_database(&self.context.env).is_some_and(|path| path.is_file())
                    && processes::is_below(gitlab::listens)
                    && self.out.is_piped()
            }
            Platform::Tekton | Platform::Local => false,
        }
    }

    /// Writes the files of the pass, then hands the pass over.
    ///
    /// # Errors
    /// When something cannot be written; then the caller ends the pass.
    pub fn hand_over(&self, pass: &Pass, spec: &TokenSpec) -> Result<(), Failure> {
        self.mask(&pass.token)?;
        let outputs = write(self.context, pass, spec)?;
        self.warn_of_another(spec, &pass.lease);
        match self.context.platform {
            Platform::Github => self.to_runner(pass, spec, &outputs),
            Platform::Gitlab | Platform::Tekton | Platform::Local => self.to_shell(pass, spec, &outputs),
        }
    }

    /// On GitHub: writes the runner's files, the variables last.
    fn to_runner(&self, pass: &Pass, spec: &TokenSpec, outputs: &Outputs) -> Result<(), Failure> {
        let random = random_hex();
        let mut records = String::new();
        for (name, value) in &outputs.plain {
            records += &github::record(name, value, &random)?;
        }
        let token = github::secret_record("token", &pass.token, &random)?;
        let records = Secret::of_parts(&[&records, token.expose()]);
        files::append(&self.file(FileCommand::Output)?, records.expose(), Accepts::File)?;
        summary(self.context, "jobpass: a pass for this job", &outputs.rows(), self.out);
        // The env file is for the rest of this step. The action's shim has no shell that could source it.
        let env_file = self.context.phase().is_none().then(|| self.env_file(pass, spec, &outputs.variables())).transpose()?;
        self.say(pass, env_file.as_deref().unwrap_or_default());
        match &env_file {
            Some(path) => self.answer(outputs, path)?,
            None if self.context.is_json() => self.out.data(&outputs.json(None))?,
            None => {}
        }
        let token = spec.variable.as_ref().map(|name| github::secret_record(name, &pass.token, &random)).transpose()?;
        let mut variables = String::new();
        for (name, value) in outputs.variables() {
            variables += &github::record(name, &value, &random)?;
        }
        let variables = Secret::of_parts(&[token.as_ref().map_or("", Secret::expose), &variables]);
        files::append(&self.file(FileCommand::Env)?, variables.expose(), Accepts::File)?;
        self.confirm(&pass.lease)
    }

    /// Saves the lease again, after everything else, and checks that the runner will give it to our post step: a process left
    /// behind by an earlier step may write to the state file, too.
    fn confirm(&self, lease: &Lease) -> Result<(), Failure> {
        self.keep(lease)?;
        let state = self.file(FileCommand::State)?;
        let text = files::read_text(&state)
            .map_err(|error| Failure::new(Code::PlatformState, format!("cannot read `{}`", state.display())).chain(&error))?;
        if github::state_of(&text).as_deref() == Some(&*lease.json()) {
            return Ok(());
        }
        Err(Failure::new(
            Code::PlatformState,
            "another process has changed what the runner keeps for the post step, which would not end this pass",
        )
        .hint("find out which step before this one has left a process running"))
    }

    /// For a shell: writes the env file, and prints its path, the only output on stdout.
    fn to_shell(&self, pass: &Pass, spec: &TokenSpec, outputs: &Outputs) -> Result<(), Failure> {
        let mut variables = outputs.variables();
        let traced = self.is_traced();
        if traced {
            // The trace prints every command with its expanded variables, and nothing masks them.
            variables.retain(|(name, _)| *name == "KUBECONFIG");
        }
        let env_file = self.env_file(pass, spec, &variables)?;
        self.say(pass, &env_file);
        if traced {
            self.out.warn("`CI_DEBUG_TRACE` is on: no variable is exported but KUBECONFIG, as the log would show them");
        }
        self.answer(outputs, &env_file)
    }

    /// Writes the env file, and returns its path.
    fn env_file(&self, pass: &Pass, spec: &TokenSpec, variables: &[(&str, String)]) -> Result<String, Failure> {
        let token_file = pass.store.file(store::TOKEN);
        let token = spec.variable.as_deref().filter(|_| !self.is_traced()).map(|name| (name, token_file.as_path()));
        pass.store.write(store::ENV, shell::env_file(variables, token).as_bytes(), spec.file_mode)?;
        Ok(pass.store.file(store::ENV).to_string_lossy().into_owned())
    }

    /// Whether the job's shell prints every command, and with it the variables, into the log.
    fn is_traced(&self) -> bool {
        self.context.platform == Platform::Gitlab && gitlab::is_traced(&self.context.env)
    }

    /// Prints the answer on stdout: the path of the env file, or JSON that contains it.
    fn answer(&self, outputs: &Outputs, env_file: &str) -> Result<(), Failure> {
        let json = self.context.is_json().then(|| outputs.json(Some(env_file)));
        self.out.data(json.as_deref().unwrap_or(env_file))
    }

    /// Tells the user about the pass: what it is, and how to end it.
    fn say(&self, pass: &Pass, env_file: &str) {
        self.out.say(announcement(pass));
        match self.context.platform {
            // A shell that has sourced it at once, as in `. "$(jobpass request …)"`, may do it again.
            Platform::Local => self.out.say(format!(
                "  use it: `. {}`, then kubectl, oc and helm find it; end it: `jobpass revoke`; do not print the token, nothing masks it here",
                one_line(&shell::quoted(env_file))
            )),
            Platform::Gitlab | Platform::Tekton if !self.masks() => {
                self.out.say(format!("  nothing masks the token in the log of this {} job: do not print it", self.context.platform));
            }
            Platform::Github | Platform::Gitlab | Platform::Tekton => {}
        }
    }

    /// Warns if another pass lives in this job: ours takes over its variables, but does not end it.
    fn warn_of_another(&self, spec: &TokenSpec, lease: &Lease) {
        let ours = lease.id();
        let configs = self.context.env.get("KUBECONFIG").filter(|_| spec.kubeconfig).map(|list| self.context.env.paths(list));
        let mark = configs.into_iter().flatten().find_map(|path| PassExtension::of_file(&path));
        let of_config = mark.map(|mark| ("KUBECONFIG".to_owned(), mark.lease));
        // After `revoke` a shell still has the variables of the former pass, but its token file is gone.
        let lives = self.context.env.path("JOBPASS_TOKEN_FILE").is_none_or(|path| path.exists());
        let variable = spec.variable.as_deref().filter(|_| lives).and_then(|name| Some((name, self.context.env.secret(name)?)));
        let of_variable = variable.and_then(|(name, token)| Some((name.to_owned(), Claims::of(&token)?.lease()?)));
        let mut others: Vec<(String, String)> = of_config.into_iter().chain(of_variable).filter(|(_, other)| *other != ours).collect();
        if let [(one, lease), (two, same)] = others.as_slice()
            && lease == same
        {
            others = vec![(format!("{one}` and `{two}"), lease.clone())];
        }
        for (names, other) in others {
            let set = if names.contains("` and `") { "were set" } else { "was set" };
            self.out.warn(format!(
                "`{names}` {set} by the pass `{}` and now by `{}`; the former lives on until it is revoked",
                one_line(name::short(&other)),
                name::short(&ours)
            ));
        }
    }

    fn file(&self, command: FileCommand) -> Result<PathBuf, Failure> {
        self.context.env.path(command.variable()).ok_or_else(|| {
            Failure::new(Code::PlatformIncomplete, format!("`{}` is not set", command.variable()))
                .hint("run it in a step of a job, or say `--platform local`")
        })
    }
}
