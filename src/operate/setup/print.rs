//! Prints what is to be set up: on stdout, or into a directory that a tool reads that keeps clusters as a repository says. No cluster is asked.

use std::{fmt::Write as _, path::Path};

use super::{
    object::Object,
    objects::{Plan, policy_text},
    wish::Wish,
};
use crate::{
    env::Env,
    failure::{Code, Failure},
    files,
};

/// The first line of each file of ours: one without it is somebody else's, and stays.
const MARK: &str = "# Made by `jobpass setup`; change its input, and make it again.\n";

const ACCOUNTS: &str = "# Namespaces and accounts. None of them has any right yet.\n";
const RIGHTS: &str = "# The rights. NEVER apply them before the policies above are in force: `jobpass setup --apply` waits for that.\n";

/// YAML of one object.
#[must_use]
pub fn yaml(object: &Object) -> String {
    serde_saphyr::to_string(&object.0).unwrap_or_default()
}

fn documents(objects: &[Object]) -> String {
    objects.iter().map(yaml).collect::<Vec<_>>().join("---\n")
}

/// The policies, with the comments of our own file.
fn policies(wish: &Wish, plan: &Plan) -> String {
    let text = policy_text(wish);
    // Those of the sweeper stand in no file of their own.
    let others: Vec<_> = plan.policies.iter().filter(|object| object.name() == "jobpass-sweeper").cloned().collect();
    if others.is_empty() { text } else { text + "---\n" + &documents(&others) }
}

/// All of it, in the order in which it is to be applied.
#[must_use]
pub fn all(wish: &Wish) -> String {
    let plan = Plan::of(wish);
    let parts = [policies(wish, &plan), ACCOUNTS.to_owned() + &documents(&plan.accounts), RIGHTS.to_owned() + &documents(&plan.rights)];
    parts.map(|part| part.trim_end().to_owned()).join("\n---\n")
}

/// The files of one cluster: three parts, each to be applied when the one before is there.
fn files_of(wish: &Wish) -> Vec<(String, String)> {
    let plan = Plan::of(wish);
    let parts = [
        ("policies", "-2", policies(wish, &plan)),
        ("accounts", "-1", ACCOUNTS.to_owned() + &documents(&plan.accounts)),
        ("rights", "0", RIGHTS.to_owned() + &documents(&plan.rights)),
    ];
    let mut files = vec![("kustomization.yaml".to_owned(), kustomization(&parts.each_ref().map(|(name, ..)| (*name).to_owned()), None))];
    for (name, wave, text) in parts {
        files.push((format!("{name}/kustomization.yaml"), kustomization(&[format!("{name}.yaml")], Some(wave))));
        files.push((format!("{name}/{name}.yaml"), text));
    }
    files
}

fn kustomization(resources: &[String], wave: Option<&str>) -> String {
    let mut text = String::new();
    if wave.is_none() {
        text.push_str(
            "# Argo CD: one Application for this directory; the waves keep the order.\n\
             # Flux: a Kustomization for each of the three directories, with `wait: true`, and `dependsOn` the one before.\n\
             # Neither asks whether the policies refuse. `jobpass setup … --apply`, called when they are there, changes nothing and waits until they do.\n",
        );
    }
    text.push_str("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n");
    for resource in resources {
        let _ = writeln!(text, "- {resource}");
    }
    if let Some(wave) = wave {
        let _ = write!(text, "commonAnnotations:\n  argocd.argoproj.io/sync-wave: \"{wave}\"\n");
    }
    text
}

/// Writes the files; returns how many there are. With clusters that the input names, one directory for each.
///
/// # Errors
/// When one of them is somebody else's, or cannot be written. If it is somebody else's, nothing was written.
pub fn write(wish: &Wish, directory: &str, env: &Env) -> Result<usize, Failure> {
    let root = env.absolute(Path::new(directory));
    let mut all = Vec::new();
    let clusters = wish.clusters();
    if clusters.is_empty() {
        all.extend(files_of(wish).into_iter().map(|(name, text)| (root.join(name), text)));
    }
    for cluster in clusters {
        if cluster.is_empty() || cluster.starts_with('.') || cluster.contains(['/', '\\']) {
            return Err(Failure::new(Code::UsageValue, format!("the cluster `{cluster}` cannot be the name of a directory"))
                .hint("rename the context: `kubectl config rename-context`"));
        }
        all.extend(files_of(&wish.on(cluster)).into_iter().map(|(name, text)| (root.join(cluster).join(name), text)));
    }
    let is_ours = |text: &str| text.starts_with(MARK);
    for (path, _) in &all {
        let parent = path.parent().unwrap_or(&root);
        files::make_with_parents(parent).map_err(|error| {
            Failure::new(Code::FileUnwritable, format!("cannot make the directory `{}`", parent.display())).cause(files::plain(&error))
        })?;
        files::check_user_file(path, is_ours)?;
    }
    for (path, text) in &all {
        files::write_user_file(path, (MARK.to_owned() + text).as_bytes(), 0o644, is_ours)?;
    }
    Ok(all.len())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::operate::setup::wish::{self, Identity, Team, USUAL};

    fn wish() -> Wish {
        let team = Team {
            name: Some("shop".into()),
            account: wish::account("shop-ci/deploy-bot").expect("one"),
            clusters: Vec::new(),
            rights: vec![wish::right("deploy@shop-prod").expect("one")],
            identities: vec![Identity::Account("shop".into()), Identity::Github(7)],
        };
        Wish { teams: vec![team], max_ttl: USUAL, allowed_keys: Vec::new(), sweeper: Some("registry.example.com/jobpass:1".into()) }
    }

    #[test]
    fn what_is_printed_is_what_would_be_applied() {
        let read: Vec<Value> = serde_saphyr::from_multiple(&all(&wish())).expect("YAML");
        let plan = Plan::of(&wish());
        assert_eq!(read, plan.all().map(|object| object.0.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn each_file_for_gitops_is_named_by_a_kustomization() {
        let files = files_of(&wish());
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        for (name, text) in files.iter().filter(|(name, _)| name.ends_with("kustomization.yaml")) {
            let kustomization: Value = serde_saphyr::from_str(text).expect("YAML");
            let base = name.strip_suffix("kustomization.yaml").expect("it ends so");
            for resource in kustomization["resources"].as_array().expect("a list") {
                let path = format!("{base}{}", resource.as_str().expect("a name"));
                assert!(names.iter().any(|name| *name == path || *name == format!("{path}/kustomization.yaml")), "{path}");
            }
        }
        let mut objects = Vec::new();
        for (_, text) in files.iter().filter(|(name, _)| !name.ends_with("kustomization.yaml")) {
            objects.extend(serde_saphyr::from_multiple::<Value>(text).expect("YAML"));
        }
        assert_eq!(objects, Plan::of(&wish()).all().map(|object| object.0.clone()).collect::<Vec<_>>());
    }
}
