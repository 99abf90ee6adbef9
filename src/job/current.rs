//! The pass that this job has, as far as its environment says: whatever began it.

use std::path::{Path, PathBuf};

use crate::{
    context::Context,
    name::is_name,
    pass_extension::PassExtension,
    store::{self, Store},
};

/// Where the token of the job's pass may be, as far as its environment says: the first that is there is the one.
#[must_use]
pub fn token_files(context: &Context) -> Vec<PathBuf> {
    let env = &context.env;
    let mut files: Vec<_> = env.path("JOBPASS_TOKEN_FILE").into_iter().collect();
    let configs = env.get("KUBECONFIG").map(|list| env.paths(list)).unwrap_or_default();
    let is_place = |directory: &&Path| directory.file_name().and_then(|name| name.to_str()).is_some_and(is_name);
    // That of a pass that is over, which may be all that says there was one.
    let gone = configs.iter().filter(|path| !path.exists()).filter_map(|path| path.parent()).filter(is_place);
    files.extend(gone.map(|directory| directory.join(store::TOKEN)));
    for (path, mark) in configs.into_iter().filter_map(|path| PassExtension::of_file(&path).map(|mark| (path, mark))) {
        files.extend(path.parent().map(|directory| directory.join(store::TOKEN)));
        // The kubeconfig may have been written elsewhere; with a trace on, no other variable is exported.
        let base = context.base.clone().ok();
        let name = mark.lease.split_once('/').map(|(_, name)| name).filter(|name| is_name(name));
        let store = base.zip(name).map(|(base, name)| Store::of(&base, name));
        files.extend(store.iter().flat_map(|store| store.files(store::TOKEN)));
    }
    files
}
