//! What is wrong with a command line, and what may have been meant. No value is repeated: it may be a secret that was put in the wrong
//! place. The names of our own flags are none.

use std::ffi::{OsStr, OsString};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::OPERATORS;
use crate::{
    failure::{Code, Failure},
    name::{Beginning, PREFIX},
    options::{ALL, Kind, unknown::distance},
};

/// Flags of other tools, and what they are here.
const FLAGS: [(&str, &str); 31] = [
    ("sa", "service-account"),
    ("account", "service-account"),
    ("ns", "namespace"),
    ("ca", "certificate-authority"),
    ("cacert", "certificate-authority"),
    ("cafile", "certificate-authority"),
    ("certificateauthoritydata", "certificate-authority"),
    ("duration", "ttl"),
    ("expiration", "ttl"),
    ("lifetime", "ttl"),
    ("expirationseconds", "ttl"),
    ("expires", "ttl"),
    ("expiresin", "ttl"),
    ("validity", "ttl"),
    ("t", "ttl"),
    ("for", "timeout"),
    ("wait", "timeout"),
    ("json", "output"),
    ("format", "output"),
    ("k", "insecure-skip-tls-verify"),
    ("insecureskipverify", "insecure-skip-tls-verify"),
    ("insecuretls", "insecure-skip-tls-verify"),
    ("url", "server"),
    ("host", "server"),
    ("apiserver", "server"),
    ("insecure", "insecure-skip-tls-verify"),
    ("skiptlsverify", "insecure-skip-tls-verify"),
    ("user", "identity-username"),
    ("username", "identity-username"),
    ("token", "identity-token"),
    ("password", "identity-password"),
];

/// Verbs of other tools, and what they are here.
const VERBS: [(&str, &str); 22] = [
    ("login", "request"),
    ("issue", "request"),
    ("create", "request"),
    ("token", "request"),
    ("get", "request"),
    ("logout", "revoke"),
    ("delete", "revoke"),
    ("exec", "run"),
    ("shell", "run"),
    ("start", "request"),
    ("export", "request"),
    ("stop", "revoke"),
    ("end", "revoke"),
    ("kill", "revoke"),
    ("renew", "hold"),
    ("refresh", "hold"),
    ("status", "require"),
    ("mask", "scrub"),
    ("redact", "scrub"),
    ("list", "leases"),
    ("ls", "leases"),
    ("check", "doctor"),
];

/// Dashes that word processors make of hyphens.
const LONG_DASHES: [char; 4] = ['\u{2010}', '\u{2013}', '\u{2014}', '\u{2212}'];

/// How words for units of time begin, where a blank stands before them.
const UNITS: [&str; 7] = ["s", "min", "m", "h", "d", "H", "M"];

/// What a verb of operators comes to in a binary that was built without them.
fn small() -> Failure {
    Failure::new(Code::UsageArguments, "this jobpass is the small one that a job fetches, without the verbs of operators")
        .hint("build the whole one: `cargo build --release`")
}

/// Whether the verb is one that this binary was built without.
fn is_operators(error: &clap::Error) -> bool {
    matches!(error.get(ContextKind::InvalidSubcommand), Some(ContextValue::String(verb)) if OPERATORS.contains(&verb.as_str()))
}

/// A flag that is written with one dash, which clap takes for a letter and its value.
pub fn one_dash(whole: impl Fn() -> Command, arguments: &[OsString]) -> Option<Failure> {
    let words = arguments.iter().skip(1).take_while(|word| *word != "--").filter_map(|word| word.to_str());
    let mut words = words.filter(|word| word.len() > 3 && word.starts_with('-') && !word.starts_with("--")).peekable();
    words.peek()?;
    let whole = whole();
    let place = Place::of(&whole, arguments);
    words.find_map(|word| {
        let flag = place.flags().find(|flag| flag.len() > 2 && plain(name(word)) == plain(flag))?;
        let what = format!("`{}` is no flag: it has one dash", name(word));
        Some(Failure::new(Code::UsageArguments, what).hint(format!("did you mean `--{flag}`? `{}` shows them all", place.page())))
    })
}

