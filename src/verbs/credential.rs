//! `jobpass credential`: prints the current token for a client that asks, as a credential plugin of Kubernetes does.

use std::process::ExitCode;

use crate::{
    context::Context,
    failure::Failure,
    job::held,
    options::{self as o, Call},
    out::{Out, instant},
    pass_kubeconfig::EXEC_CREDENTIAL,
    secret::Secret,
    store,
};

/// The verb's command line.
pub const CALL: Call = Call {
    name: "credential",
    about: "Print the current token of the pass, for clients that ask for it again (an exec plugin of Kubernetes)",
    after: "Clients run it by the kubeconfig of a pass that was begun with `--kubeconfig-mode exec`. It reads the token's file, which
JOBPASS_TOKEN_FILE or --dir names, and never asks the API server for one.",
    settings: &[&o::DIR],
    otherwise: &[(o::DIR.name, "Directory of `jobpass hold` [default: where JOBPASS_TOKEN_FILE says, /run/jobpass in Tekton]")],
    connects: false,
    in_action: false,
    takes_command: false,
};

/// Prints the token and its end, in the form of <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>.
///
/// # Errors
/// When there is no token that still holds.
pub fn credential(context: &Context, out: &Out) -> Result<ExitCode, Failure> {
    let file = context.env.path("JOBPASS_TOKEN_FILE").filter(|_| context.options.get(&o::DIR).is_none());
    let file = match file {
        Some(path) => context.env.absolute(&path),
        None => held::published(context)
            .map_err(|failure| failure.hint("the kubeconfig of a pass says where its token is, by `JOBPASS_TOKEN_FILE`"))?
            .path(store::TOKEN),
    };
    let held = held::token(&file)?;
    // The token is of the characters of base64url and dots: `held` has seen to that.
    let text = Secret::of_parts(&[
        "{\"kind\":\"ExecCredential\",\"apiVersion\":\"",
        EXEC_CREDENTIAL,
        "\",\"spec\":{\"interactive\":false},\"status\":{\"expirationTimestamp\":\"",
        &instant(held.ends),
        "\",\"token\":\"",
        held.token.expose(),
        "\"}}",
    ]);
    out.data(text.expose())?;
    Ok(ExitCode::SUCCESS)
}
