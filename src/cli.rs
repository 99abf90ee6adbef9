//! The command line, made of the verbs' own tables and read into flags by name. What each flag means is said in its row of
//! `options.rs`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};
#[cfg(feature = "operate")]
use clap::{FromArgMatches, Subcommand};

#[cfg(feature = "operate")]
use crate::operate::{Operation, doctor};
use crate::{
    action::{self, Phase},
    options::{Call, Flags, Kind, REACHED, Setting},
    verbs,
};

pub mod mistaken;
pub mod version;

/// The verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Request a token and hand it to the job.
    Request,
    /// End the job's passes.
    Revoke,
    /// Fail where the job has no pass.
    Require,
    /// Run a command under a pass of its own.
    Run,
    /// Keep a pass for others.
    Hold,
    /// Wait for the pass that `hold` keeps.
    Wait,
    /// Print the current token for a client that asks.
    Credential,
    /// Pass stdin on without secrets.
    Scrub,
}

/// Each verb with its name, help and flags.
const VERBS: [(Verb, &Call); 8] = [
    (Verb::Request, &verbs::request::CALL),
    (Verb::Revoke, &verbs::revoke::CALL),
    (Verb::Require, &verbs::require::CALL),
    (Verb::Run, &verbs::run::CALL),
    (Verb::Hold, &verbs::hold::CALL),
    (Verb::Wait, &verbs::wait::CALL),
    (Verb::Credential, &verbs::credential::CALL),
    (Verb::Scrub, &verbs::scrub::CALL),
];

/// What the program is for.
const ABOUT: &str = "A pass for one job: a short-lived Kubernetes or OpenShift service account token that is revoked when the job ends";

/// The name under which clap knows the command of `run`.
const COMMAND: &str = "command";

/// The verbs of those who own a cluster, which what a job fetches is built without.
pub const OPERATORS: [&str; 5] = ["leases", "lock", "unlock", "setup", "doctor"];

/// What the command line asks for.
pub enum Called {
    /// A verb of a job.
    Job(Cli),
    /// A verb of somebody who owns a cluster.
    #[cfg(feature = "operate")]
    Operator(Box<Operation>),
}

/// The command line of a job's verb, parsed.
pub struct Cli {
    /// The verb.
    pub verb: Verb,
    /// The flags of the verb that were given, by name.
    pub flags: Flags,
    /// The step of our GitHub action, if its shim has started us; nobody else sets the flag.
    pub phase: Option<Phase>,
    /// The command of `run` with its arguments; empty for other verbs.
    pub command: Vec<OsString>,
}

impl Called {
    /// Parses the command line.
    ///
    /// # Errors
    /// When it cannot be parsed, or asks for help or the version.
    pub fn parse(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let matches = match asks(arguments) {
            Some(asks) => command().try_get_matches_from(asks)?,
            None => command().try_get_matches_from(arguments)?,
        };
        #[cfg(feature = "operate")]
        if matches.subcommand_name().is_some_and(|name| OPERATORS.contains(&name)) {
            let mut operation = Operation::from_arg_matches(&matches)?;
            if let Operation::Doctor(arguments) = &mut operation {
                arguments.flags = matches.subcommand().map(|(_, given)| flags(&doctor::CALL, &mut given.clone())).unwrap_or_default();
            }
            return Ok(Self::Operator(Box::new(operation)));
        }
        Cli::of(matches).map(Self::Job)
    }
}

/// `help [VERB]` and `version`, as the flags that they stand for.
fn asks(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let (program, verb) = (arguments.first()?, arguments.get(1)?.to_str()?);
    let of = match verb {
        "help" => &arguments[2..],
        "version" if arguments.len() == 2 => &[],
        _ => return None,
    };
    let flag = OsString::from(format!("--{verb}"));
    Some([program].into_iter().chain(of).cloned().chain([flag]).collect())
}

impl Cli {
    fn of(mut matches: ArgMatches) -> Result<Self, clap::Error> {
        let called = matches.remove_subcommand().and_then(|(name, given)| {
            let verb = VERBS.into_iter().find(|(_, call)| call.name == name)?;
            Some((verb, given))
        });
        let Some(((verb, call), mut given)) = called else {
            return Err(command().error(clap::error::ErrorKind::MissingSubcommand, ""));
        };
        let step = if call.in_action { given.remove_one::<String>(action::FLAG) } else { None };
        let mut flags = flags(call, &mut given);
        let phase = step.as_deref().and_then(Phase::named);
        flags.extend(step.map(|step| (action::FLAG.to_owned(), Some(step))));
        let command = if call.takes_command { given.remove_many(COMMAND).into_iter().flatten().collect() } else { Vec::new() };
        Ok(Self { verb, flags, phase, command })
    }
}

