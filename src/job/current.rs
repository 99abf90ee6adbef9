//! The pass that this job has now, as far as its environment shows, whoever began it.

use std::path::{Path, PathBuf};

use crate::{
    context::Context,
    name::is_name,
    pass_extension::PassExtension,
    store::{self, Store},
};

/// Paths where the token of the job's current pass may be, according to the environment. The first one that exists is it.
#[must_use]
pub fn token_files(context: &Context) -> Vec<PathBuf> {
    let env = &context.env;
    let mut files: Vec<_> = env.path("JOBPASS_TOKEN_FILE").into_iter().collect();
    let configs = env.get("KUBECONFIG").map(|list| env.paths(list)).unwrap_or_default();
    let is_place = |directory: &&Path| directory.file_name().and_then(|name| name.to_str()).is_some_and(is_name);
    // A kubeconfig in a store that is gone: the pass is over, and this path may be the only trace of it.
    let gone = configs.iter().filter(|path| !path.exists()).filter_map(|path| path.parent()).filter(is_place);
    files.extend(gone.map(|directory| directory.join(store::TOKEN)));
    for (path, mark) in configs.into_iter().filter_map(|path| PassExtension::of_file(&path).map(|mark| (path, mark))) {
        files.extend(path.parent().map(|directory| directory.join(store::TOKEN)));
        // The kubeconfig may be at `--kubeconfig-out`, away from the token. While a shell trace is on, no other variable may be
        // exported.
        let base = context.base.clone().ok();
        let name = mark.lease.split_once('/').map(|(_, name)| name).filter(|name| is_name(name));
        let store = base.zip(name).map(|(base, name)| Store::of(&base, name));
        files.extend(store.iter().flat_map(|store| store.files(store::TOKEN)));
    }
    files
}
