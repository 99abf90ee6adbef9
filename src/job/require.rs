//! The story of `require`: whether this job has a pass, answered from what is here, without asking anybody.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Job;
use crate::{
    failure::Failure,
    identity::kubeconfig::pass_of,
    jwt::Claims,
    name::is_name,
    options as o,
    out::{Out, instant},
    place::{self, Place},
    platform::Platform,
    secret::Secret,
    spec,
};

impl Job {
    /// Fails where the job has no pass that it could use: before a command does, less clearly or as somebody else.
    ///
    /// # Errors
    /// When there is none, it is over, or it is for another service account than the one that is named.
    pub fn require(&self, out: &Out) -> Result<(), Failure> {
        // Its name is checked first, so that a wrong one never looks like a missing pass.
        let wanted = spec::service_account(&self.options)?.map(|account| account.to_string());
        let files = self.token_files();
        if files.is_empty() {
            return Err(self.no_pass());
        }
        let Some(file) = files.iter().find(|path| path.exists()) else {
            return Err(Failure::new("the pass of this job is over")
                .cause(format!("its token file `{}` is gone", files[0].display()))
                .hint("it was revoked: request another one, or revoke later"));
        };
        let token = place::read_named(file).map(Secret::new).map_err(|error| {
            Failure::new("cannot tell whether this job has a pass").cause(format!("its token file `{}`: {error}", file.display()))
        })?;
        let unreadable = || Failure::new("cannot tell whether this job has a pass").cause("its token file holds no token of a pass");
        let claims = Claims::of(&token).ok_or_else(unreadable)?;
        let (Some(lease), Some(until), Some(account)) = (claims.lease(), claims.expires_at(), claims.service_account()) else {
            return Err(unreadable());
        };
        if until <= Timestamp::now() {
            return Err(Failure::new(format!("the pass `{lease}` has expired"))
                .cause(format!("its token was valid until {}, which is over by this machine's clock", instant(until)))
                .hint("request it with a longer `--ttl`, or run the command by `jobpass run`, which renews the token"));
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != account) {
            return Err(Failure::new(format!("the pass of this job is for service account `{account}`, not for `{wanted}`"))
                .hint(format!("request one for `{wanted}` in this job")));
        }
        self.is_used(file)?;
        out.say(format!("this job has a pass for service account `{account}` until {}, lease `{lease}`", instant(until)));
        Ok(())
    }

    /// Where the token of the job's pass may be, as far as its environment says: the first that is there is the one.
    pub(super) fn token_files(&self) -> Vec<PathBuf> {
        let Self { env, options, platform, user, .. } = self;
        let mut files: Vec<_> = env.path("JOBPASS_TOKEN_FILE").into_iter().collect();
        let configs = env.get("KUBECONFIG").map(|list| env.paths(list)).unwrap_or_default();
        let is_place = |directory: &&Path| directory.file_name().and_then(|name| name.to_str()).is_some_and(is_name);
        // That of a pass that is over, which may be all that says there was one.
        let gone = configs.iter().filter(|path| !path.exists()).filter_map(|path| path.parent()).filter(is_place);
        files.extend(gone.map(|directory| directory.join(place::TOKEN)));
        for (path, mark) in configs.into_iter().filter_map(|path| pass_of(&path).map(|mark| (path, mark))) {
            files.extend(path.parent().map(|directory| directory.join(place::TOKEN)));
            // The kubeconfig may have been written elsewhere; with a trace on, no other variable is exported.
            let base = platform.base(env, options.text(&o::DIR), *user).ok();
            let name = mark.lease.split_once('/').map(|(_, name)| name).filter(|name| is_name(name));
            let place = base.zip(name).map(|(base, name)| Place::of(&base, name));
            files.extend(place.iter().flat_map(|place| place.files(place::TOKEN)));
        }
        files
    }

    /// Fails where the pass has a kubeconfig and kubectl would take another one.
    fn is_used(&self, token: &Path) -> Result<(), Failure> {
        let ours = token.with_file_name(place::KUBECONFIG);
        let listed = self.env.get("KUBECONFIG").map(|list| self.env.paths(list)).unwrap_or_default();
        match listed.into_iter().find(|path| path.exists()) {
            // Written elsewhere, or not at all: then another one is what was wanted.
            _ if !ours.exists() => Ok(()),
            Some(first) if first == ours || pass_of(&first).is_some() => Ok(()),
            first => Err(Failure::new("this job has a pass, but kubectl would not use it")
                .cause(match first {
                    Some(first) => format!("`KUBECONFIG` is `{}`", first.display()),
                    None => "`KUBECONFIG` is not set".to_owned(),
                })
                .hint(format!("set it to `{}`, or request with `--no-kubeconfig`", ours.display()))),
        }
    }

    fn no_pass(&self) -> Failure {
        let failure = Failure::new("this job has no pass")
            .cause("neither is `JOBPASS_TOKEN_FILE` set, nor is the kubeconfig of a pass in `KUBECONFIG`");
        failure.hint(match self.platform {
            Platform::Github => "use the jobpass action in a step before this one, or run the command by `jobpass run`",
            Platform::Gitlab => {
                "a job's own `before_script` takes the place of the one that it extends: begin it with `- !reference [.jobpass, before_script]`"
            }
            Platform::Tekton | Platform::Local => "begin one with `. \"$(jobpass request)\"`, or run the command by `jobpass run`",
        })
    }
}