/// What stands after `--` is the command: a flag there is none.
pub fn flag_as_command(command: &[OsString]) -> Option<Failure> {
    let first = command.first()?.to_str().filter(|first| first.starts_with('-'))?;
    let is_ours = |short: Option<char>| short.is_some_and(|short| first == format!("-{short}"));
    let ours = ALL.iter().find(|setting| plain(setting.name) == plain(name(first)) || is_ours(setting.short));
    let which = ours.map_or_else(|| "a flag".to_owned(), |setting| format!("`--{}`", setting.name));
    let failure = Failure::new(Code::UsageArguments, format!("what stands after `--` is the command, and it begins with {which}"));
    Some(failure.hint("write the flags of jobpass before `--`, as `jobpass help run` shows"))
}

/// The failure for what clap has refused.
pub fn failure(error: &clap::Error, whole: &Command, arguments: &[OsString]) -> Failure {
    let place = Place::of(whole, arguments);
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg).filter(|text| text.starts_with('-')).map(name);
    let page = place.page();
    let see = format!("run `{page}`");
    let (what, hint) = match (error.kind(), flag) {
        (ErrorKind::InvalidSubcommand, _) if is_operators(error) => return small(),
        (ErrorKind::UnknownArgument, Some(flag)) if place.is_after_dashes(flag) => {
            ("nothing after `--` is a flag".to_owned(), format!("leave `--` out: only `jobpass run` takes a command, as `{page}` shows"))
        }
        (ErrorKind::UnknownArgument, Some(flag)) if flag.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => {
            ("a value begins with `-`".to_owned(), format!("write it without: no value is below nothing; `{page}` shows the flags"))
        }
        (ErrorKind::UnknownArgument, Some(flag)) => {
            let hint = match place.meant(flag) {
                Some(hint) => hint,
                None if place.is_before_the_verb() => "write the verb first: `jobpass VERB --FLAG …`".to_owned(),
                None => see,
            };
            (format!("there is no flag `{flag}` here"), hint)
        }
        (ErrorKind::UnknownArgument, None) if text(ContextKind::InvalidArg).is_some_and(|text| text.starts_with(LONG_DASHES)) => (
            "an argument begins with a long dash".to_owned(),
            "write two hyphens, `--`: a word processor or a chat has made one dash of them".to_owned(),
        ),
        (ErrorKind::UnknownArgument, None) if place.lacks_dashes() => (
            "there is no `--` before the command".to_owned(),
            format!("write `jobpass run -s NAMESPACE/NAME -- COMMAND`, as `{page}` shows"),
        ),
        (ErrorKind::UnknownArgument, None) => {
            let stray = text(ContextKind::InvalidArg).unwrap_or_default();
            ("there is an argument that belongs to no flag".to_owned(), place.belongs(stray).unwrap_or(see))
        }
        (ErrorKind::ArgumentConflict, Some(flag)) => match prior(error).filter(|prior| !prior.starts_with(flag)) {
            Some(prior) => (format!("`{flag}` and `{prior}` exclude each other"), see),
            None => (format!("`{flag}` is given more than once"), see),
        },
        (ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand, _) => {
            let verbs: Vec<_> = place.command.get_subcommands().map(Command::get_name).collect();
            let said: Vec<_> = verbs.iter().map(|verb| format!("`{verb}`")).collect();
            let first = place.rest.iter().find(|word| *word != "help" && *word != "jobpass");
            let given = first.and_then(|word| word.to_str()).unwrap_or_default();
            if given.split(' ').next().is_some_and(|first| first != given && verbs.contains(&first)) {
                let what = "there is no verb with blanks in it".to_owned();
                return Failure::new(Code::UsageArguments, what).hint("write the words of the call without quotes around all of them");
            }
            let hint = verb(given, &verbs).map_or(see, |verb| format!("did you mean `{verb}`? `{page}` says what each does"));
            (format!("the verb is none of {}", said.join(", ")), hint)
        }
        (ErrorKind::MissingRequiredArgument, _) => match missing(error) {
            // The command of `run` has no flag.
            Some(argument) if argument.starts_with("<COMMAND>") => {
                ("there is no command to run".to_owned(), format!("write it after `--`, as `{page}` shows"))
            }
            Some(argument) => (format!("`{argument}` is missing"), see),
            None => ("an argument is missing".to_owned(), see),
        },
        (ErrorKind::TooManyValues, Some(flag)) => (format!("`{flag}` takes no value"), see),
        (_, Some(flag)) => (format!("`{flag}` needs a value"), see),
        (_, None) => ("the command line cannot be read".to_owned(), see),
    };
    Failure::new(Code::UsageArguments, what).hint(hint)
}

