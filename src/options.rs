//! The settings of this run, resolved once for all verbs: flag, action input, `JOBPASS_*` variable, default.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use jiff::SignedDuration;

use crate::{
    action::Phase,
    failure::{Code, Failure},
    secret::Secret,
};

pub mod call;
mod given;
mod piped;
mod resolve;
mod settings;
pub mod unknown;

pub use call::{Call, REACHED};
pub use given::{Given, Source};
pub use settings::*;

use settings::CONNECTION;

/// The flags that a verb takes, by name, each with its text if the command line gives it; the items of a list are on lines of their
/// own.
pub type Flags = BTreeMap<String, Option<String>>;

/// All settings of this run, by one precedence: flag, action input, `JOBPASS_*`, default. Empty counts as unset.
#[derive(Clone, Debug, Default)]
pub struct Options {
    plain: BTreeMap<&'static str, Given>,
    secret: BTreeMap<&'static str, (Secret, Source)>,
    empty: Vec<String>,
    piped: RefCell<BTreeMap<&'static str, Secret>>,
    /// The step of our GitHub action, if its shim has started us; inputs count only then.
    phase: Option<Phase>,
    /// Settings with an invalid text, and why. They count as not set, and no source of a lower rank takes their place.
    bad: BTreeMap<&'static str, Failure>,
}

impl Options {
    /// The step of our GitHub action, if its shim has started us.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// Whether this is the post step of our action: it fails only if the revocation itself fails.
    #[must_use]
    pub fn is_post(&self) -> bool {
        self.phase == Some(Phase::Post)
    }

    /// The value of a setting, the default included.
    #[must_use]
    pub fn get(&self, setting: &Setting) -> Option<&Given> {
        self.plain.get(setting.name)
    }

    /// The value of a setting, if it is set and not just the default.
    #[must_use]
    pub fn chosen(&self, setting: &Setting) -> Option<&Given> {
        self.get(setting).filter(|given| !matches!(given.source, Source::Default(_)))
    }

    /// The value of a setting, if it was given as a flag.
    #[must_use]
    pub fn flag(&self, setting: &Setting) -> Option<&Given> {
        self.get(setting).filter(|given| matches!(given.source, Source::Flag(_)))
    }

    /// The value read from these settings, for a verb that goes on without an invalid one: then the default value, and the reason.
    /// An invalid flag remains an error, as the call itself is wrong.
    ///
    /// # Errors
    /// When the value is invalid and one of the settings was given as a flag.
    pub fn tolerated<T: Default>(&self, settings: &[&Setting], read: Result<T, Failure>) -> Result<(T, Option<Failure>), Failure> {
        match read {
            Ok(value) => Ok((value, None)),
            Err(failure) if settings.iter().any(|setting| self.flag(setting).is_some()) => Err(failure),
            Err(failure) => Ok((T::default(), Some(failure))),
        }
    }

    /// The same settings without some of them.
    #[must_use]
    pub fn without(&self, settings: &[&Setting]) -> Self {
        let mut options = self.clone();
        for setting in settings {
            options.plain.remove(setting.name);
            options.secret.remove(setting.name);
        }
        options
    }

    /// The names of the connection settings that are set, for the lease.
    #[must_use]
    pub fn connection(&self) -> Vec<String> {
        let is_set = |setting: &&&Setting| self.chosen(setting).is_some() || self.secret(setting).is_some();
        CONNECTION.iter().filter(is_set).map(|setting| setting.name.to_owned()).collect()
    }

    /// Keeps only these of the connection settings. The others were set after the main step of our action, by another step of the
    /// job.
    pub fn forget_other_connections(&mut self, names: &[String]) {
        for setting in CONNECTION.iter().filter(|setting| !names.iter().any(|name| name == setting.name)) {
            self.plain.remove(setting.name);
            self.secret.remove(setting.name);
        }
    }

