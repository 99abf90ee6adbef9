//! A plain shell: a directory of the user's own, and no masks.

use std::path::PathBuf;

use super::Base;
use crate::env::Env;

/// The session's directory in memory if there is one, else a private directory in the one for temporary files.
pub(super) fn base(env: &Env, user: u32) -> Base {
    if let Some(path) = session(env) {
        return Base { of_session: true, ..Base::at(path) };
    }
    let temporary = env.path("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), |path| env.absolute(&path));
    Base { private: true, ..Base::at(temporary.join(format!("jobpass-{user}"))) }
}

/// `XDG_RUNTIME_DIR`. The specification demands that a relative path in it is ignored:
/// <https://specifications.freedesktop.org/basedir-spec/latest/>.
pub(super) fn session(env: &Env) -> Option<PathBuf> {
    env.path("XDG_RUNTIME_DIR").filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::env, *};

    #[test]
    fn without_a_session_directory_it_is_named_after_the_user() {
        let base = base(&env(&[("TMPDIR", "/t")]), 7);
        assert_eq!((base.path.to_str(), base.private), (Some("/t/jobpass-7"), true));
    }

    #[test]
    fn the_session_directory_comes_first() {
        let base = base(&env(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("TMPDIR", "/t")]), 7);
        assert_eq!((base.path.to_str(), base.private), (Some("/run/user/7"), false));
    }

    #[test]
    fn a_relative_session_directory_is_none_and_a_relative_temporary_one_is_completed() {
        let base = base(&env(&[("TMPDIR", "t"), ("XDG_RUNTIME_DIR", "run")]), 7);
        assert_eq!((base.path.to_str(), base.private), (Some("/t/jobpass-7"), true));
    }
}
