//! The only reader of the process environment: one snapshot at the start, with typed getters.
#![expect(clippy::disallowed_methods, reason = "this is the one door to the environment")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use serde::de::{self, DeserializeOwned, Deserializer, Visitor, value};

use crate::secret::Secret;

/// The environment at the start of the process. Its `Debug` shows names only, as any value may be a secret.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    /// Names of the variables whose value is not UTF-8.
    unreadable: BTreeSet<String>,
    directory: PathBuf,
    /// Our own executable.
    program: Option<PathBuf>,
}

impl Env {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let directory = std::env::current_dir().unwrap_or_default();
        let mut env = Self { directory, program: std::env::current_exe().ok(), ..Self::default() };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(env.variables.insert(name, value)),
                Err(_) => drop(env.unreadable.insert(name)),
            }
        }
        env
    }

    /// Whether a variable is set, but not UTF-8.
    #[must_use]
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
    }

    /// The value of a variable; an empty one counts as unset, as CI systems cannot unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a terminal of ours may show colours: `NO_COLOR` says no to all programs (<https://no-color.org>).
    #[must_use]
    pub fn allows_colours(&self) -> bool {
        self.get("NO_COLOR").is_none() && self.get("TERM") != Some("dumb")
    }

    /// The same environment without one variable.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut env = self.clone();
        env.variables.remove(name);
        env
    }

    /// Whether a variable is set but empty: an absent CI secret looks like that.
    #[must_use]
    pub fn is_empty(&self, name: &str) -> bool {
        self.variables.get(name).is_some_and(String::is_empty)
    }

    /// Whether the value of a variable is `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The value of a variable that holds a secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.get(name).map(|value| Secret::new(value.to_owned()))
    }

    /// The value of a variable that holds a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// The path of our own executable, as far as the system says it.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// A path made absolute, relative to our working directory at the start.
    #[must_use]
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The names of all variables with this prefix.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.variables.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// The paths in a list such as `PATH`, each made absolute.
    #[must_use]
    pub fn paths(&self, list: &str) -> Vec<PathBuf> {
        let given = std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty());
        given.map(|path| self.absolute(&path)).collect()
    }

    /// Whether some variable of this job has exactly this path as its value.
    ///
    /// A branch may be called `feature/x`, and a title may be any text. So in variables that are not meant for paths only an
    /// absolute path counts, and only if it is the whole value. Among GitLab's predefined variables only those count whose file has
    /// the variable's name, as the project's file variables have
    /// (<https://docs.gitlab.com/ci/variables/#use-file-type-cicd-variables>).
    #[must_use]
    pub fn names_path(&self, path: &Path) -> bool {
        self.variables.iter().any(|(name, value)| {
            let is_predefined = || name.starts_with("CI_") || name.starts_with("GITLAB_");
            match name.as_str() {
                "KUBECONFIG" | "KUBE_CONFIG_PATHS" => self.paths(value).iter().any(|named| named == path),
                "JOBPASS_KUBECONFIG" | "JOBPASS_IDENTITY_TOKEN_FILE" => !value.is_empty() && self.absolute(value.as_ref()) == path,
                _ => Path::new(value).is_absolute() && Path::new(value) == path && (!is_predefined() || path.ends_with(name)),
            }
        })
    }

    /// The names of all variables with this prefix in upper or lower case, UTF-8 values or not.
    pub fn names_like(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let begins = move |name: &&str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
        self.variables.keys().chain(&self.unreadable).map(String::as_str).filter(begins)
    }

    /// What a CI system says in variables that begin so, each in a field of type `Option<String>`: `GITHUB_RUN_ID` in `run_id`.
    ///
    /// No other variable is looked at or copied: a job has hundreds, and some of them are secrets, which [`Env::secret`] reads one by one.
    #[must_use]
    pub fn typed<T: DeserializeOwned + Default>(&self, prefix: &str) -> T {
        let variables = fields::<T>().iter().filter_map(|field| {
            let name = prefix.to_owned() + &field.to_ascii_uppercase();
            let value = self.get(&name)?.to_owned();
            Some((name, value))
        });
        envy::prefixed(prefix).from_iter(variables).unwrap_or_default()
    }
}

/// The names of a struct's fields, as its `Deserialize` says them to whatever it is read from.
fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Asked(&'static [&'static str]);

    impl<'de> Deserializer<'de> for &mut Asked {
        type Error = value::Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            self.0 = fields;
            Err(de::Error::custom("only its fields are wanted"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("it is no struct"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
            tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut asked = Asked(&[]);
    // It ends with an error in any case.
    let _ = T::deserialize(&mut asked);
    asked.0
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, directory: PathBuf::from("/"), ..Self::default() }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_unset_but_known_to_be_empty() {
        let env: Env = [("A", ""), ("B", "b")].into_iter().collect();
        assert_eq!(env.get("A"), None);
        assert!(env.is_empty("A") && !env.is_empty("B") && !env.is_empty("C"));
    }

    #[test]
    fn a_variable_of_a_platform_counts_as_it_is_written_and_where_it_says_something() {
        #[derive(Default, PartialEq, Debug, serde::Deserialize)]
        struct Said {
            run_id: Option<String>,
            job: Option<String>,
        }
        let env: Env =
            [("CI_JOB_TOKEN", "secret"), ("CI_RUN_ID", "7"), ("CI_run_id", "8"), ("ci_run_id", "9"), ("CI_JOB", ""), ("JOB", "x")]
                .into_iter()
                .collect();
        assert_eq!(env.typed::<Said>("CI_"), Said { run_id: Some("7".into()), job: None });
    }

    #[test]
    fn names_are_alike_in_whatever_case() {
        let env: Env = [("JOBPASS_A", ""), ("jobpass_a", ""), ("JOBPAS", ""), ("XJOBPASS_A", ""), ("JOBPASSä", "")].into_iter().collect();
        assert_eq!(env.names_like("JOBPASS_").collect::<Vec<_>>(), ["JOBPASS_A", "jobpass_a"]);
    }

    #[test]
    fn a_path_is_named_in_full_or_not_at_all() {
        let env: Env = [
            ("CI_COMMIT_REF_NAME", "builds/x"),
            ("CI_COMMIT_TITLE", "/builds/title"),
            ("CI_STAGING", "/builds/p.tmp/CI_STAGING"),
            ("STAGING", "/builds/p.tmp/STAGING"),
            ("NOTE", "see /builds/note"),
            ("PATHS", "/builds/a:/builds/b"),
            ("KUBECONFIG", "/builds/c:builds/d"),
            ("JOBPASS_KUBECONFIG", "builds/e"),
        ]
        .into_iter()
        .collect();
        for path in ["/builds/p.tmp/CI_STAGING", "/builds/p.tmp/STAGING", "/builds/c", "/builds/d", "/builds/e"] {
            assert!(env.names_path(Path::new(path)), "{path}");
        }
        for path in ["/builds/x", "/builds/title", "/builds/note", "/builds/a", "/builds/b", "/builds", "/"] {
            assert!(!env.names_path(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn debug_shows_names_and_no_value() {
        let env: Env = [("TOKEN", "hunter2")].into_iter().collect();
        assert_eq!(format!("{env:?}"), r#"["TOKEN"]"#);
    }
}
