//! The job that we run in: each verb as one story.

use std::{
    cell::RefCell,
    ffi::OsString,
    process::ExitCode,
    time::{Duration, Instant},
};

use jobpass_scrub::SHORTEST_VALUE;

use crate::{
    action::{self, Phase},
    env::Env,
    export::Export,
    failure::Failure,
    filter,
    identity::{Identity, Purpose, kubeconfig::marked, way::Way},
    lease::{self, Lease, seal::Seal},
    options::{self as o, Flags, Options},
    out::Out,
    pass::{Pass, Plan, Terms, UNDO},
    place::{self, Accepts, Place},
    platform::{self, Platform, github, marks::Marks},
    run::{self, Command},
    secret::Secret,
    shown::Kind,
    signals::Signals,
    spec::{self, TokenSpec},
    targets,
};

mod marks;
mod piped;
mod require;
mod revoke;

use revoke::Telling;

/// Bounds of `--timeout`.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(10));

/// What `revoke` says where there is no pass.
pub const NOTHING: &str = "nothing to revoke";

/// How long `request` may take.
const REQUEST: Duration = Duration::from_secs(30);

/// How long `revoke` may take with its probe: GitHub's posts share less than five minutes.
const REVOKE: Duration = Duration::from_secs(10);

/// What stdout is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdout {
    /// What we hand over, as JSON where that is asked for.
    Data,
    /// The bytes of a command.
    Bytes,
}

/// The job that we run in, as all verbs see it.
pub struct Job {
    options: Options,
    env: Env,
    platform: Platform,
    /// Other platforms that a pass may have been requested on: only the end of one looks at them.
    others: Vec<Platform>,
    /// Settings without which `revoke` goes on, and why.
    passed_over: Vec<Failure>,
    json: bool,
    /// The lease of which a mark is left.
    marked: RefCell<Option<String>>,
    /// Whether this is the post step of our action: then nothing but the revocation itself may fail.
    post: bool,
    user: u32,
}

impl Job {
    /// The job that the environment tells of.
    ///
    /// # Errors
    /// When a setting that all verbs share is no good.
    pub fn of(options: Options, env: &Env, stdout: Stdout) -> Result<Self, Failure> {
        let platform = Platform::detect(&options, env, in_tekton)?;
        output(&options)?;
        Ok(Self::on(platform, options, env, stdout))
    }

    /// The same for the end of a pass, which no variable and no input that is no good may stop.
    ///
    /// # Errors
    /// When a flag is no good.
    pub fn to_end(mut options: Options, flags: &Flags, env: &Env, stdout: Stdout) -> Result<Self, Failure> {
        if options.is_post()
            && let Some(names) = targets::connection_of_main(env)
        {
            options.forget_other_connections(&names);
        }
        let marks = match options.phase() {
            Some(_) => Marks { platform: Platform::Github, others: Vec::new(), passed_over: None },
            None => Platform::marks(&options, env, in_tekton)?,
        };
        let ((), no_output) = options.tolerated(&[&o::OUTPUT], output(&options))?;
        let passed_over = options.passed_over(flags).cloned().chain(marks.passed_over).chain(no_output).collect();
        Ok(Self { others: marks.others, passed_over, ..Self::on(marks.platform, options, env, stdout) })
    }

    fn on(platform: Platform, options: Options, env: &Env, stdout: Stdout) -> Self {
        Self {
            json: stdout == Stdout::Data && options.text(&o::OUTPUT) == Some("json"),
            post: options.is_post(),
            options,
            env: env.clone(),
            platform,
            others: Vec::new(),
            passed_over: Vec::new(),
            marked: RefCell::default(),
            user: rustix::process::geteuid().as_raw(),
        }
    }

