//! The platforms that `revoke` considers: a variable can add one, but never remove one.

use super::{Platform, tekton};
use crate::{
    env::Env,
    failure::{Code, Failure},
    options::{self as o, Options},
};

/// The platforms on which passes are looked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Markers {
    /// The platform that decides how `revoke` behaves.
    pub platform: Platform,
    /// Other platforms on which passes are looked for as well.
    pub others: Vec<Platform>,
    /// The warning, if a variable or input names no platform, or another one than the runner's marker.
    pub passed_over: Option<Failure>,
}

impl Platform {
    /// The platforms whose markers are present, and the one that a variable names; if a flag names one, only that. Where there is
    /// none, it is a plain shell, even on an unknown CI system: looking for passes there does no harm.
    ///
    /// # Errors
    /// When a flag names no known platform.
    pub fn markers(options: &Options, env: &Env, in_tekton: impl Fn() -> bool) -> Result<Markers, Failure> {
        if options.flag(&o::PLATFORM).is_some() {
            let platform = Self::detect(options, env, in_tekton)?;
            return Ok(Markers { platform, others: Vec::new(), passed_over: None });
        }
        let mut platforms: Vec<_> = Self::ALL.into_iter().filter(|platform| platform.marker(env, &in_tekton).is_some()).collect();
        if platforms.is_empty() && tekton::is_named(env) {
            platforms.extend([Self::Tekton, Self::Local]);
        }
        let mut passed_over = None;
        if let Some(given) = options.chosen(&o::PLATFORM).filter(|given| given.text != "auto") {
            match Self::ALL.into_iter().find(|platform| platform.name() == given.text) {
                None => passed_over = Some(Failure::new(Code::UsageValue, format!("{} names no platform", given.source))),
                Some(platform) if platforms.is_empty() => platforms.extend([platform, Self::Local]),
                Some(platform) if platforms.contains(&platform) => {}
                Some(platform) => {
                    passed_over = Some(Failure::new(
                        Code::PlatformUnclear,
                        format!("{} says that this is no {} job, but its runner says so", given.source, platforms[0].shown()),
                    ));
                    platforms.push(platform);
                }
            }
        }
        platforms.dedup();
        let mut platforms = platforms.into_iter();
        let platform = platforms.next().unwrap_or(Self::Local);
        Ok(Markers { platform, others: platforms.collect(), passed_over })
    }

    /// The platform's name as people write it.
    fn shown(self) -> &'static str {
        match self {
            Self::Github => "GitHub",
            Self::Gitlab => "GitLab",
            Self::Tekton => "Tekton",
            Self::Local => "local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markers(flag: Option<&str>, variables: &[(&str, &str)], in_tekton: bool) -> (Platform, Vec<Platform>, Option<String>) {
        let flags = flag.map(|text| ("platform".to_owned(), Some(text.to_owned()))).into_iter().collect();
        let env = variables.iter().copied().collect();
        let options = Options::tolerant(&flags, &env).expect("valid");
        let Markers { platform, others, passed_over } = Platform::markers(&options, &env, || in_tekton).expect("a platform");
        (platform, others, passed_over.map(|failure| failure.brief()))
    }

    #[test]
    fn a_variable_adds_a_platform_and_takes_none_away() {
        use Platform::{Github, Gitlab, Local, Tekton};
        let gitlab = ("GITLAB_CI", "true");
        assert_eq!(markers(None, &[gitlab], false), (Gitlab, vec![], None));
        let said = Some("`JOBPASS_PLATFORM` says that this is no GitLab job, but its runner says so".to_owned());
        assert_eq!(markers(None, &[gitlab, ("JOBPASS_PLATFORM", "local")], false), (Gitlab, vec![Local], said));
        assert_eq!(markers(None, &[gitlab, ("GITHUB_ACTIONS", "true")], true), (Github, vec![Gitlab, Tekton], None));
        assert_eq!(markers(None, &[("JOBPASS_PLATFORM", "tekton")], false), (Tekton, vec![Local], None));
        assert_eq!(markers(None, &[("JOBPASS_PLATFORM", "local"), ("CI", "true")], false), (Local, vec![], None));
    }

    #[test]
    fn nonsense_and_an_unknown_system_are_no_reason_to_stop() {
        let said = Some("`JOBPASS_PLATFORM` names no platform".to_owned());
        assert_eq!(markers(None, &[("JOBPASS_PLATFORM", "jenkins"), ("CI", "true")], false), (Platform::Local, vec![], said));
        assert_eq!(markers(None, &[("BUILD_ID", "7")], false).0, Platform::Local);
    }

    #[test]
    fn a_flag_beats_everything() {
        let env = [("GITLAB_CI", "true"), ("JOBPASS_PLATFORM", "github")];
        assert_eq!(markers(Some("local"), &env, true), (Platform::Local, vec![], None));
    }
}