/// The flags of a verb, by name.
fn flags(call: &Call, given: &mut ArgMatches) -> Flags {
    call.all().map(|setting| (setting.name.to_owned(), text(setting, given))).collect()
}

/// The text of a flag, if it was given; the items of a list are joined by newlines.
fn text(setting: &Setting, given: &mut ArgMatches) -> Option<String> {
    match setting.kind {
        Kind::Text | Kind::Secret => given.remove_one(setting.name),
        Kind::Switch => given.get_flag(setting.name).then(|| "true".to_owned()),
        Kind::List => given.remove_many::<String>(setting.name).map(|items| items.collect::<Vec<_>>().join("\n")),
    }
}

/// The whole command line, as clap needs it.
#[must_use]
pub fn command() -> Command {
    let command = of_job();
    #[cfg(feature = "operate")]
    // Its own words would take the place of the program's.
    let command = Operation::augment_subcommands(command).about(ABOUT).long_about(None);
    #[cfg(feature = "operate")]
    let command = command.mut_subcommand(doctor::CALL.name, with_settings_of_doctor);
    command
}

/// `doctor` takes the settings of a job beside its own flags.
#[cfg(feature = "operate")]
fn with_settings_of_doctor(command: Command) -> Command {
    command.after_help(doctor::CALL.after).args(doctor::CALL.all().map(|setting| flag(setting, &doctor::CALL)))
}

/// The part of it that is a job's: all that the small binary has.
pub fn of_job() -> Command {
    Command::new("jobpass")
        .version(version::TEXT)
        .about(ABOUT)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(VERBS.into_iter().map(|(_, call)| of_verb(call)))
}

fn of_verb(call: &Call) -> Command {
    let command = Command::new(call.name).about(call.about).after_help(call.after);
    let step = Arg::new(action::FLAG).long(action::FLAG).hide(true).value_parser(PossibleValuesParser::new(Phase::NAMES));
    let words = Arg::new(COMMAND)
        .value_name("COMMAND")
        .help("The command and its arguments, after `--`")
        .value_parser(value_parser!(OsString))
        .num_args(1..)
        .action(ArgAction::Append)
        .last(true)
        .required(true);
    command
        .args(call.in_action.then_some(step))
        .args(call.all().map(|setting| flag(setting, call)))
        .args(call.takes_command.then_some(words))
}

fn flag(setting: &'static Setting, call: &Call) -> Arg {
    let otherwise = call.otherwise.iter().find(|(name, _)| *name == setting.name);
    let action = match setting.kind {
        Kind::Text | Kind::Secret => ArgAction::Set,
        Kind::Switch => ArgAction::SetTrue,
        Kind::List => ArgAction::Append,
    };
    let arg = Arg::new(setting.name).long(setting.name).help(otherwise.map_or(setting.help, |(_, help)| help)).action(action);
    let arg = if let Some(short) = setting.short { arg.short(short) } else { arg };
    let arg = if let Some(value) = setting.value { arg.value_name(value) } else { arg };
    if REACHED.iter().any(|reached| reached.name == setting.name) { arg.help_heading("Connection") } else { arg }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::options as o;

    fn parsed(arguments: &[&str]) -> Result<Called, clap::Error> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        Called::parse(&arguments)
    }

    #[test]
    fn every_flag_is_a_setting_and_every_plain_setting_a_flag() {
        let command = of_job();
        let flags: BTreeSet<_> = command
            .get_subcommands()
            .flat_map(clap::Command::get_arguments)
            .filter_map(|arg| arg.get_long())
            .filter(|name| !["help", crate::action::FLAG].contains(name))
            .collect();
        let plain = |setting: &&&o::Setting| setting.kind != o::Kind::Secret;
        #[cfg(feature = "operate")]
        assert!(doctor::CALL.all().all(|setting| flags.contains(setting.name)), "a job's verb takes it, too");
        let settings: BTreeSet<_> = o::ALL.iter().filter(plain).map(|setting| setting.name).collect();
        assert_eq!(flags, settings);
    }

    #[test]
    fn no_secret_is_a_flag() {
        for secret in o::ALL.iter().filter(|setting| setting.kind == o::Kind::Secret) {
            let flag = format!("--{}=x", secret.name);
            assert!(parsed(&["jobpass", "request", &flag]).is_err(), "{flag}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[cfg(feature = "operate")]
    #[test]
    fn the_verbs_of_operators_are_known_without_them() {
        let command = command();
        let all: BTreeSet<_> = command.get_subcommands().map(Command::get_name).collect();
        let jobs: BTreeSet<_> = VERBS.into_iter().map(|(_, call)| call.name).collect();
        assert_eq!(all.difference(&jobs).copied().collect::<BTreeSet<_>>(), OPERATORS.into_iter().collect());
    }
}