    /// The settings that came from an input of our GitHub action.
    #[must_use]
    pub fn inputs(&self) -> Vec<&'static Setting> {
        let is_input = |setting: &&&Setting| {
            let source = self.get(setting).map(|given| &given.source).or_else(|| self.secret(setting).map(|(_, source)| source));
            matches!(source, Some(Source::Input(_)))
        };
        ALL.iter().filter(is_input).copied().collect()
    }

    /// How a message names a setting that is set: by its source, such as `--ttl` or input `ttl`.
    #[must_use]
    pub fn named(&self, setting: &Setting) -> String {
        let source = self.get(setting).map(|given| &given.source).or_else(|| self.secret(setting).map(|(_, source)| source));
        source.map_or_else(|| self.missing(setting), Source::to_string)
    }

    /// How a message names a setting that is not set.
    #[must_use]
    pub fn missing(&self, setting: &Setting) -> String {
        if self.phase.is_some() {
            return Source::Input(setting.name).to_string();
        }
        match setting.kind {
            Kind::Secret => format!("`{}`", setting.variable()),
            Kind::Text | Kind::Switch | Kind::List => format!("`--{}` (or `{}`)", setting.name, setting.variable()),
        }
    }

    /// The text of a setting, the default included.
    #[must_use]
    pub fn text(&self, setting: &Setting) -> Option<&str> {
        self.get(setting).map(|given| given.text.as_str())
    }

    /// A secret setting and its source.
    #[must_use]
    pub fn secret(&self, setting: &Setting) -> Option<&(Secret, Source)> {
        self.secret.get(setting.name)
    }

    /// Identity inputs and variables that are set but empty, as CI systems leave them for pull requests of forks.
    #[must_use]
    pub fn empty_secrets(&self) -> &[String] {
        &self.empty
    }

    /// A setting that is `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn switch(&self, setting: &Setting) -> Result<bool, Failure> {
        match self.get(setting) {
            None => Ok(false),
            Some(Given { text, .. }) if text == "true" => Ok(true),
            Some(Given { text, .. }) if text == "false" => Ok(false),
            Some(Given { source, .. }) => Err(Failure::new(Code::UsageValue, format!("{source} is neither `true` nor `false`"))),
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn list(&self, setting: &Setting) -> Vec<&str> {
        self.text(setting).into_iter().flat_map(str::split_whitespace).collect()
    }

    /// A setting that is a length of time within bounds, in whole seconds.
    ///
    /// # Errors
    /// When it is no length of time or out of bounds.
    pub fn duration(&self, setting: &Setting, bounds: (Duration, Duration)) -> Result<Option<Duration>, Failure> {
        let Some(given) = self.get(setting) else { return Ok(None) };
        let hint = "write a length of time such as `30s`, `15m`, `1h` or `1h30m`; a bare number is seconds";
        let seconds = given.text.parse::<u64>().ok().map(Duration::from_secs);
        let parsed = seconds.or_else(|| given.text.parse::<SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok()));
        let Some(length) = parsed else {
            return Err(Failure::new(Code::UsageValue, format!("{} is no length of time", given.source)).hint(hint));
        };
        // A fraction of a second is dropped, so that what counts is what we tell.
        let whole = Duration::from_secs(length.as_secs());
        if whole < bounds.0 || whole > bounds.1 {
            let (least, most) = (human(bounds.0), human(bounds.1));
            let failure = Failure::new(Code::UsageValue, format!("{} is {}, but must be {least} to {most}", given.source, human(length)));
            // Who writes `60` may have minutes in mind.
            return Err(if seconds.is_some() { failure.hint(hint) } else { failure });
        }
        Ok(Some(whole))
    }

    /// Refuses two settings that cannot both hold.
    ///
    /// # Errors
    /// When both are set.
    pub fn exclusive(&self, one: &Setting, other: &Setting) -> Result<(), Failure> {
        match (self.source(one), self.source(other)) {
            (Some(one), Some(other)) => {
                Err(Failure::new(Code::UsageConflict, format!("{one} and {other} exclude each other")).hint("give one of them"))
            }
            _ => Ok(()),
        }
    }

    /// The source of a setting or secret that is set; a switch that says `false` counts as not set.
    fn source(&self, setting: &Setting) -> Option<&Source> {
        let plain = self.chosen(setting).filter(|given| setting.kind != Kind::Switch || given.text == "true");
        plain.map(|given| &given.source).or_else(|| self.secret(setting).map(|(_, source)| source))
    }
}

