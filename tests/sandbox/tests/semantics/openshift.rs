//! OpenShift's login and its tokens, answer by answer as a real one gave them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jobpass_sandbox::client::{self, Response};
use jobpass_sandbox::{OauthServer, Registry};
use serde_json::json;

use crate::lab::Lab;

/// 43 characters, and their SHA-256.
const VERIFIER: &str = "0123456789012345678901234567890123456789012";
const OWN: &str = "/apis/oauth.openshift.io/v1/useroauthaccesstokens";
const ALL: &str = "/apis/oauth.openshift.io/v1/oauthaccesstokens";

struct Login {
    lab: Lab,
    oauth: OauthServer,
}

impl Login {
    fn new() -> Self {
        let lab = Lab::new();
        let oauth = lab.sandbox.start_oauth();
        oauth.add_user("alice", "s:cret ü");
        Self { lab, oauth }
    }

    fn authorize(&self, query: &str, password: Option<&str>) -> Response {
        let basic = password.map(|password| format!("Basic {}", STANDARD.encode(format!("alice:{password}"))));
        let marked = [("X-CSRF-Token", "1")].into_iter();
        let headers: Vec<_> = marked.chain(basic.as_deref().map(|basic| ("Authorization", basic))).collect();
        self.send("GET", &format!("/oauth/authorize?{query}"), &headers, None)
    }

    fn code(&self) -> String {
        let hash = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes()));
        let query = format!("client_id=openshift-challenging-client&response_type=code&code_challenge={hash}&code_challenge_method=S256");
        let answer = self.authorize(&query, Some("s:cret ü"));
        assert_eq!(answer.status, 302);
        let location = answer.header("location").expect("a location").to_owned();
        let rest = location.strip_prefix(&format!("{}/oauth/token/implicit?code=sha256~", self.oauth.url())).expect("a code");
        format!("sha256~{}", rest.strip_suffix("&state=").expect("an empty state"))
    }

    fn redeem(&self, form: &str) -> Response {
        let basic = format!("Basic {}", STANDARD.encode("openshift-challenging-client:"));
        self.send("POST", "/oauth/token", &[("Authorization", &basic)], Some(form))
    }

    fn token(&self) -> String {
        let answer = self.redeem(&format!("grant_type=authorization_code&code={}&code_verifier={VERIFIER}", self.code()));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], form: Option<&str>) -> Response {
        client::send(&self.oauth.url(), &self.oauth.ca_pem(), method, path, headers, form).expect("an answer")
    }
}

fn name(token: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, token.trim_start_matches("sha256~").as_bytes());
    format!("sha256~{}", URL_SAFE_NO_PAD.encode(hash))
}

#[test]
fn whoever_knows_the_password_gets_a_token_of_the_groups_of_oauth() {
    let login = Login::new();
    let found = login.lab.send(None, "GET", "/.well-known/oauth-authorization-server", None);
    assert_eq!(found.json()["token_endpoint"], format!("{}/oauth/token", login.oauth.url()));
    let token = login.token();
    assert_eq!(token.len(), 50);
    let who = client::whoami(&login.lab.sandbox.url(), &login.lab.sandbox.ca_pem(), &token).expect("an answer");
    assert_eq!((who.status, who.username.as_deref()), (201, Some("alice")));
    assert_eq!(who.groups, ["system:authenticated:oauth", "system:authenticated"]);
    assert_eq!(login.oauth.tokens(), [name(&token)]);
}

#[test]
fn a_wrong_password_looks_like_none() {
    let login = Login::new();
    let query = "client_id=openshift-challenging-client&response_type=code";
    for password in [None, Some("wrong"), Some("")] {
        let answer = login.authorize(query, password);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Basic realm=\"openshift\"")));
        assert!(answer.body.is_empty() && answer.header("content-type").is_none());
    }
    login.oauth.set_challenge(false);
    let answer = login.authorize(query, Some("wrong"));
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, None));
    assert!(answer.header("warning").is_some_and(|words| words.contains("/oauth/token/request")));
    assert_eq!(login.authorize(query, Some("s:cret ü")).status, 302, "such a provider only does not ask");
}

#[test]
fn what_oauth_refuses() {
    let login = Login::new();
    let error = |answer: &Response| (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned());
    assert_eq!(error(&login.authorize("client_id=other&response_type=code", None)), (400, "unauthorized_client".to_owned()));
    let foreign = "client_id=openshift-challenging-client&response_type=code&redirect_uri=https://x.example/";
    assert_eq!(error(&login.authorize(foreign, None)), (400, "invalid_request".to_owned()));
    let code = login.code();
    let form = |code: &str, verifier: &str| format!("grant_type=authorization_code&code={code}{verifier}");
    for (verifier, expected) in [("", "invalid_request"), ("&code_verifier=short", "invalid_request")] {
        assert_eq!(error(&login.redeem(&form(&login.code(), verifier))), (400, expected.to_owned()));
    }
    let wrong = format!("&code_verifier={}", "x".repeat(43));
    assert_eq!(error(&login.redeem(&form(&login.code(), &wrong))), (400, "invalid_grant".to_owned()));
    let right = format!("&code_verifier={VERIFIER}");
    assert_eq!(login.redeem(&form(&code, &right)).status, 200);
    assert_eq!(error(&login.redeem(&form(&code, &right))), (400, "unauthorized_client".to_owned()), "a code is for once");
    assert_eq!(error(&login.redeem("grant_type=password&username=alice&password=x")), (400, "access_denied".to_owned()));
    login.oauth.delete_user("alice");
    let query = "client_id=openshift-challenging-client&response_type=code";
    let gone = login.authorize(query, Some("s:cret ü"));
    assert_eq!((gone.status, gone.body.as_str()), (500, "Error: users.user.openshift.io \"alice\" not found\n"));
}