/// Where in the command line a verb stands, and what follows it.
struct Place<'a> {
    command: &'a Command,
    verbs: Vec<&'a str>,
    rest: &'a [OsString],
}

impl<'a> Place<'a> {
    fn of(whole: &'a Command, arguments: &'a [OsString]) -> Self {
        let mut place = Self { command: whole, verbs: Vec::new(), rest: arguments.get(1..).unwrap_or_default() };
        while let Some((first, rest)) = place.rest.split_first()
            && let Some(verb) = place.command.get_subcommands().find(|verb| OsStr::new(verb.get_name()) == first)
        {
            place.verbs.push(verb.get_name());
            (place.command, place.rest) = (verb, rest);
        }
        place
    }

    /// The page of help for this verb.
    fn page(&self) -> String {
        ["jobpass help"].iter().chain(&self.verbs).copied().collect::<Vec<_>>().join(" ")
    }

    fn flags(&self) -> impl Iterator<Item = &'a str> {
        self.command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags().any(|known| known == flag)
    }

    /// Whether a verb follows after flags.
    fn is_before_the_verb(&self) -> bool {
        let is_verb = |word: &OsString| self.command.get_subcommands().any(|verb| OsStr::new(verb.get_name()) == word);
        self.verbs.is_empty() && self.rest.iter().any(is_verb)
    }

    /// Whether it takes a command, and there is none after `--`.
    fn lacks_dashes(&self) -> bool {
        self.command.get_positionals().any(clap::Arg::is_last_set) && !self.rest.iter().any(|word| word == "--")
    }

    /// Whether this stands behind `--`, where no verb but `run` takes anything.
    fn is_after_dashes(&self, flag: &str) -> bool {
        let place = |is: &dyn Fn(&str) -> bool| self.rest.iter().position(|word| word.to_str().is_some_and(is));
        let takes_command = self.command.get_positionals().any(clap::Arg::is_last_set);
        !takes_command && place(&|word| word == "--").zip(place(&|word| name(word) == flag)).is_some_and(|(dashes, flag)| dashes < flag)
    }

    /// What an argument may be meant as that belongs to no flag.
    fn belongs(&self, stray: &str) -> Option<String> {
        let before = self.rest.iter().position(|word| word == stray).and_then(|at| self.rest.get(at.checked_sub(1)?)?.to_str());
        let is_number = before.is_some_and(|before| before.parse::<f64>().is_ok());
        if is_number && UNITS.iter().any(|unit| stray.starts_with(unit)) {
            return Some("write a length of time as one word, such as `1h` or `1h30m`".to_owned());
        }
        let flag = match () {
            () if self.has("lease") && is_lease(stray) => "lease",
            () if self.has("service-account") && is_account(stray) => "service-account",
            () => return None,
        };
        Some(format!("did you mean `--{flag}` before it? `{}` shows all flags", self.page()))
    }

    /// Which flag may be meant, or what takes its place.
    fn meant(&self, given: &str) -> Option<String> {
        let given = plain(given);
        let other = FLAGS.iter().find(|(other, _)| *other == given).map(|(_, ours)| plain(ours));
        let is_meant = |name: &str| plain(name) == given || Some(plain(name)) == other;
        let page = self.page();
        // Only where the verb reads such secrets at all.
        let secret = ALL.iter().find(|setting| setting.kind == Kind::Secret && is_meant(setting.name) && self.has("identity"));
        if let Some(secret) = secret {
            return Some(format!("set the variable `{}`: what is secret is never a flag", secret.variable()));
        }
        let nearest = || {
            let nearest = self.flags().map(|flag| (distance(&given, &plain(flag)), flag)).min()?;
            (nearest.0 <= (given.len() / 4).max(1) && given.len() > 2).then_some(nearest.1)
        };
        let of_letter = || {
            let letter = given.chars().next().filter(|_| given.len() == 1)?;
            let has = |arg: &&clap::Arg| arg.get_short().is_some_and(|short| short.eq_ignore_ascii_case(&letter));
            self.command.get_arguments().find(has).and_then(clap::Arg::get_long)
        };
        let meant = self.flags().find(|flag| is_meant(flag)).or_else(of_letter).or_else(nearest);
        meant.map(|flag| format!("did you mean `--{flag}`? `{page}` shows them all"))
    }
}

