//! How each setting gets its value: flag, action input, `JOBPASS_*` variable, default; and which values are refused for their form.

use super::{
    ALL, ALL_LEASES, CERTIFICATE_AUTHORITY, Flags, Given, IDENTITY_KUBECONFIG, IDENTITY_TOKEN, IF_HERE, Kind, OUTPUT, Options, SERVER,
    STRICT, Setting, Source, TTL, WAIT_DEAD,
};
use crate::{
    action::{self, Phase},
    env::Env,
    failure::{Code, Failure},
    secret::Secret,
};

/// In bytes: no path, name or address is longer, and a longer text would fill the log where a message repeats it.
const LONGEST: usize = 4096;

/// What an input or a variable says of a setting.
enum Said {
    Text(Secret, Source),
    /// Bytes that are not UTF-8.
    Bytes(Source),
}

impl Options {
    /// Resolves every setting, for a verb that takes these flags.
    ///
    /// # Errors
    /// When a setting that this verb reads has an invalid form. Settings of other verbs are not checked here.
    pub fn resolve(flags: &Flags, env: &Env) -> Result<Self, Failure> {
        let mut options = Self::tolerant(flags, env)?;
        let bad = options.bad.keys().copied().find(|name| is_read(flags, name) || is_read_in_time(flags, name));
        bad.and_then(|name| options.bad.remove(name)).map_or(Ok(options), Err)
    }

    /// The same for `revoke`, which no invalid variable or input may stop. An invalid one counts as not set, and no source of a
    /// lower rank takes its place.
    ///
    /// # Errors
    /// When a flag is invalid, as then the call itself is wrong.
    pub fn tolerant(flags: &Flags, env: &Env) -> Result<Self, Failure> {
        let phase = phase(flags);
        let mut options = Self { phase, ..Self::default() };
        for setting in ALL {
            let input = setting.input();
            let outside = outside(setting, phase, env);
            if setting.kind == Kind::Secret {
                match outside {
                    Some(Said::Text(text, source)) => drop(options.secret.insert(setting.name, (text, source))),
                    Some(Said::Bytes(source)) => drop(options.bad.insert(setting.name, no_text(&source))),
                    // Every input is there, most of them empty: those count in which people store an identity.
                    None if phase.is_some() && env.is_empty(&input) && STORED.contains(&setting.name) => {
                        options.empty.push(Source::Input(setting.name).to_string());
                    }
                    None if env.is_empty(&setting.variable()) => options.empty.push(format!("`{}`", setting.variable())),
                    None => {}
                }
                continue;
            }
            let given = match (flag(setting, flags), outside) {
                (Some(flag), _) => Some(checked(setting, flag)?),
                (None, Some(said)) => match said.plain().and_then(|given| checked(setting, given)) {
                    Ok(given) => Some(given),
                    Err(bad) => {
                        options.bad.insert(setting.name, bad);
                        None
                    }
                },
                (None, None) => None,
            };
            let default = || setting.default.map(|text| Given { text: text.to_owned(), source: Source::Default(setting.name) });
            if let Some(given) = given.or_else(default) {
                options.plain.insert(setting.name, given);
            }
        }
        Ok(options)
    }

    /// Whether the answer must be JSON, as far as that can be told from a call that may be invalid otherwise.
    #[must_use]
    pub fn ask_for_json(flags: &Flags, env: &Env) -> bool {
        let given = flag(&OUTPUT, flags).or_else(|| outside(&OUTPUT, phase(flags), env)?.plain().ok());
        flags.contains_key(OUTPUT.name) && given.is_some_and(|given| given.text == "json")
    }

    /// Why some settings of the verb that takes these flags are ignored.
    pub fn passed_over<'a>(&'a self, flags: &'a Flags) -> impl Iterator<Item = &'a Failure> {
        self.bad.iter().filter(|(name, _)| is_read(flags, name)).map(|(_, bad)| bad)
    }
}