    /// Validate, find out who asks, begin, hand over; undone if the hand-over fails.
    ///
    /// # Errors
    /// When there is no pass; then nothing is left of it either, or the error says until when.
    pub async fn request(&self, out: &Out) -> Result<(), Failure> {
        let Self { options, env, platform, json, .. } = self;
        let export = Export { platform: *platform, env, out, phase: options.phase(), json: *json };
        self.warn_of_unknown(out);
        if options.phase() == Some(Phase::Main) {
            self.check_post()?;
            if !action::exports(env)? {
                return self.only_install(out);
            }
        }
        let spec = TokenSpec::of(options, *platform, env)?;
        export.check()?;
        if let Some(path) = &spec.kubeconfig_out {
            place::check_named(path, |text| marked(text).is_some())?;
        }
        let forget = || {
            self.unmark();
            export.forget()
        };
        let mut signals = Signals::ending().ok_or_else(unheard)?;
        let pass = self.begin(&spec, out, &|lease| export.save(lease), &forget, &|token| export.mask(token), &mut signals).await?;
        if self.is_identity_piped() {
            out.warn("the CI identity came by a pipe, which is read once: `revoke` needs it again, as `request` got it");
        }
        match export.hand_over(&pass, &spec) {
            Ok(()) => Ok(()),
            Err(failure) => Err(pass.undo(UNDO, failure, &forget).await),
        }
    }

    /// The action without a pass: its shim has put us on the PATH of the steps after it, and that is all.
    fn only_install(&self, out: &Out) -> Result<(), Failure> {
        if let Some(input) = self.options.inputs().first() {
            let what = format!("input `{}` has no effect with `export: false`, which requests nothing", input.name);
            return Err(Failure::usage(what).hint(format!("set `{}` in the `env:` of the step that runs jobpass", input.variable())));
        }
        out.say("jobpass is on the PATH of the steps after this one, and nothing is requested here");
        out.say("  a step that needs a token:  shell: jobpass run -- bash -euo pipefail {0}");
        Ok(())
    }

    /// Run the command under a pass of its own; its exit status is ours.
    ///
    /// # Errors
    /// When the command was not run, or with `--strict` when its pass could not be ended.
    pub async fn run(&self, command: &[OsString], out: &Out) -> Result<ExitCode, Failure> {
        let Self { options, env, platform, .. } = self;
        self.warn_of_unknown(out);
        let spec = TokenSpec::of(options, *platform, env)?.renewable(options, *platform, env)?;
        let strict = options.switch(&o::STRICT)?;
        let timeout = options.duration(&o::TIMEOUT, TIMEOUT)?.unwrap_or(REVOKE);
        self.check_receipt()?;
        self.hide_values(out);
        let command = Command::of(command, options, env, *platform)?;
        command.secrets().for_each(|secret| out.hide(secret));
        for warning in &command.warnings {
            out.warn(warning);
        }
        if let Some(hidden) = command.hides() {
            out.say(hidden);
        }
        let hide = |token: &Secret| {
            out.hide(token);
            Ok(())
        };
        // From here on no signal ends us before the pass is ended.
        let mut signals = Signals::all().ok_or_else(unheard)?;
        // The job's own processes do not learn of it: nothing is saved beside the place, where `revoke` finds it after a crash.
        let forget = || {
            self.unmark();
            Ok(())
        };
        let pass = self.begin(&spec, out, &|_| Ok(()), &forget, &hide, &mut signals).await?;
        let export = Export { platform: *platform, env, out, phase: options.phase(), json: true };
        let variables = match export.to_command(&pass, &spec) {
            Ok(variables) => variables,
            Err(failure) => return Err(pass.undo(UNDO, failure, &forget).await),
        };
        export.announce(&pass);
        let terms = Terms { timeout, wait_dead: false };
        let done = match Box::pin(run::run(pass, command, variables, &spec, out, terms, &mut signals)).await {
            Ok(done) => done,
            // It may be a signal that has kept the command from its start.
            Err((failure, pass)) => return Err(pass.undo(platform.signal_budget(), failure, &forget).await),
        };
        if done.ended.receipt.proof.is_success() {
            self.unmark();
        }
        let telling = if strict { Telling::Returned } else { Telling::Warned { annotated: false } };
        let failed = self.tell(out, done.ended, true, telling);
        match failed {
            Some(failure) if strict => Err(failure),
            Some(_) | None => Ok(ExitCode::from(done.code)),
        }
    }