/// The name of a flag as it is given: without its value.
fn name(flag: &str) -> &str {
    flag.split(['=', ' ']).next().unwrap_or_default()
}

/// A name without what people mistake in it: dashes, underscores, capitals.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Which verb may be meant.
fn verb<'a>(given: &str, verbs: &[&'a str]) -> Option<&'a str> {
    let other = VERBS.iter().find(|(other, _)| *other == given).map(|(_, ours)| *ours);
    let known = other.and_then(|ours| verbs.iter().find(|verb| **verb == ours));
    let nearest = verbs.iter().map(|verb| (distance(given, verb), verb)).min();
    known.or_else(|| nearest.filter(|(far, verb)| *far <= (verb.len() / 3).max(1)).map(|(_, verb)| verb)).copied()
}

/// Whether a text has the form of a lease's name, or of what is shown of it.
fn is_lease(text: &str) -> bool {
    // Words such as `cafe` are rather an account's.
    let has_digit = || text.rsplit('/').next().is_some_and(|name| name.bytes().any(|byte| byte.is_ascii_digit()));
    Beginning::of(text).is_some() && (text.contains(PREFIX) || has_digit())
}

/// Whether a text has the form of a service account.
fn is_account(text: &str) -> bool {
    text.len() <= 320 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-./:".contains(&byte))
}

/// The argument that another one excludes, as the help shows it: no value of the user's.
fn prior(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::PriorArg) {
        Some(ContextValue::String(prior)) => Some(prior),
        Some(ContextValue::Strings(priors)) => priors.first().map(String::as_str),
        _ => None,
    }
}

