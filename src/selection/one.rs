//! Finds one pass: by its lease file, by the name of its lease, or by its store.

use std::path::Path;

use jiff::Timestamp;

use crate::{
    failure::{Code, Failure},
    files,
    lease::{Lease, Times, named::Named},
    name::is_name,
    origin::{Origin, Word},
    out::API_VERSION,
    pass::Revocation,
    platform::Base,
    secret::Secret,
    spec::{ServiceAccount, is_label},
    store::{self, Store},
};

/// The lease in a named file. None if the file does not exist.
pub(super) fn from_file(path: &Path, piped: Option<Secret>, base: Option<Base>) -> Result<Option<Revocation>, Failure> {
    let what = format!("cannot use the lease file `{}`", path.display());
    if let Some(text) = piped {
        let lease = Lease::parse(text.expose()).map_err(|failure| failure.within(&what))?;
        let store = base.map(|base| Store::of(&base, &lease.name));
        return Ok(Some(Revocation { lease, named: Named::File, word: Word::Ours, known: true, store, token: None }));
    }
    if path.try_exists().is_ok_and(|exists| !exists) {
        return Ok(None);
    }
    let text = files::read_text(path).map_err(|error| Failure::new(Code::LeaseFile, &what).cause(error))?;
    let lease = Lease::parse(&text).map_err(|failure| failure.within(&what))?;
    let store = Store::around(path, store::LEASE, &lease.name, base.and_then(|base| base.memory));
    Ok(Some(Revocation { lease, named: Named::File, word: Word::Ours, known: true, store, token: None }))
}

/// A lease of which only the name is known, completed from its file if that is here.
pub(super) fn of_name<'a>(bases: impl Iterator<Item = &'a Base>, namespace: &str, name: &str, named: Named) -> Revocation {
    let store = place_of(bases, name);
    let here = store.as_ref().and_then(|store| store.read(store::LEASE).ok()?).and_then(|text| Lease::parse(&text).ok());
    let is_meant = |lease: &Lease| lease.name == name && lease.service_account.namespace == namespace;
    // If the file is of a lease in another namespace, the files belong to that pass.
    let store = if here.as_ref().is_none_or(is_meant) { store } else { None };
    if let Some(lease) = here.filter(is_meant) {
        return Revocation { lease, named, word: Word::Ours, known: true, store, token: None };
    }
    let lease = Lease {
        api_version: API_VERSION.into(),
        kind: "Lease".into(),
        name: name.to_owned(),
        service_account: ServiceAccount { namespace: namespace.to_owned(), name: String::new() },
        server: String::new(),
        uid: None,
        // Placeholders: its times are unknown and never shown.
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH,
        times: Times::Ours,
        token_expires_at: None,
        jti: None,
        token_sha256: None,
        platform: String::new(),
        job_key: None,
        job: None,
        identity: Origin::Bearer { token_file: None },
        store: String::new(),
        kubeconfig_out: None,
        registry_auth: None,
        issued: Vec::new(),
        connection: None,
        way: None,
        issuer_way: None,
        seal: None,
    };
    Revocation { lease, named, word: Word::Ours, known: false, store, token: None }
}

/// The pass whose lease file is in a store; none if there is no lease file.
pub(super) fn known(store: Store) -> Result<Option<Revocation>, Failure> {
    if !store.exists()? {
        return Ok(None);
    }
    let Some(text) = store.read(store::LEASE)? else {
        store.clear_abandoned();
        return Ok(None);
    };
    let lease = Lease::parse(&text).map_err(|failure| failure.within(format!("cannot use the lease in `{store}`")))?;
    if !store.path().ends_with(&lease.name) {
        return Err(
            Failure::new(Code::LeaseUnreadable, format!("cannot use the lease in `{store}`")).cause("it is the lease of another place")
        );
    }
    Ok(Some(Revocation { lease, named: Named::File, word: Word::Ours, known: true, store: Some(store), token: None }))
}

pub(super) fn named(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(namespace, name)| is_label(namespace) && is_name(name))
}

/// The store of a lease under these directories: where it exists, else where it would be.
pub(super) fn place_of<'a>(bases: impl Iterator<Item = &'a Base>, name: &str) -> Option<Store> {
    let mut stores = bases.map(|base| Store::of(base, name));
    let first = stores.next()?;
    let there = |store: &Store| store.exists().unwrap_or(true);
    if there(&first) { Some(first) } else { Some(stores.find(there).unwrap_or(first)) }
}