    /// Pass stdin on to stdout without the secrets of a pass or of variables.
    ///
    /// # Errors
    /// When nothing is named to hide, or the streams fail.
    pub async fn scrub(&self, out: &Out) -> Result<(), Failure> {
        self.hide_values(out);
        // A signal ends a filter as it ends any.
        self.take_pipes(&piped::LEASE, REQUEST, None).await?;
        let (patterns, warnings) = filter::patterns(&self.options, &self.env, self.platform, self.user)?;
        for warning in warnings {
            out.warn(warning);
        }
        filter::pass_on(&patterns)
    }

    /// Whoever has mistyped the name of a variable learns of it where the job begins.
    fn warn_of_unknown(&self, out: &Out) {
        for warning in o::unknown::warnings(&self.env) {
            out.warn(warning);
        }
    }

    /// What is hidden in the output of others is not said by ourselves either.
    fn hide_values(&self, out: &Out) {
        let values = self.options.list(&o::SCRUB_ENV).into_iter().filter_map(|name| self.env.secret(name));
        values.filter(|value| value.size() >= SHORTEST_VALUE).for_each(|value| out.hide(&value));
    }

    /// Save, create, request: what `request` and `run` share.
    async fn begin(
        &self,
        spec: &TokenSpec,
        out: &Out,
        save: &dyn Fn(&Lease) -> Result<(), Failure>,
        forget: &dyn Fn() -> Result<(), Failure>,
        mask: &dyn Fn(&Secret) -> Result<(), Failure>,
        signals: &mut Signals,
    ) -> Result<Pass, Failure> {
        let Self { options, env, platform, .. } = self;
        let timeout = options.duration(&o::TIMEOUT, TIMEOUT)?.unwrap_or(REQUEST);
        let end = Instant::now() + timeout;
        for setting in [&o::JOB_KEY, &o::DIR, &o::KUBECONFIG_OUT] {
            refuse_secret(options, setting)?;
        }
        let mut base = platform.base(env, options.text(&o::DIR), self.user)?;
        let in_workspace = base.apart.take_if(|apart| platform.workspace(env).is_some_and(|workspace| spec::lies_in(apart, &workspace)));
        spec::base_outside_workspace(&base.path, options, *platform, env)?;
        let job_key = platform.job_key(env, options.text(&o::JOB_KEY))?;
        self.take_pipes(&piped::IDENTITY, timeout, Some(signals)).await?;
        let (mut identity, _) = Identity::find(options, env, *platform, Purpose::Begin)?;
        identity.way = Way::of(&identity, env)?;
        meet(out, &identity);
        let seal = Seal::of(*platform, env);
        let name = lease::name(*platform, &seal, job_key.as_deref(), &spec.service_account);
        let place = Place::of(&base, &name);
        if let Some(apart) = in_workspace.filter(|_| spec.lifetime.is_some() && spec.file_mode & 0o040 == 0) {
            out.warn(format!(
                "there is no directory in memory that is this user's alone, as `{}` lies in the workspace: the token's files are in `{place}`",
                apart.display()
            ));
        }
        if let Some(path) = &spec.kubeconfig_out
            && (spec::lies_in(&place.path(), path) || spec::lies_in(path, &place.path()))
        {
            let what = options.get(&o::KUBECONFIG_OUT).map(|given| given.source.to_string()).unwrap_or_default();
            return Err(Failure::usage(format!("{what} lies in the way of the pass's own directory `{place}`"))
                .hint("name another path, or leave it out: the directory has a kubeconfig of its own"));
        }
        if spec.lifetime.is_some() {
            self.spare(&place, spec, &name)?;
        }
        if action::is_debugged(env) {
            let text = format!(
                "asking {} for a token of `{}`, as {}, within {} s\nthe pass is kept in {place}",
                identity.server(),
                spec.service_account,
                identity.why,
                timeout.as_secs()
            );
            out.say_as(text, |text| github::annotation("debug", text));
        }
        let mut lease = lease::begin(name, spec, &identity, *platform, job_key, &place);
        if options.get(&o::JOB_KEY).is_some() {
            // So that the job's own `revoke` ends this pass too.
            lease.job = platform.job_key(env, None).ok().flatten();
        }
        lease.connection = (*platform == Platform::Github).then(|| options.connection());
        lease.way = (*platform == Platform::Github && !identity.way.mark.is_empty()).then(|| identity.way.mark.clone());
        let timeout = end.saturating_duration_since(Instant::now()).max(TIMEOUT.0);
        let save = |lease: &Lease| {
            self.mark(lease);
            save(lease)
        };
        let save = &save;
        let plan = Plan { spec, env, platform: *platform, lease, seal, place, timeout, save, forget, mask, signals, out };
        Box::pin(Pass::begin(plan, identity)).await
    }

