//! The leases of a cluster, page by page, so that thousands of them take no more memory than one page. Only metadata is asked for, and
//! only of Secrets of a lease's type.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{ListParams, PartialObjectMeta},
};

use super::held::Held;
use crate::{
    failure::{Code, Failure},
    lease::object,
    operate::server::{Question, Refused, Server},
};

/// How many leases one answer holds: some 600 kB.
const PAGE: u32 = 500;

/// How many pages there can be: a server that has more does not come to an end.
const MOST: usize = 2000;

/// How often a list is begun again because the server has forgotten where it was.
const AGAIN: usize = 5;

/// A page.
pub struct Page {
    /// Its leases.
    pub leases: Vec<Held>,
    /// The version of the whole list, from which a watch may go on.
    pub version: Option<String>,
    /// Whether the list has begun again, so that what came before it may come once more.
    pub is_again: bool,
}

/// The pages that are still to come.
pub struct Pages<'a> {
    server: &'a Server,
    namespace: Option<String>,
    token: Option<String>,
    count: usize,
    again: usize,
    is_over: bool,
}

/// What kube's client lists Secrets by.
pub fn secrets(server: &Server, namespace: Option<&str>) -> Api<Secret> {
    match namespace {
        Some(namespace) => Api::namespaced(server.client.clone(), namespace),
        None => Api::all(server.client.clone()),
    }
}

/// The fields that tell a lease from every other Secret.
pub fn selector() -> String {
    format!("type={}", object::SECRET_TYPE)
}

impl<'a> Pages<'a> {
    /// The leases of this namespace, or of all.
    pub fn of(server: &'a Server, namespace: Option<&str>) -> Self {
        Self { server, namespace: namespace.map(str::to_owned), token: None, count: 0, again: 0, is_over: false }
    }

    /// The next page; none when the list is at its end.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn next(&mut self) -> Result<Option<Page>, Failure> {
        if self.is_over {
            return Ok(None);
        }
        let mut is_again = false;
        let page = loop {
            match self.asked().await {
                Ok(page) => break page,
                // The server keeps the state of a list for some minutes only.
                Err(Refused { status: Some(410), .. }) if self.token.is_some() && self.again < AGAIN => {
                    (self.token, is_again) = (None, true);
                    self.again += 1;
                }
                Err(refused) => return Err(refused.failure),
            }
        };
        let now = self.server.now();
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.count += 1;
        if token.is_some() && (token == self.token || self.count >= MOST) {
            return Err(Failure::new(Code::ApiAnswer, self.what()).cause("its list does not come to an end"));
        }
        if self.count == 1 && page.items.is_empty() {
            self.look_for_the_namespace().await?;
        }
        self.is_over = token.is_none();
        self.token = token;
        let leases = page.items.into_iter().map(|secret| Held::of(&self.server.name, secret.metadata, now)).collect();
        Ok(Some(Page { leases, version: page.metadata.resource_version, is_again }))
    }

    /// Of all pages what is to be kept.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn collected(mut self, is_kept: impl Fn(&Held) -> bool) -> Result<Vec<Held>, Failure> {
        let mut kept = Vec::new();
        while let Some(page) = self.next().await? {
            if page.is_again {
                kept.clear();
            }
            kept.extend(page.leases.into_iter().filter(&is_kept));
        }
        Ok(kept)
    }

    /// An API server lists nothing of a namespace that is not there, as of one without leases: a typing mistake must not look like
    /// that. Who may not read namespaces is not told.
    async fn look_for_the_namespace(&self) -> Result<(), Failure> {
        let Some(name) = &self.namespace else { return Ok(()) };
        let namespaces: Api<Namespace> = Api::all(self.server.client.clone());
        let question = Question { what: "cannot read a namespace", right: "`get` on `namespaces`" };
        match self.server.ask(question, async || namespaces.get_metadata(name).await).await {
            Err(Refused { status: Some(404), .. }) => Err(Failure::new(Code::ApiNoNamespace, self.what())
                .cause(format!("there is no namespace `{name}`"))
                .hint("`-n` takes the namespace of the service accounts")),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn asked(&self) -> Result<kube::core::ObjectList<PartialObjectMeta<Secret>>, Refused> {
        let params = ListParams::default().fields(&selector()).limit(PAGE);
        let params = self.token.iter().fold(params, |params, token| params.continue_token(token));
        let secrets = secrets(self.server, self.namespace.as_deref());
        let (what, right) = (self.what(), right(self.namespace.as_deref()));
        self.server.ask(Question { what: &what, right: &right }, async || secrets.list_metadata(&params).await).await
    }

    fn what(&self) -> String {
        format!("cannot list the leases of `{}`", self.server.name)
    }
}

/// The right that a list takes.
pub fn right(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("`list` on `secrets` in namespace `{namespace}`"),
        None => "`list` on `secrets` in all namespaces; `-n` asks for less".to_owned(),
    }
}
