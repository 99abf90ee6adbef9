//! The command of `run`: it starts after its pass has begun, alone gets the pass, and ends before the pass is revoked.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use rustix::process::Signal;

use jobpass_scrub::{Patterns, SHORTEST_VALUE};

use crate::{
    context::Context,
    env::Env,
    failure::{Code, Failure, words},
    identity::{
        Identity,
        held::{self, Held},
    },
    options as o,
    out::Out,
    pass::{Pass, Revoked, Terms},
    renewal::{Learns, Renewal},
    secret::Secret,
    signals::{Notice, Signals},
    spec::TokenSpec,
};

mod hidden;
mod missing;
mod pipes;
mod process;
mod shutdown;

use hidden::Hidden;
use pipes::Pipes;
use process::{Child, Status};
use shutdown::Shutdown;

/// The shortest and the longest `--grace`.
const GRACE: (Duration, Duration) = (Duration::ZERO, Duration::from_mins(5));

/// How much of the platform's time between TERM and KILL is reserved for killing the command and sending the DELETE.
const FOR_DELETE: Duration = Duration::from_millis(500);

/// How long processes that the command leaves behind have between TERM and KILL.
const FOR_THE_REST: Duration = Duration::from_secs(1);

/// How long we wait for the rest of the output before the pass is ended; and after it, where a signal ended the job.
const FOR_OUTPUT: Duration = Duration::from_millis(500);

/// How long we wait for the rest of the output after a signal, when the platform is about to kill us.
const FOR_OUTPUT_IN_A_HURRY: Duration = Duration::from_millis(50);

/// The command and how to run it, validated before anything is requested.
pub struct Command {
    /// The path of the program, found through `PATH`.
    program: PathBuf,
    /// The program as it was written on the command line: its `argv[0]`.
    name: OsString,
    arguments: Vec<OsString>,
    /// The time between the signal that ends the job and KILL.
    grace: Duration,
    /// Names of the variables that the command does not get.
    hidden: Vec<String>,
    /// Those of `hidden` that no setting names: we say so in a line of the log.
    told: Vec<String>,
    /// Names of those that it gets, whatever they hold.
    kept: Vec<String>,
    /// The secrets that those variables hold, or the files that they name.
    secrets: Vec<Held>,
    /// What is hidden in the command's output, besides the tokens of the pass.
    patterns: Patterns,
    /// Warnings for the person who reads the log.
    pub warnings: Vec<String>,
}

impl Command {
    /// Validates the settings of `run`.
    ///
    /// # Errors
    /// When a setting is not valid, or there is no such program.
    pub fn of(words: &[OsString], context: &Context) -> Result<Self, Failure> {
        let Context { options, env, platform, .. } = context;
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::new(Code::UsageMissing, "there is no command to run")
                .hint("write it after `--`: `jobpass run -s ci/deploy-bot -- kubectl get pods`"));
        };
        let asked = options.duration(&o::GRACE, GRACE)?.unwrap_or_default();
        let most = platform.signal_budget().saturating_sub(FOR_DELETE);
        let mut warnings = Vec::new();
        if options.chosen(&o::GRACE).is_some() && asked > most {
            warnings.push(format!("`--grace` is cut to {} ms: then {platform} would kill jobpass before it has revoked", most.as_millis()));
        }
        let Hidden { names, told, secrets } = Hidden::of(context)?;
        let mut patterns = Patterns::new();
        Hidden::add_to(&secrets, &mut patterns);
        for name in options.list(&o::SCRUB_ENV) {
            warnings.extend(hide(&mut patterns, name, env));
        }
        let kept = options.list(&o::KEEP).into_iter().map(str::to_owned).collect();
        Ok(Self {
            program: found(Path::new(program), env)?,
            name: program.clone(),
            arguments: arguments.to_vec(),
            grace: asked.min(most),
            hidden: names,
            told,
            kept,
            secrets,
            patterns,
            warnings,
        })
    }

    /// One line that names the variables that are hidden although no setting names them.
    #[must_use]
    pub fn hides(&self) -> Option<String> {
        let names = self.told.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let why = "a kubeconfig or a cluster's token is in it, or in what it names; `--keep VARIABLE` keeps one";
        (!names.is_empty()).then(|| format!("hidden from the command: {names} ({why})"))
    }

    /// Hides the variables with which the command could have the CI identity's credential issued to itself, and those that hold the
    /// identity's own secrets under whatever name. Returns one line that names them.
    #[must_use]
    pub fn hide_identity(&mut self, identity: &Identity, env: &Env) -> Option<String> {
        let secrets = identity.secrets();
        // A short one may be an ordinary word elsewhere.
        let is_secret = |value: &Secret| value.size() >= SHORTEST_VALUE && secrets.contains(value);
        let holds = |name: &String| env.secret(name).is_some_and(|value| is_secret(&value) || is_secret(&value.trimmed()));
        let of_issuer: Vec<_> = identity.issuer.iter().flat_map(|issuer| issuer.variables()).map(|name| (*name).to_owned()).collect();
        let same: Vec<_> = env.names("").into_iter().filter(|name| !of_issuer.contains(name) && holds(name)).collect();
        let is_left = |name: &String| !self.kept.contains(name) && !self.hidden.contains(name);
        let variables: Vec<_> = of_issuer.into_iter().chain(same).filter(is_left).collect();
        let names = variables.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        self.hidden.extend(variables);
        let why = "whoever has them can log in to the cluster as this job; `--keep VARIABLE` keeps one";
        (!names.is_empty()).then(|| format!("hidden from the command: {names} ({why})"))
    }

    /// The secrets in the command's variables that are long enough to be hidden in our own messages, too.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let long = |secret: &&Secret| secret.size() >= SHORTEST_VALUE;
        self.secrets.iter().map(|(Held::Token(secret) | Held::Value(secret))| secret).filter(long)
    }
}

