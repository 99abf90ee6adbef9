//! Which CI identity ends a pass: the one that the settings give, or, where a bad variable or input spoils it, the one without
//! that.

use crate::{
    context::Context,
    failure::{Code, Failure},
    identity::{Identity, Purpose},
    options::{self as o, Options, Setting},
    origin::Word,
    pass::Revocation,
};

/// Settings of how the API server is reached. Each is left out alone first. "No check of the certificate" comes first, so that no
/// other setting is dropped in its favour.
const WAYS: [&Setting; 4] = [&o::INSECURE_SKIP_TLS_VERIFY, &o::CONTEXT, &o::SERVER, &o::CERTIFICATE_AUTHORITY];

/// Settings of who we are.
const WHO: [&Setting; 16] = [
    &o::IDENTITY,
    &o::IDENTITY_TOKEN_FILE,
    &o::IDENTITY_TOKEN,
    &o::KUBECONFIG,
    &o::IDENTITY_KUBECONFIG,
    &o::IDENTITY_ID_TOKEN,
    &o::OIDC_AUDIENCE,
    &o::EXCHANGE_URL,
    &o::EXCHANGE_AUDIENCE,
    &o::EXCHANGE_SCOPE,
    &o::EXCHANGE_RESOURCE,
    &o::EXCHANGE_CLIENT_ID,
    &o::EXCHANGE_SUBJECT_TYPE,
    &o::IDENTITY_USERNAME,
    &o::IDENTITY_PASSWORD_FILE,
    &o::IDENTITY_PASSWORD,
];

/// Finds the CI identity that ends a pass. A variable or input that is invalid, or that leads to another API server than the
/// pass's, is ignored if there is an identity without it. A flag is never ignored.
///
/// # Errors
/// When there is no CI identity.
pub fn identity(context: &Context, revocation: &Revocation, passed_over: impl Fn(&Failure)) -> Result<Identity, Failure> {
    let remembered = revocation.known.then_some((&revocation.lease.identity, revocation.word));
    let options = &context.options;
    let find = |context: &Context| Identity::find(context, Purpose::End(remembered));
    // A lease file that others could have written must not choose the server.
    let is_told = revocation.known && revocation.word == Word::Ours;
    let is_meant = |identity: &Identity| !is_told || identity.server() == revocation.lease.server;
    // Reports the settings that `Identity::find` itself has ignored.
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

/// The warning that says why these settings were ignored.
fn why(options: &Options, first: Option<Failure>, spoiled: &[&Setting]) -> Failure {
    let names: Vec<_> = spoiled.iter().map(|setting| options.named(setting)).collect();
    let what = format!("{} cannot be used to end this pass", names.join(", "));
    match first {
        Some(failure) => failure.within(what),
        None => Failure::new(Code::LeaseElsewhere, what).cause("it is on another API server"),
    }
}
