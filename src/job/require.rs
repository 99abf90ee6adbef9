//! The story of `require`: whether this job has a pass, answered from what is here, without asking anybody.

use std::path::PathBuf;

use jiff::Timestamp;

use super::Job;
use crate::{
    failure::Failure,
    identity::kubeconfig::pass_of,
    jwt::Claims,
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
        let Some(first) = files.first() else { return Err(self.no_pass()) };
        let token = files.iter().find_map(|path| place::read_named(path).ok()).map(Secret::new).ok_or_else(|| {
            Failure::new("the pass of this job is over")
                .cause(format!("its token file `{}` is gone", first.display()))
                .hint("it was revoked: request another one, or revoke later")
        })?;
        let unreadable = || Failure::new("cannot tell whether this job has a pass").cause("its token file holds no token of a pass");
        let claims = Claims::of(&token).ok_or_else(unreadable)?;
        let (Some(lease), Some(until), Some(account)) = (claims.lease(), claims.expires_at(), claims.service_account()) else {
            return Err(unreadable());
        };
        if until <= Timestamp::now() {
            return Err(Failure::new(format!("the pass `{lease}` has expired"))
                .cause(format!("its token was valid until {}", instant(until)))
                .hint("request it with a longer `--ttl`, or run the command by `jobpass run`, which renews the token"));
        }
        if let Some(wanted) = wanted.filter(|wanted| *wanted != account) {
            return Err(Failure::new(format!("the pass of this job is for service account `{account}`, not for `{wanted}`"))
                .hint(format!("request one for `{wanted}` in this job")));
        }
        out.say(format!("this job has a pass for service account `{account}` until {}, lease `{lease}`", instant(until)));
        Ok(())
    }

    /// Where the token of the job's pass may be, as far as its environment says: the first that is there is the one.
    fn token_files(&self) -> Vec<PathBuf> {
        let Self { env, options, platform, user, .. } = self;
        let mut files: Vec<_> = env.path("JOBPASS_TOKEN_FILE").into_iter().collect();
        let configs = env.get("KUBECONFIG").map(|list| env.paths(list)).unwrap_or_default();
        for (path, mark) in configs.into_iter().filter_map(|path| pass_of(&path).map(|mark| (path, mark))) {
            files.extend(path.parent().map(|directory| directory.join(place::TOKEN)));
            // The kubeconfig may have been written elsewhere; with a trace on, no other variable is exported.
            let base = platform.base(env, options.text(&o::DIR), *user).ok();
            let name = mark.lease.split_once('/').map(|(_, name)| name).filter(|name| crate::name::is_name(name));
            files.extend(base.zip(name).map(|(base, name)| Place::of(&base, name).file(place::TOKEN)));
        }
        files
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