    /// Refuses to end the pass that the rest of the job's script still uses, only to run one command under another one.
    fn spare(&self, place: &Place, spec: &TokenSpec, name: &str) -> Result<(), Failure> {
        let used = self.token_files();
        if !place.files(place::TOKEN).any(|token| token.exists() && used.contains(&token)) {
            return Ok(());
        }
        let account = &spec.service_account;
        Err(Failure::usage(format!("this job uses a pass for service account `{account}` already"))
            .cause(format!("a second one would end it, as both have the lease `{}/{name}`", account.namespace))
            .hint("run the command without `jobpass run`, or give this one a `--job-key`"))
    }

    /// The inputs of our action that only its post step uses: refused in the main step, where a refusal loses nothing.
    fn check_post(&self) -> Result<(), Failure> {
        action::revoke(&self.env)?;
        self.check_receipt()?;
        self.options.switch(&o::STRICT)?;
        if self.options.switch(&o::WAIT_DEAD)? {
            let what = "`wait-dead` takes longer than a post step of GitHub has";
            return Err(Failure::usage(what).hint("leave it out, or revoke in a step of its own"));
        }
        Ok(())
    }
}

/// What stdout carries.
fn output(options: &Options) -> Result<(), Failure> {
    match options.get(&o::OUTPUT) {
        Some(given) if !matches!(given.text.as_str(), "text" | "json") => {
            Err(Failure::usage(format!("{} is neither `text` nor `json`", given.source)))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a credential in the place of what ends up in the lease.
fn refuse_secret(options: &Options, setting: &o::Setting) -> Result<(), Failure> {
    let Some(given) = options.get(setting) else { return Ok(()) };
    match Kind::of(&given.text).filter(|kind| kind.is_surely_secret()) {
        Some(kind) => Err(Failure::usage(format!("{} is none: it is {kind}", given.source)).hint("check which variable holds what")),
        None => Ok(()),
    }
}

impl Job {
    /// Refuses a file for the receipt that takes none, before there is anything to tell of.
    fn check_receipt(&self) -> Result<(), Failure> {
        let Some(given) = self.options.get(&o::RECEIPT) else { return Ok(()) };
        let checked = place::check_append(&self.env.absolute(given.text.as_ref()), Accepts::Stream);
        checked.map_err(|failure| failure.within(format!("{} names no file that takes the receipt", given.source)))
    }
}

/// Without its signals a process cannot promise to end what it has begun.
fn unheard() -> Failure {
    Failure::new("cannot take the signals of this process over")
}

/// Keeps what the identity holds out of everything that is said from now on. The loud part of the opt-in is here too.
fn meet(out: &Out, identity: &Identity) {
    for secret in identity.secrets() {
        out.hide(&secret);
    }
    if identity.cluster.insecure_skip_tls_verify == Some(true) {
        let server = identity.server();
        out.warn(format!("the certificate of `{server}` is not checked: whoever answers there gets the CI identity's credential"));
    }
}

/// Tekton gives a step no variable; its entrypoint is process 1.
fn in_tekton() -> bool {
    let first = place::read_named("/proc/1/comm".as_ref()).is_ok_and(|name| name.trim() == "entrypoint");
    first && std::path::Path::new(platform::tekton::ENTRYPOINT).exists()
}