/// Adds the value of a variable to the patterns; returns a warning where nothing can be hidden.
#[must_use]
pub fn hide(patterns: &mut Patterns, name: &str, env: &Env) -> Option<String> {
    let Some(value) = env.secret(name) else {
        let why = if env.is_unreadable(name) { "is not UTF-8" } else { "is not set" };
        return Some(format!("`{name}` {why}: nothing of it is hidden"));
    };
    if crate::jwt::Claims::of(&value).is_some() {
        patterns.token(value.expose());
        return None;
    }
    patterns.value(value.expose()).err().map(|short| format!("`{name}` is not hidden: {short}"))
}

/// Finds a program as a shell does, so that a missing program is reported before a token is requested.
fn found(program: &Path, env: &Env) -> Result<PathBuf, Failure> {
    let shown = program.display();
    let refused = || Failure::new(Code::CommandNotExecutable, format!("`{shown}` cannot be executed"));
    let candidates: Vec<_> = if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        vec![env.absolute(program)]
    } else {
        env.paths(env.get("PATH").unwrap_or("/bin:/usr/bin")).into_iter().map(|directory| directory.join(program)).collect()
    };
    let is_executable = |path: &&PathBuf| rustix::fs::access(path.as_path(), rustix::fs::Access::EXEC_OK).is_ok() && !path.is_dir();
    match candidates.iter().find(is_executable) {
        Some(path) => Ok(path.clone()),
        None if candidates.iter().any(|path| path.exists()) => Err(refused()),
        None => Err(missing::failure(program, env)),
    }
}

/// How `run` went: the command's exit status, and what became of the pass.
pub struct Done {
    /// The exit status of the command in a shell's form: 128 + n after signal n.
    pub code: u8,
    /// How the pass ended, for the receipt.
    pub revoked: Revoked,
}