impl Said {
    fn plain(self) -> Result<Given, Failure> {
        match self {
            Self::Text(text, source) => Ok(Given { text: text.expose().trim().to_owned(), source }),
            Self::Bytes(source) => Err(no_text(&source)),
        }
    }
}

/// The secrets that hold an identity by themselves.
const STORED: [&str; 2] = [IDENTITY_TOKEN.name, IDENTITY_KUBECONFIG.name];

/// The step of our action, from the flag `--action`.
fn phase(flags: &Flags) -> Option<Phase> {
    flags.get(action::FLAG).and_then(|step| Phase::named(step.as_deref()?))
}

/// The value that a flag gives, if it is given.
fn flag(setting: &Setting, flags: &Flags) -> Option<Given> {
    let text = flag_text(flags.get(setting.name)?.as_deref())?;
    Some(Given { text, source: Source::Flag(setting.name) })
}

/// The value of an input of our action, else of a variable.
fn outside(setting: &Setting, phase: Option<Phase>, env: &Env) -> Option<Said> {
    let given = phase.and_then(|_| said(env, &setting.input(), || Source::Input(setting.name)));
    given.or_else(|| said(env, &setting.variable(), || Source::Variable(setting.variable())))
}

/// The value of a variable. An empty one counts as not set, as CI systems cannot unset variables.
fn said(env: &Env, name: &str, source: impl Fn() -> Source) -> Option<Said> {
    match env.secret(name) {
        Some(text) => (!text.is_blank()).then(|| Said::Text(text, source())),
        None => env.is_unreadable(name).then(|| Said::Bytes(source())),
    }
}

/// Whether a verb that takes these flags reads this setting. Secrets are no flags: a verb that takes `--server` reads them, too.
fn is_read(flags: &Flags, name: &str) -> bool {
    let is_secret = || ALL.iter().any(|setting| setting.name == name && setting.kind == Kind::Secret);
    flags.contains_key(name) || flags.contains_key(SERVER.name) && is_secret()
}

/// Settings that only `revoke` reads are checked by verbs that begin a pass, too: when `revoke` runs, it is too late to refuse
/// them.
fn is_read_in_time(flags: &Flags, name: &str) -> bool {
    flags.contains_key(TTL.name) && [&STRICT, &WAIT_DEAD, &ALL_LEASES, &IF_HERE].iter().any(|setting: &&Setting| setting.name == name)
}

