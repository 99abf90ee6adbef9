//! Of which service accounts the CI identity may have tokens, as far as the API server can list it: whoever has mistyped a name learns
//! which one may be meant.

use std::time::Duration;

use http::Method;
use k8s_openapi::api::authorization::v1::{ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Cluster, parsed, request::Request};
use crate::{
    failure::{Code, Failure},
    jwt::Claims,
    options::unknown::distance,
    out::one_line,
    spec::ServiceAccount,
};

/// Every authenticated user may create these: `system:basic-user`.
pub(super) const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

/// How long we ask for it: it is only for a message.
const TIME: Duration = Duration::from_secs(3);

/// So many are named in a message.
const MOST: usize = 10;

/// Those fields of a review that are for us; the server answers with more, and may leave the spec out.
#[derive(Deserialize)]
struct Reviewed<T> {
    status: T,
}

/// The service accounts of one namespace whose tokens may be requested.
pub struct Allowed {
    namespace: String,
    /// Their names.
    pub names: Vec<String>,
    /// Whether it holds for every one of them.
    is_all: bool,
    /// Whether there may be others: an authorizer that is asked from case to case cannot list them.
    pub is_incomplete: bool,
}

impl Allowed {
    fn of(namespace: &str, rules: SubjectRulesReviewStatus) -> Self {
        let rules_for_tokens = rules.resource_rules.into_iter().filter(gives_tokens);
        let names: Vec<Vec<String>> = rules_for_tokens.map(|rule| rule.resource_names.unwrap_or_default()).collect();
        Self {
            namespace: namespace.to_owned(),
            is_all: names.iter().any(Vec::is_empty),
            names: names.concat(),
            is_incomplete: rules.incomplete,
        }
    }

    /// The name that is most like this one, if any is.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let nearest = self.names.iter().map(|known| (distance(name, known), known)).min()?;
        (nearest.0 <= (nearest.1.len() / 3).max(1)).then_some(nearest.1)
    }

    /// All of them for a message, the one that may be meant first.
    #[must_use]
    pub fn listed(&self, first: Option<&str>) -> Vec<String> {
        let others = self.names.iter().map(String::as_str).filter(|known| Some(*known) != first);
        first.into_iter().chain(others).take(MOST).map(|name| one_line(&format!("{}/{name}", self.namespace))).collect()
    }
}

/// Whether a rule lets somebody request tokens.
fn gives_tokens(rule: &ResourceRule) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &[&str]| list.iter().flatten().any(|item| wanted.contains(&item.as_str()));
    rule.verbs.iter().any(|verb| verb == "create" || verb == "*")
        && has(&rule.api_groups, &["", "*"])
        && has(&rule.resources, &["serviceaccounts/token", "*/token", "*"])
}

