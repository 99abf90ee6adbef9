//! What only an admin of the cluster can see: its policies, who else has rights beside the CI identities, and what is left over.
//!
//! Of Secrets only metadata is asked for, and none of their values.

use kube::{
    Api, Client,
    api::{ListParams, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

use super::{
    Patient,
    report::{Area, Report},
};
use crate::{cluster::Cluster, failure::Failure, operate::server::Server, options as o};

mod namespace;
mod policies;
mod subjects;

/// How many objects one answer holds.
const PAGE: u32 = 500;

/// The label of what jobpass is given by `deploy/apply` and `jobpass setup`.
const PART_OF: &str = "app.kubernetes.io/part-of=jobpass";

/// The namespace of the CI identities, which holds none of the accounts that jobs get tokens of.
const IDENTITIES: &str = "jobpass";

/// Checks it.
pub(super) async fn check(patient: &Patient<'_>, mut cluster: Cluster, report: &mut Report) {
    let version = cluster.version().await.ok().flatten();
    let client = cluster.client();
    let server = Server { name: "the cluster".to_owned(), version, cluster, client };
    policies::check(&server, report).await;
    match namespaces(patient, &server).await {
        Ok(namespaces) if namespaces.is_empty() => {
            report.skipped(Area::Namespace, "namespace", "no role binding of jobpass is in any namespace; name one by `--namespace`");
        }
        Ok(namespaces) => {
            for namespace in namespaces {
                subjects::check(&server, &namespace, report).await;
                namespace::check(&server, &namespace, report).await;
            }
        }
        Err(failure) => report.skipped(Area::Namespace, "namespace", failure.brief()),
    }
    let text = "an API server does not tell its audit policy: see that it logs `secrets` and `serviceaccounts/token` at Metadata or more";
    report.skipped(Area::Audit, "audit", text);
}

/// The namespaces to look at: the one that is named, or those in which jobpass has been given rights.
async fn namespaces(patient: &Patient<'_>, server: &Server) -> Result<Vec<String>, Failure> {
    let named = patient.account.map(|account| account.namespace.clone());
    if let Some(named) = named.or_else(|| patient.context.options.text(&o::NAMESPACE).map(str::to_owned)) {
        return Ok(vec![named]);
    }
    let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::all(server.client.clone());
    let bindings = metadata(server, &bindings, &ListParams::default().labels(PART_OF), "rolebindings").await?;
    let mut all: Vec<_> = bindings.into_iter().filter_map(|binding| binding.metadata.namespace).filter(|name| name != IDENTITIES).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// The metadata of all objects, page by page.
async fn metadata<K>(server: &Server, api: &Api<K>, params: &ListParams, what: &str) -> Result<Vec<PartialObjectMeta<K>>, Failure>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let (mut params, mut items) = (params.clone().limit(PAGE), Vec::new());
    loop {
        let page = api.list_metadata(&params).await.map_err(|error| unlisted(server, what, &error))?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(items),
        }
    }
}

/// All objects, page by page; for kinds that hold no secrets.
async fn objects<K>(server: &Server, api: &Api<K>, what: &str) -> Result<Vec<K>, Failure>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let (mut params, mut items) = (ListParams::default().limit(PAGE), Vec::new());
    loop {
        let page = api.list(&params).await.map_err(|error| unlisted(server, what, &error))?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(items),
        }
    }
}

fn unlisted(server: &Server, what: &str, error: &kube::Error) -> Failure {
    server.failed(&format!("cannot list `{what}`"), &format!("`list` on `{what}`"), error)
}

/// All objects of a kind in one namespace, or in the cluster.
fn api<K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>>(client: &Client, namespace: &str) -> Api<K> {
    Api::namespaced(client.clone(), namespace)
}