#[test]
fn a_token_is_deleted_by_its_name_and_remembered_for_a_while() {
    let login = Login::new();
    let (lab, token) = (&login.lab, login.token());
    assert_eq!(lab.status_with(&token), 201);
    assert_eq!(lab.send(Some(&token), "DELETE", &format!("{OWN}/{token}"), None).status, 404, "its name is its hash");
    let seen = lab.send(Some(&token), "GET", &format!("{OWN}/{}", name(&token)), None);
    assert_eq!((seen.json()["kind"].as_str(), seen.json()["expiresIn"].as_i64()), (Some("UserOAuthAccessToken"), Some(86400)));
    let wrong = json!({"preconditions": {"uid": "x"}});
    assert_eq!(lab.send(Some(&token), "DELETE", &format!("{OWN}/{}", name(&token)), Some(&wrong)).status, 409);
    let gone = lab.send(Some(&token), "DELETE", &format!("{OWN}/{}", name(&token)), None);
    assert_eq!((gone.status, gone.json()["kind"].as_str()), (200, Some("OAuthAccessToken")), "it is no Status");
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(30);
    assert_eq!(lab.status_with(&token), 401);
    let cold = login.token();
    assert_eq!(lab.send(Some(&lab.alice), "DELETE", &format!("{ALL}/{}", name(&cold)), None).status, 200, "anybody may");
    assert_eq!(lab.status_with(&cold), 401, "nobody has seen it before");
}

#[test]
fn a_token_may_be_taken_for_forty_seconds_after_it_was_deleted() {
    let login = Login::new();
    let (lab, token) = (&login.lab, login.token());
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(29);
    assert_eq!(lab.status_with(&token), 201, "from the review that is remembered, into the cache");
    login.lab.send(Some(&lab.alice), "DELETE", &format!("{ALL}/{}", name(&token)), None);
    lab.advance(9);
    assert_eq!(lab.status_with(&token), 201);
    lab.advance(1);
    assert_eq!(lab.status_with(&token), 401);
}

#[test]
fn an_expired_token_is_gone_and_one_of_age_nought_is_for_ever() {
    let login = Login::new();
    login.oauth.set_max_age(60);
    let short = login.token();
    login.oauth.set_max_age(0);
    let eternal = login.token();
    login.lab.advance(61);
    assert_eq!(login.lab.status_with(&short), 401);
    let seen = login.lab.send(Some(&eternal), "GET", &format!("{OWN}/{}", name(&eternal)), None);
    assert!(seen.status == 200 && seen.json()["expiresIn"].is_null());
    assert_eq!(login.oauth.tokens(), [name(&eternal)]);
}

#[test]
fn where_the_server_of_the_tokens_is_away_a_401_proves_nothing() {
    let login = Login::new();
    let (warm, cold) = (login.token(), login.token());
    assert_eq!(login.lab.status_with(&warm), 201);
    login.oauth.set_away(true);
    assert_eq!((login.lab.status_with(&warm), login.lab.status_with(&cold)), (201, 401));
    let deleted = login.lab.send(Some(&warm), "DELETE", &format!("{OWN}/{}", name(&warm)), None);
    assert!(deleted.status == 503 && deleted.body.starts_with("error trying to reach service"));
    let answer = login.authorize("client_id=openshift-challenging-client&response_type=code", Some("s:cret ü"));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("server_error")));
    login.oauth.set_away(false);
    assert_eq!(login.lab.status_with(&cold), 201);
}

#[test]
fn a_cluster_that_is_no_openshift_has_none_of_it() {
    let lab = Lab::new();
    let found = lab.send(None, "GET", "/.well-known/oauth-authorization-server", None);
    assert_eq!(found.status, 403);
    assert_eq!(lab.get(&format!("{OWN}/sha256~x")).status, 404);
}

#[test]
fn a_registry_takes_what_the_api_server_takes() {
    let login = Login::new();
    let registry = Registry::start(&login.lab.sandbox.url(), &login.lab.sandbox.ca_pem());
    let ask = |path: &str, header: Option<String>| {
        let headers: Vec<_> = header.as_deref().map(|value| ("Authorization", value)).into_iter().collect();
        client::send(&format!("https://{}", registry.host()), &registry.ca_pem(), "GET", path, &headers, None).expect("an answer")
    };
    let basic = |password: &str| Some(format!("Basic {}", STANDARD.encode(format!("jobpass:{password}"))));
    let challenge = format!("Bearer realm=\"https://{}/openshift/token\"", registry.host());
    let asked = ask("/v2/", None);
    assert_eq!((asked.status, asked.header("www-authenticate")), (401, Some(challenge.as_str())));
    let token = login.token();
    assert_eq!(ask("/openshift/token", basic(&token)).json()["access_token"], token.as_str());
    assert_eq!(ask("/v2/", Some(format!("Bearer {token}"))).status, 200);
    assert_eq!(ask("/openshift/token", None).json()["token"], "anonymous");
    for bad in ["", "garbage"] {
        assert_eq!(ask("/openshift/token", basic(bad)).status, 401);
    }
}