impl Cluster {
    /// All that we may do in a namespace, as far as the authorizers can list it.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn rules(&mut self, namespace: &str) -> Result<SubjectRulesReviewStatus, Failure> {
        let what = format!("cannot ask the API server for the rights in namespace `{namespace}`");
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let path = format!("{REVIEWS}/selfsubjectrulesreviews");
        self.review(&path, &what, "selfsubjectrulesreviews", &review).await
    }

    /// The service accounts of a namespace whose tokens we may request.
    ///
    /// # Errors
    /// When the API server does not say.
    pub async fn allowed(&mut self, namespace: &str) -> Result<Allowed, Failure> {
        self.rules(namespace).await.map(|rules| Allowed::of(namespace, rules))
    }

    pub(super) async fn review<T: for<'de> Deserialize<'de>>(
        &mut self,
        path: &str,
        what: &str,
        resource: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = Request::new(Method::POST, path.to_owned(), what.to_owned(), format!("`create` on `{resource}`"));
        let answer = self.ask(&request, body).await?;
        self.hear(None, &answer);
        if !answer.is_success() {
            return Err(answer.failure(&request, &self.shown()));
        }
        parsed::<Reviewed<T>>(&answer, &request).map(|reviewed| reviewed.status)
    }

    /// Adds to a refused request for a pass which service account may be meant instead.
    pub async fn meant(&mut self, failure: Failure, account: &ServiceAccount) -> Failure {
        let is_there = failure.code() != Code::ApiNoAccount;
        if is_there && failure.code() != Code::ApiRbac {
            return failure;
        }
        let ServiceAccount { namespace, name } = account;
        let Ok(Ok(here)) = timeout(TIME, self.allowed(namespace)).await else { return failure };
        if !is_there {
            return match here.nearest(name).filter(|near| near != name) {
                Some(near) => known(failure, &format!("{namespace}/{near}")),
                None => failure,
            };
        }
        // Then it is another right that is missing.
        let is_granted = here.is_all || here.names.contains(name);
        if here.is_incomplete || is_granted {
            return failure;
        }
        // Other namespaces are not guessed: a service account may be meant to have tokens of its own one.
        let own = self.identity_token().and_then(Claims::of).and_then(|claims| claims.service_account());
        let own = own.and_then(|own| own.split_once('/').map(|(own, _)| own.to_owned())).filter(|own| own != namespace);
        let there = match own {
            Some(own) => timeout(TIME, self.allowed(&own)).await.ok().and_then(Result::ok).filter(|there| !there.is_incomplete),
            None => None,
        };
        said(failure, &here, there.as_ref(), name)
    }
}

/// There is no such service account, and a right that names one that is like it.
fn known(failure: Failure, near: &str) -> Failure {
    let advice = failure.advice().unwrap_or_default().to_owned();
    let near = one_line(near);
    failure.cause(format!("this identity may have tokens of `{near}`")).hint(format!("did you mean `{near}`? If not, {advice}"))
}

fn said(failure: Failure, here: &Allowed, there: Option<&Allowed>, name: &str) -> Failure {
    let nearest = |allowed: &Allowed| allowed.nearest(name).map(|near| one_line(&format!("{}/{near}", allowed.namespace)));
    let meant = nearest(here).or_else(|| there.and_then(nearest));
    let listed = |allowed: &Allowed| allowed.listed(allowed.nearest(name));
    let all: Vec<_> = [Some(here), there].into_iter().flatten().flat_map(listed).map(|account| format!("`{account}`")).collect();
    let advice = failure.advice().unwrap_or_default().to_owned();
    if all.is_empty() {
        let cause = format!("this identity may have tokens of no service account in namespace `{}`", here.namespace);
        return failure.cause(cause).hint(format!("check the namespace, or {advice}"));
    }
    let failure = failure.cause(format!("this identity may have tokens of {}", all.join(", ")));
    match meant {
        Some(meant) => failure.hint(format!("did you mean `{meant}`? If not, {advice}")),
        None => failure.hint(format!("check the name, or {advice}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allowed(rules: &serde_json::Value) -> Allowed {
        let status = json!({"resourceRules": rules, "nonResourceRules": [], "incomplete": false});
        Allowed::of("ci", serde_json::from_value(status).expect("a review"))
    }

    #[test]
    fn only_rules_about_tokens_count() {
        let rule = |verb, group, resource, names: &[&str]| json!({"verbs": [verb], "apiGroups": [group], "resources": [resource], "resourceNames": names});
        let some = allowed(&json!([
            rule("create", "", "serviceaccounts/token", &["deploy-bot"]),
            rule("create", "", "*/token", &["b"]),
            rule("*", "*", "*", &["c"]),
            rule("get", "", "serviceaccounts/token", &["no"]),
            rule("create", "", "serviceaccounts", &["no"]),
            rule("create", "apps", "serviceaccounts/token", &["no"]),
        ]));
        assert_eq!((some.names.join(" ").as_str(), some.is_all), ("deploy-bot b c", false));
        assert_eq!((some.nearest("deploy-bto"), some.nearest("release")), (Some("deploy-bot"), None));
        assert_eq!(some.listed(Some("c")), ["ci/c", "ci/deploy-bot", "ci/b"]);
        assert!(allowed(&json!([rule("create", "", "serviceaccounts/token", &[])])).is_all);
    }
}