/// The text of a flag; an empty one counts as not given.
fn flag_text(flag: Option<&str>) -> Option<String> {
    flag.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Checks the form: only lists and PEM text may have several lines, as a line break would get into files that we write.
fn checked(setting: &Setting, given: Given) -> Result<Given, Failure> {
    let several = setting.kind == Kind::List || setting.name == CERTIFICATE_AUTHORITY.name;
    if given.text.chars().any(|c| c.is_control() && !(several && matches!(c, '\n' | '\r' | '\t'))) {
        return Err(Failure::new(Code::UsageValue, format!("{} must be one line without control characters", given.source)));
    }
    if !several && given.text.len() > LONGEST {
        return Err(Failure::new(Code::UsageValue, format!("{} is longer than {LONGEST} bytes", given.source)));
    }
    Ok(given)
}

fn no_text(source: &Source) -> Failure {
    Failure::new(Code::UsageValue, format!("{source} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{GRACE, RECEIPT, SERVICE_ACCOUNT, TIMEOUT},
        *,
    };

    const MAIN: (&str, &str) = ("action", "main");

    fn options(flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Options, Failure> {
        let flags = flags.iter().map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned()))).collect();
        Options::resolve(&flags, &env.iter().copied().collect())
    }

    #[test]
    fn a_flag_beats_an_input_beats_a_variable_beats_the_default() {
        let env = [("INPUT_TTL", "2h"), ("JOBPASS_TTL", "3h")];
        let text = |flags: &[(&str, &str)], env: &[(&str, &str)]| options(flags, env).expect("valid").text(&TTL).map(str::to_owned);
        assert_eq!(text(&[MAIN, ("ttl", "20m")], &env).as_deref(), Some("20m"));
        assert_eq!(text(&[MAIN], &env).as_deref(), Some("2h"));
        assert_eq!(text(&[], &env).as_deref(), Some("3h"));
        assert_eq!(text(&[], &[]), None);
        assert_eq!(options(&[], &[]).expect("valid").text(&GRACE), Some("5s"));
    }

    #[test]
    fn inputs_of_another_action_are_not_ours() {
        let env = [("INPUT_SERVICE-ACCOUNT", "evil/one"), ("INPUT_IDENTITY-TOKEN", "t"), ("JOBPASS_ACTION", "main")];
        let options = options(&[], &env).expect("valid");
        assert!(options.get(&SERVICE_ACCOUNT).is_none());
        assert!(options.secret(&IDENTITY_TOKEN).is_none());
    }

    #[test]
    fn an_empty_input_falls_through_to_the_variable() {
        let env = [("INPUT_SERVICE-ACCOUNT", ""), ("JOBPASS_SERVICE_ACCOUNT", "ci/x")];
        assert_eq!(options(&[MAIN], &env).expect("valid").text(&SERVICE_ACCOUNT), Some("ci/x"));
    }

    #[test]
    fn an_empty_identity_is_remembered_by_name() {
        let env = [("INPUT_IDENTITY-TOKEN", ""), ("JOBPASS_IDENTITY_KUBECONFIG", "")];
        let options = options(&[MAIN], &env).expect("valid");
        assert_eq!(options.empty_secrets(), ["input `identity-token`", "`JOBPASS_IDENTITY_KUBECONFIG`"]);
    }

    #[test]
    fn a_secret_cannot_come_from_a_flag() {
        let options = options(&[("identity-token", "tok")], &[]).expect("valid");
        assert!(options.secret(&IDENTITY_TOKEN).is_none());
    }

    #[test]
    fn a_line_break_is_refused_where_one_line_is_needed_by_the_verb_that_reads_it() {
        let env = [("JOBPASS_SERVICE_ACCOUNT", "ci/x\nevil=1")];
        let failure = options(&[("service-account", "")], &env).expect_err("two lines");
        assert_eq!(failure.to_string(), "error: `JOBPASS_SERVICE_ACCOUNT` must be one line without control characters");
        assert!(options(&[("service-account", "ci/y")], &env).is_ok(), "a flag beats it");
        assert!(options(&[("scrub-env", "")], &env).expect("not read").get(&SERVICE_ACCOUNT).is_none());
        assert!(options(&[("audience", "a\nb")], &[]).is_ok());
    }

    #[test]
    fn what_ends_a_pass_goes_on_without_what_is_no_good() {
        let flags: Flags = [("receipt".to_owned(), None), ("timeout".to_owned(), None)].into();
        let env = [("JOBPASS_RECEIPT", "a\nb"), ("JOBPASS_TTL", "a\nb"), ("JOBPASS_TIMEOUT", "2s")].into_iter().collect();
        let options = Options::tolerant(&flags, &env).expect("no flag is wrong");
        let bad: Vec<_> = options.passed_over(&flags).map(Failure::brief).collect();
        assert_eq!(bad, ["`JOBPASS_RECEIPT` must be one line without control characters"]);
        assert_eq!((options.text(&RECEIPT), options.text(&TIMEOUT)), (None, Some("2s")));
        assert!(Options::tolerant(&[("receipt".to_owned(), Some("a\nb".to_owned()))].into(), &env).is_err());
    }

    #[test]
    fn a_name_counts_exactly_as_it_is_written() {
        let options = options(&[], &[("JOBPASS_server", "https://evil"), ("jobpass_server", "https://evil"), ("JOBPASS_TTL", "1h")]);
        let options = options.expect("valid");
        assert_eq!((options.text(&SERVER), options.text(&TTL)), (None, Some("1h")));
    }
}
