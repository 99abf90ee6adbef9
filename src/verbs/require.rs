//! `jobpass require`: checks whether this job has a pass, from local files alone.

use std::{path::Path, process::ExitCode};

use jiff::Timestamp;

use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    job::current,
    jwt::Claims,
    name,
    options::{self as o, Call},
    out::{Out, instant},
    pass_extension::PassExtension,
    platform::Platform,
    secret::Secret,
    spec, store,
};

/// The verb's command line.
pub const CALL: Call = Call {
    name: "require",
    about: "Fail clearly where this job has no pass, without asking the API server",
    after: "For the head of a script whose pass is begun elsewhere, so that no command goes on without it or as somebody else.
With --service-account the pass must be for that one.",
    settings: &[&o::SERVICE_ACCOUNT, &o::NAMESPACE, &o::PLATFORM, &o::DIR],
    otherwise: &[],
    connects: false,
    in_action: false,
    takes_command: false,
};

/// Fails if the job has no usable pass, before a command fails less clearly, or runs as somebody else.
///
/// # Errors
/// When there is no pass, it is over, or it is for another service account than the one named.
pub fn require(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    // Checked first, so that a wrong name never looks like a missing pass.
    let wanted = spec::service_account(&context.options)?.map(|account| account.to_string());
    let files = current::token_files(context);
    if files.is_empty() {
        return Err(no_pass(context));
    }
    let Some(file) = files.iter().find(|path| path.exists()) else {
        return Err(Failure::new(Code::PassOver, "the pass of this job is over")
            .cause(format!("its token file `{}` is gone", files[0].display()))
            .hint("it was revoked: request another one, or revoke later"));
    };
    let token = files::read_text(file).map(Secret::new).map_err(|error| {
        Failure::new(Code::PassUnclear, "cannot tell whether this job has a pass")
            .cause(format!("its token file `{}`: {error}", file.display()))
    })?;
    let unreadable =
        || Failure::new(Code::PassUnclear, "cannot tell whether this job has a pass").cause("its token file holds no token of a pass");
    let claims = Claims::of(&token).ok_or_else(unreadable)?;
    let (Some(lease), Some(until), Some(account)) = (claims.lease(), claims.expires_at(), claims.service_account()) else {
        return Err(unreadable());
    };
    if until <= Timestamp::now() {
        return Err(Failure::new(Code::PassExpired, format!("the pass `{}` has expired", name::short(&lease)))
            .cause(format!("its token was valid until {}, which is over by this machine's clock", instant(until)))
            .hint("request it with a longer `--ttl`, or run the command by `jobpass run`, which renews the token"));
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted != account) {
        return Err(Failure::new(
            Code::PassOtherAccount,
            format!("the pass of this job is for service account `{account}`, not for `{wanted}`"),
        )
        .hint(format!("request one for `{wanted}` in this job")));
    }
    is_used(context, file)?;
    out.say(format!("this job has a pass for service account `{account}` until {}, lease `{}`", instant(until), name::short(&lease)));
    Ok(ExitCode::SUCCESS)
}

/// Fails if the pass has a kubeconfig, but kubectl would use another one.
fn is_used(context: &Context, token: &Path) -> Result<(), Failure> {
    let ours = token.with_file_name(store::KUBECONFIG);
    let listed = context.env.get("KUBECONFIG").map(|list| context.env.paths(list)).unwrap_or_default();
    match listed.into_iter().find(|path| path.exists()) {
        // The kubeconfig was written elsewhere or not at all, so another one may be intended.
        _ if !ours.exists() => Ok(()),
        Some(first) if first == ours || PassExtension::of_file(&first).is_some() => Ok(()),
        first => Err(Failure::new(Code::PassUnused, "this job has a pass, but kubectl would not use it")
            .cause(match first {
                Some(first) => format!("`KUBECONFIG` is `{}`", first.display()),
                None => "`KUBECONFIG` is not set".to_owned(),
            })
            .hint(format!("set it to `{}`, or request with `--no-kubeconfig`", ours.display()))),
    }
}

fn no_pass(context: &Context) -> Failure {
    let failure = Failure::new(Code::PassMissing, "this job has no pass")
        .cause("neither is `JOBPASS_TOKEN_FILE` set, nor is the kubeconfig of a pass in `KUBECONFIG`");
    failure.hint(match context.platform {
        Platform::Github => "use the jobpass action in a step before this one, or run the command by `jobpass run`",
        Platform::Gitlab => {
            "a job's own `before_script` takes the place of the one that it extends: begin it with `- !reference [.jobpass, before_script]`"
        }
        Platform::Tekton | Platform::Local => "begin one with `. \"$(jobpass request)\"`, or run the command by `jobpass run`",
    })
}
