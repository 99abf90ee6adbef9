//! Tells what became of a pass: in the log, in the receipt, and by the exit status.

use crate::{
    context::Context,
    failure::Failure,
    files, handover, name, options as o,
    out::{Out, Tone},
    pass::Revoked,
    platform::github,
    receipt::Proof,
};

/// How the user learns of a pass that could not be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// By the error that the verb returns, and by nothing else.
    Returned,
    /// By warnings in the log.
    Warned,
    /// By warnings that GitHub shows on the page of the run: there the job itself does not fail.
    Annotated,
}

/// Says what has become of each credential of the CI identity that was given back.
pub fn tell_returned(out: &Out, said: Vec<Result<String, Failure>>) {
    for said in said {
        match said {
            Ok(line) => out.say(line),
            Err(failure) => out.warn(failure.brief()),
        }
    }
}

/// Tells what became of a pass, and returns the failure if it could not be ended.
#[must_use]
pub fn tell(context: &Context, revoked: Revoked, telling: Telling, out: &Out) -> Option<Failure> {
    let Context { options, env, .. } = context;
    let Revoked { mut receipt, known, mut failure, life, warning, returned, leftover } = revoked;
    tell_returned(out, returned);
    // The words of a server stand in the receipt, too, which no log's filter sees.
    if let Proof::Failed { reason, .. } = &mut receipt.proof {
        *reason = out.without_hidden(reason);
    }
    let whose =
        if receipt.service_account.is_empty() { String::new() } else { format!(" of service account `{}`", receipt.service_account) };
    match &receipt.proof {
        Proof::Failed { code, reason, .. } => {
            let what = if known {
                format!("the pass{whose} is not revoked")
            } else {
                // We know only a derived name, and the pass may never have begun.
                format!("a pass{whose} may be left alive")
            };
            let valid = life.map(|life| format!("{life}; the lease is `{}`", receipt.lease));
            match telling {
                Telling::Returned => {
                    let why = failure.take().unwrap_or_else(|| Failure::new(*code, reason)).within(what);
                    failure = Some(valid.into_iter().fold(why, Failure::cause));
                }
                Telling::Warned | Telling::Annotated => {
                    let warnings: Vec<_> = [format!("{what}: {reason}")].into_iter().chain(valid).collect();
                    warn(out, &warnings, telling);
                    if let Some(hint) = failure.as_ref().and_then(Failure::advice) {
                        out.say(format!("hint: {hint}"));
                    }
                }
            }
        }
        proof => {
            let text = format!(" the pass{whose}, lease `{}`; {proof}", name::short(&receipt.lease));
            out.say_toned(if proof.is_seen() { Tone::Good } else { Tone::Plain }, "revoked", text);
        }
    }
    if let Some(warning) = warning {
        out.warn(warning);
    }
    if let Some(leftover) = leftover {
        out.warn(leftover.brief());
    }
    handover::summarise(context, &receipt, out);
    let mut written = Ok(());
    if let Some(given) = options.get(&o::RECEIPT) {
        written = files::append(&env.absolute(given.text.as_ref()), &(receipt.json() + "\n"), files::Accepts::Stream);
    }
    if context.is_json() {
        written = written.and(out.data(&receipt.json()));
    }
    if let Err(unwritten) = written {
        if failure.is_some() || telling != Telling::Returned {
            out.warn(unwritten.brief());
        }
        failure = failure.or(Some(unwritten));
    }
    failure
}

/// Warns that a pass may be left alive.
pub fn warn_of(out: &Out, unknown: &Failure, telling: Telling) {
    warn(out, &[unknown.brief()], telling);
    if let Some(hint) = unknown.advice() {
        out.say(format!("hint: {hint}"));
    }
}

/// Warns of a setting that `revoke` ignores.
pub fn passed_over(out: &Out, setting: &Failure) {
    out.warn(format!("{}; it is passed over", setting.brief()));
}

/// Prints several warnings that belong together; as one annotation where the page of the run must show them.
pub fn warn(out: &Out, warnings: &[String], telling: Telling) {
    match telling {
        Telling::Annotated => out.say_as(warnings.join("\n"), |text| github::annotation("warning", text)),
        Telling::Warned | Telling::Returned => warnings.iter().for_each(|warning| out.warn_of_life(warning)),
    }
}