/// The first argument that is missing, as the help shows it: no value of the user's.
fn missing(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) if error.kind() == ErrorKind::MissingRequiredArgument => missing.first().map(String::as_str),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn the_small_one_says_what_it_lacks() {
        insta::assert_snapshot!(small(), @r"
        error: this jobpass is the small one that a job fetches, without the verbs of operators

        hint: build the whole one: `cargo build --release`
        ");
    }

    #[test]
    fn only_a_verb_of_operators_makes_it_say_so() {
        let refused = |verb: &str| cli::of_job().try_get_matches_from(["jobpass", verb]);
        for verb in OPERATORS {
            assert!(is_operators(&refused(verb).expect_err("there is no such verb")), "{verb}");
        }
        assert!(!is_operators(&refused("login").expect_err("there is no such verb")));
    }

    /// What is said of a call that is refused.
    fn said(call: &str) -> String {
        let arguments: Vec<_> = call.split(' ').map(OsString::from).collect();
        let refused = one_dash(cli::command, &arguments).unwrap_or_else(|| {
            let whole = cli::command();
            let Err(error) = whole.clone().try_get_matches_from(&arguments) else { panic!("{call} is taken") };
            failure(&error, &whole, &arguments)
        });
        refused.to_string()
    }

    #[test]
    fn a_flag_of_others_leads_to_ours() {
        for (given, meant) in [
            ("--serviceaccount", "service-account"),
            ("--service_account", "service-account"),
            ("--serviceAccount=ci/x", "service-account"),
            ("--sa", "service-account"),
            ("--servce-account", "service-account"),
            ("-serviceaccount", "service-account"),
            ("-server=https://x", "server"),
            ("-namespace", "namespace"),
            ("--ns", "namespace"),
            ("--ca", "certificate-authority"),
            ("--cacert", "certificate-authority"),
            ("--certificateAuthority", "certificate-authority"),
            ("--duration", "ttl"),
            ("--insecure", "insecure-skip-tls-verify"),
            ("-k", "insecure-skip-tls-verify"),
            ("-S", "service-account"),
            ("-t", "ttl"),
            ("--expiration-seconds", "ttl"),
        ] {
            for verb in ["request", "run"] {
                let said = said(&format!("jobpass {verb} {given}"));
                assert!(said.ends_with(&format!("did you mean `--{meant}`? `jobpass help {verb}` shows them all")), "{said}");
            }
        }
        assert!(said("jobpass request --json").contains("did you mean `--output`?"));
        assert!(said("jobpass request --token=hunter2").contains("set the variable `JOBPASS_IDENTITY_TOKEN`"));
        for call in ["jobpass request --frobnicate", "jobpass scrub --sa x", "jobpass request -x"] {
            assert!(!said(call).contains("did you mean"), "{call}");
        }
    }

    #[test]
    fn a_verb_of_others_leads_to_ours() {
        for (given, meant) in [("login", "request"), ("reqest", "request"), ("exec", "run"), ("logout", "revoke"), ("required", "require")]
        {
            assert!(said(&format!("jobpass {given}")).contains(&format!("did you mean `{meant}`? `jobpass help` says")), "{given}");
        }
        assert!(!said("jobpass frobnicate").contains("did you mean"));
        for call in ["jobpass help reqest", "jobpass jobpass request"] {
            assert!(said(call).contains("did you mean `request`?"), "{call}");
        }
    }

    #[test]
    fn an_argument_without_a_flag_is_told_what_it_may_be() {
        for (call, part) in [
            ("jobpass request ci/x", "did you mean `--service-account` before it?"),
            ("jobpass request --ttl 1 h -s ci/x", "write a length of time as one word, such as `1h`"),
            ("jobpass run --ttl 90 minutes -s ci/x -- true", "write a length of time as one word, such as `1h`"),
            ("jobpass request -s ci/x --ttl -5m", "a value begins with `-`"),
            ("jobpass revoke 7a24", "did you mean `--lease` before it?"),
            ("jobpass revoke ci/jobpass-7a24c1e09b5d4f38a6c2d1e0f9b8a7c6", "did you mean `--lease` before it?"),
            ("jobpass revoke cafe", "did you mean `--service-account` before it?"),
            ("jobpass request -- -s ci/x", "leave `--` out: only `jobpass run` takes a command"),
            ("jobpass request \u{2014}service-account ci/x", "write two hyphens, `--`"),
            ("jobpass run -s ci/x \u{2013} kubectl", "write two hyphens, `--`"),
        ] {
            assert!(said(call).contains(part), "{call}: {}", said(call));
        }
        let whole = cli::command();
        let arguments = ["jobpass", "request -s ci/x"].map(OsString::from);
        let Err(error) = whole.clone().try_get_matches_from(&arguments) else { panic!("it is taken") };
        assert!(failure(&error, &whole, &arguments).to_string().contains("without quotes around all of them"));
    }
}
