//! That a job has no CI identity: what was looked for, and what each CI system needs to give one.

use super::{
    kubeconfig::Instead,
    migrating, oidc,
    source::{Kind, SOURCES},
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    options as o,
    origin::Origin,
    platform::Platform,
};

/// The names of everything that was looked for, for the message that nothing was found.
fn names() -> String {
    let names: Vec<_> = SOURCES.iter().filter_map(|source| source.name()).map(|name| format!("no {name}")).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{}, and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

/// The failure that there is no CI identity. A GitHub input or GitLab variable that is set but empty is a sign of a missing secret.
pub(super) fn none(context: &Context, kind: Option<Kind>) -> Failure {
    let Context { options, env, platform, .. } = context;
    let empty = options.empty_secrets();
    let are_empty = format!("{} {} empty", empty.join(" and "), if empty.len() == 1 { "is" } else { "are" });
    // A server and nothing else: the job's own OIDC token is meant, unless a stored one was. An input may be empty for either reason.
    if kind.is_none() && options.get(&o::SERVER).is_some() && env.get("KUBECONFIG").is_none() {
        match platform {
            Platform::Github if empty.is_empty() => return migrating::told(without_oidc(context), context),
            Platform::Github => return without_oidc(context).cause(format!("no identity is stored for it either: {are_empty}")),
            Platform::Gitlab | Platform::Tekton | Platform::Local => {}
        }
    }
    let failure = Failure::new(Code::IdentityMissing, "there is no CI identity to ask the API server with");
    // The platform's half is there. A variable of the CI system that this job is not given looks like one that nobody has set.
    let is_half_there = kind.is_none() && empty.is_empty() && options.get(&o::SERVER).is_none() && oidc::is_there(context);
    let instead = Instead::of(context).filter(|_| empty.is_empty() && !is_half_there);
    let failure = match env.get("KUBECONFIG") {
        Some(_) if instead == Some(Instead::Over) => failure.cause("`KUBECONFIG` names the kubeconfig of a pass that is over"),
        Some(_) if instead == Some(Instead::Pass) => {
            failure.cause("`KUBECONFIG` is the kubeconfig of a pass, and what that was requested with is not here any more")
        }
        _ if is_half_there => failure.cause("this job has an OIDC token, but it is not said which API server that is for"),
        _ if !empty.is_empty() => failure.cause(are_empty),
        Some(_) => failure.cause("`KUBECONFIG` names no kubeconfig that is there and is not a pass itself"),
        None => failure.cause(names()),
    };
    let server = options.missing(&o::SERVER);
    let half = format!("give {server} the URL of the API server, and see that this job is given the variable with it");
    let failure = failure.hint(match platform {
        Platform::Local if instead.is_some() => {
            "`jobpass_restore` puts back what this shell had before the pass; else name the kubeconfig of the CI identity by `--kubeconfig`"
        }
        Platform::Github | Platform::Tekton | Platform::Local if is_half_there => half.as_str(),
        // On GitLab a variable that this job may not have is absent, not empty.
        Platform::Gitlab if empty.is_empty() && options.get(&o::SERVER).is_some() => {
            "declare `JOBPASS_IDENTITY_ID_TOKEN` below `id_tokens:` of the job, with `aud: $JOBPASS_SERVER`, as `.jobpass-run` does; or store an \
             identity: a protected variable is given to protected branches and tags only"
        }
        // The template declares a token in each job, also where an identity is stored.
        Platform::Gitlab => {
            "set `JOBPASS_SERVER` in the project's settings where the cluster trusts its jobs, else `JOBPASS_IDENTITY_KUBECONFIG`; a protected \
             variable is given to protected branches and tags only, one with an environment to jobs of that environment only"
        }
        Platform::Github if !empty.is_empty() => {
            "check the secret's name; secrets are not given to pull requests from forks or by Dependabot"
        }
        Platform::Tekton | Platform::Local if !empty.is_empty() => "check where its value comes from",
        Platform::Github => {
            "give the job `permissions: id-token: write` and the server's URL where the cluster trusts its jobs, else set `JOBPASS_IDENTITY_KUBECONFIG`"
        }
        Platform::Tekton | Platform::Local => {
            "set `JOBPASS_IDENTITY_KUBECONFIG`, or `JOBPASS_IDENTITY_TOKEN` with `--server`, or give `--kubeconfig`"
        }
    });
    migrating::told(failure, context)
}

/// What to look at where an identity token is empty.
pub(super) fn where_a_token_comes_from(platform: Platform, origin: &Origin) -> &'static str {
    match (platform, origin) {
        (Platform::Github, _) => "check the secret's name; secrets are not given to pull requests from forks or by Dependabot",
        (Platform::Gitlab, Origin::Bearer { token_file: None }) => {
            "check where its value comes from; a protected variable is given to protected branches and tags only"
        }
        (Platform::Gitlab | Platform::Tekton | Platform::Local, _) => "check what writes it, and that it has been written by now",
    }
}

/// The failure that there is no OIDC token, and what each CI system needs to give one.
pub(super) fn without_oidc(context: &Context) -> Failure {
    let failure = Failure::new(Code::IdentityMissing, "this job has no OIDC token");
    let variable = o::IDENTITY_ID_TOKEN.variable();
    match context.platform {
        Platform::Github => failure.cause(format!("the runner has set no `{}`", oidc::OF_GITHUB[0])).hint(
            "give the job `permissions: id-token: write`; a reusable workflow needs it in the calling job, too; a pull request from a fork never has it",
        ),
        Platform::Gitlab => {
            let receiver = if context.options.get(&o::EXCHANGE_URL).is_some() { &o::EXCHANGE_URL } else { &o::SERVER };
            let audience = receiver.variable();
            failure
                .cause(format!("`{variable}` is not set"))
                .hint(format!("declare it below `id_tokens:` of the job, with `aud: ${audience}`"))
        }
        Platform::Tekton | Platform::Local => failure
            .cause(format!("neither `--{}` nor `{variable}` gives one", o::IDENTITY_TOKEN_FILE.name))
            .hint("name the file of a projected token by `--identity-token-file`"),
    }
}