/// A length of time in the form that users write: `1h`, `10m`, `90s`.
#[must_use]
pub fn human(length: Duration) -> String {
    match length.as_secs() {
        0 if !length.is_zero() => format!("{} ms", length.as_millis()),
        seconds if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds >= 3600 && seconds % 60 == 0 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(flags: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Options, Failure> {
        let flags = flags.iter().map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned()))).collect();
        Options::resolve(&flags, &env.iter().copied().collect())
    }

    #[test]
    fn lengths_of_time_are_read_and_bounded() {
        let bounds = (Duration::from_mins(10), Duration::from_hours(24));
        let ttl = |text: &str| options(&[("ttl", text)], &[]).expect("valid").duration(&TTL, bounds);
        for (text, seconds) in [("1h", 3600), ("90m", 5400), ("1h30m", 5400), ("600", 600), ("600s", 600), ("24h", 86400)] {
            assert_eq!(ttl(text).expect(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["1 parsec", "-1h", "", "h", "1.5"] {
            if !text.is_empty() {
                assert_eq!(ttl(text).expect_err(text).exit().code(), 2, "{text}");
            }
        }
        assert_eq!(ttl("24h0.5s"), Ok(Some(Duration::from_hours(24))), "no figure that is told to be out of bounds is within them");
        assert_eq!(ttl("599.5s").expect_err("short").to_string(), "error: `--ttl` is 599s, but must be 10m to 24h");
        assert_eq!(ttl("9m").expect_err("short").to_string(), "error: `--ttl` is 9m, but must be 10m to 24h");
        for (bare, shown) in [("60", "1m"), ("0", "0s")] {
            let said = ttl(bare).expect_err("short").to_string();
            assert!(said.starts_with(&format!("error: `--ttl` is {shown}, but")) && said.ends_with("a bare number is seconds"), "{said}");
        }
    }

    #[test]
    fn exclusive_settings_are_both_named() {
        let options = options(&[("lease", "ci/a")], &[("JOBPASS_ALL", "true")]).expect("valid");
        let failure = options.exclusive(&LEASE, &ALL_LEASES).expect_err("both");
        assert_eq!(failure.to_string(), "error: `--lease` and `JOBPASS_ALL` exclude each other\n\nhint: give one of them");
    }

    #[test]
    fn a_switch_that_says_false_excludes_nothing() {
        let options = options(&[("variable", "X")], &[("JOBPASS_NO_VARIABLE", "false")]).expect("valid");
        assert!(options.exclusive(&VARIABLE, &NO_VARIABLE).is_ok());
        assert!(!options.switch(&NO_VARIABLE).expect("a switch"));
    }

    #[test]
    fn a_switch_takes_true_and_false_only() {
        let failure = options(&[], &[("JOBPASS_STRICT", "yes")]).expect("valid").switch(&STRICT).expect_err("yes");
        assert_eq!(failure.to_string(), "error: `JOBPASS_STRICT` is neither `true` nor `false`");
    }

    #[test]
    fn help_says_the_default() {
        for setting in ALL {
            // The default is written out in the help text, so that it need not be assembled at every start; this checks that they
            // agree.
            let said = setting.help.split_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
            if let Some(default) = setting.default {
                assert_eq!(said, Some(default), "{}", setting.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let mut names: Vec<_> = ALL.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    }
}
