//! As whom a pass is ended: the CI identity that the settings give, and where a variable or an input has spoiled it the one without.

use crate::{
    context::Context,
    failure::{Code, Failure},
    identity::{Identity, Purpose},
    options::{self as o, Options, Setting},
    origin::Word,
    pass::Revocation,
};

/// How the API server is reached: what is tried without first, each alone. That it is not checked comes first of all, so that nothing
/// else is dropped in its favour.
const WAYS: [&Setting; 4] = [&o::INSECURE_SKIP_TLS_VERIFY, &o::CONTEXT, &o::SERVER, &o::CERTIFICATE_AUTHORITY];

/// As whom.
const WHO: [&Setting; 4] = [&o::IDENTITY_TOKEN_FILE, &o::IDENTITY_TOKEN, &o::KUBECONFIG, &o::IDENTITY_KUBECONFIG];

/// Finds the CI identity. A variable or an input that is no good, or that is for another API server than the pass, is passed over where
/// there is one without it; a flag never is.
///
/// # Errors
/// When there is none.
pub fn identity(context: &Context, revocation: &Revocation, passed_over: impl Fn(&Failure)) -> Result<Identity, Failure> {
    let remembered = revocation.known.then_some((&revocation.lease.identity, revocation.word));
    let options = &context.options;
    let find = |context: &Context| Identity::find(context, Purpose::End(remembered));
    // What others could have written chooses no server.
    let is_told = revocation.known && revocation.word == Word::Ours;
    let is_meant = |identity: &Identity| !is_told || identity.server() == revocation.lease.server;
    // Those without a say are passed over by whoever finds it.
    let told = |(identity, without): (Identity, Vec<Failure>)| {
        without.iter().for_each(&passed_over);
        identity
    };
    let first = find(context);
    if first.as_ref().is_ok_and(|(identity, _)| is_meant(identity)) {
        return first.map(told);
    }
    let is_set =
        |setting: &&Setting| options.flag(setting).is_none() && (options.chosen(setting).is_some() || options.secret(setting).is_some());
    let (ways, who): (Vec<_>, Vec<_>) = (WAYS.into_iter().filter(is_set).collect(), WHO.into_iter().filter(is_set).collect());
    let alone = ways.iter().chain(&who).map(|setting| vec![*setting]);
    for spoiled in alone.chain([ways.clone(), [ways.clone(), who.clone()].concat()]).filter(|spoiled| !spoiled.is_empty()) {
        if let Ok(found) = find(&context.without(&spoiled))
            && is_meant(&found.0)
        {
            passed_over(&why(options, first.err(), &spoiled));
            return Ok(told(found));
        }
    }
    first.map(told)
}

/// Why it did not do with these settings.
fn why(options: &Options, first: Option<Failure>, spoiled: &[&Setting]) -> Failure {
    let names: Vec<_> = spoiled.iter().map(|setting| options.named(setting)).collect();
    let what = format!("{} cannot be used to end this pass", names.join(", "));
    match first {
        Some(failure) => failure.within(what),
        None => Failure::new(Code::LeaseElsewhere, what).cause("it is on another API server"),
    }
}