/// Runs the command under the pass, and ends the pass whatever happens to the command.
///
/// # Errors
/// When the command cannot be started; then the pass is handed back, and the caller ends it.
pub async fn run(
    mut pass: Pass,
    command: Command,
    variables: Vec<(String, OsString)>,
    spec: &TokenSpec,
    out: &Out,
    terms: Terms,
    signals: &mut Signals,
) -> Result<Done, (Failure, Pass)> {
    let mut patterns = command.patterns.clone();
    patterns.token(pass.token.expose());
    Hidden::add_to(&held::of_identity(pass.cluster.identity()), &mut patterns);
    if let Some(token) = pass.cluster.identity_token() {
        patterns.token(token.expose());
    }
    let (mut pipes, ends) = match Pipes::open(&patterns) {
        Ok(opened) => opened,
        Err(error) => return Err((Failure::new(Code::CommandFailed, "cannot connect the command's output").cause(error), pass)),
    };
    if let Some(signal) = signals.ending_so_far() {
        return Err((interrupted(signal), pass));
    }
    let mut child = match Child::start(&command, &variables, ends) {
        Ok(child) => child,
        Err(error) => return Err((unstarted(&command, &error), pass)),
    };
    let mut renewal = Renewal::of(&pass, spec);
    let mut shutdown = Shutdown::new(command.grace);
    let status = 'shutdown: loop {
        let due = {
            // The future is kept while signals arrive: made anew after each signal, a renewal under way would begin again.
            let mut next = pin!(renewal.next(&mut pass, spec));
            loop {
                tokio::select! {
                    status = child.exited() => break 'shutdown status,
                    notice = signals.next() => if let Some(text) = shutdown.heard(notice, &child) {
                        out.say_aside(text);
                    },
                    () = shutdown.due() => if let Some(text) = shutdown.step(&child) {
                        out.say_aside(text);
                    } else {
                        out.warn_aside("the command could not be revoked: it may run on, without its pass");
                        break 'shutdown Status::Killed(Signal::KILL.as_raw());
                    },
                    due = &mut next, if !shutdown.is_ending() => break due,
                }
            }
        };
        // Whatever has come of it, the command goes on: it may not need the API server any more.
        renewal.take(due, &mut pass, spec, &mut Output { patterns: &mut patterns, pipes: &pipes }, out);
    };
    tokio::select! {
        () = child.end_the_rest(shutdown.rest(FOR_THE_REST)) => {}
        // Another signal to end, or the first one: then there is no time to wait for what the command has left behind.
        _ = signals.ending_one() => {}
    }
    let killed = child.kill_the_rest();
    // We wait for the command's output so that our own messages come after it. The limit is there because a reader that has stopped
    // must not keep the token alive.
    let hurry = shutdown.is_ending();
    if killed && hurry && !shutdown.has_killed() {
        out.say_aside("what the command left behind did not end in that time and was killed");
    }
    pipes.drained(if hurry { FOR_OUTPUT_IN_A_HURRY } else { FOR_OUTPUT }).await;
    let revoked = pass.end(terms).await;
    // Everything that the command wrote is passed on, however slow the reader, unless a signal has come: then the platform is about
    // to kill us.
    pipes.stop();
    tokio::select! {
        _ = pipes.drained(if hurry { FOR_OUTPUT } else { Duration::MAX }) => {}
        _ = signals.ending_one() => {}
    }
    if let Some(error) = pipes.error() {
        out.warn(format!("not all of the command's output was passed on: {}", words(error)));
    }
    Ok(Done { code: code(status), revoked })
}

/// The command's output, in which each new token is hidden before the command can have it.
struct Output<'a> {
    patterns: &'a mut Patterns,
    pipes: &'a Pipes,
}

impl Learns for Output<'_> {
    fn identity(&mut self, token: &Secret) {
        self.patterns.token(token.expose());
    }

    fn token(&mut self, token: &Secret) {
        self.patterns.token(token.expose());
        self.pipes.hide(self.patterns);
    }
}

/// The failure when a signal arrived before the command was started.
#[must_use]
pub fn interrupted(notice: Notice) -> Failure {
    Failure::new(Code::Interrupted, "cannot run the command").cause(format!("interrupted by {notice}"))
}

/// The failure when the kernel did not start the command.
fn unstarted(command: &Command, error: &io::Error) -> Failure {
    let what = format!("cannot start `{}`", command.program.display());
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Code::CommandNotFound, what)
            .cause(error)
            .hint("check its first line: the interpreter that it names may be missing here"),
        io::ErrorKind::PermissionDenied => Failure::new(Code::CommandNotExecutable, what).cause(error),
        _ => Failure::new(Code::CommandFailed, what).cause(error),
    }
}

/// The exit status as a shell gives it: 128 + n for a command that was killed by signal n.
fn code(status: Status) -> u8 {
    match status {
        Status::Exited(code) => u8::try_from(code).unwrap_or(u8::MAX),
        Status::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_was_killed_has_the_status_of_its_signal() {
        assert_eq!(code(Status::Exited(7)), 7);
        assert_eq!(code(Status::Killed(15)), 143);
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let env: Env = [("PATH", "/nowhere:/bin:/usr/bin")].into_iter().collect();
        assert!(found(Path::new("sh"), &env).expect("there").ends_with("sh"));
        assert_eq!(found(Path::new("no-such-program"), &env).expect_err("none").code(), Code::CommandNotFound);
        assert_eq!(found(Path::new("/etc/passwd"), &env).expect_err("no program").code(), Code::CommandNotExecutable);
        assert_eq!(found(Path::new("/etc"), &env).expect_err("a directory").code(), Code::CommandNotExecutable);
    }

    #[test]
    fn grace_fits_into_the_platforms_time() {
        use crate::platform::Platform;
        for platform in [Platform::Github, Platform::Gitlab, Platform::Tekton, Platform::Local] {
            assert!(platform.signal_budget() > FOR_DELETE + Duration::from_secs(1));
        }
    }
}
