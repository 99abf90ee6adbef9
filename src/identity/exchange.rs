//! A CI identity that is exchanged: a token endpoint takes a token that says who this job is, and gives one that the cluster trusts.
//!
//! The request is that of RFC 8693: <https://www.rfc-editor.org/rfc/rfc8693#section-2.1>. What the endpoint answers is read in
//! [`answer`].

use std::{path::PathBuf, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Identity,
    bearer::Bearer,
    issuer::{Asking, Issued, Issuer, Issuing},
    mounted, oidc,
    rank::Rank,
    server,
    source::{Kind, Source},
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    files,
    net::{
        Target, Trust,
        fetch::{Fetch, split},
    },
    options::{self as o, Given, Options, Setting},
    origin::Origin,
    secret::Secret,
};

mod answer;

/// The first line of all failures.
const WHAT: &str = "cannot exchange this job's token for one that the cluster trusts";

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What the names of all types of tokens begin with that the standard has, such as `jwt`.
const TYPE: &str = "urn:ietf:params:oauth:token-type:";

/// What a form's value may have as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An exchanged token as the CI identity.
pub(super) struct Exchange;

impl Source for Exchange {
    fn name(&self) -> Option<&'static str> {
        None
    }

    fn kind(&self) -> Kind {
        Kind::Exchange
    }

    fn settings(&self) -> &'static [&'static Setting] {
        &[&o::EXCHANGE_URL]
    }

    fn takes(&self, kind: Kind) -> bool {
        match kind {
            // What is exchanged may be given as a token.
            Kind::Token | Kind::Exchange => true,
            Kind::Kubeconfig | Kind::InCluster | Kind::Oidc | Kind::Openshift => false,
        }
    }

    fn asked(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        let options = &context.options;
        let missing = |setting: &Setting, hint: &str| {
            Err(Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(setting))).hint(hint))
        };
        match (options.get(&o::EXCHANGE_URL), options.get(&o::SERVER)) {
            (None, _) if Kind::chosen(options)? == Some(Kind::Exchange) => {
                missing(&o::EXCHANGE_URL, "an exchange needs the token endpoint at which it is made")
            }
            (None, _) => Ok(None),
            (Some(_), None) => missing(&o::SERVER, "an exchanged token needs the API server that it is for"),
            (Some(url), Some(_)) => find(context, url).map(Some),
        }
    }

    fn rank(&self, _: &Identity, context: &Context) -> Rank {
        // Whoever names the endpoint decides whose token it is.
        context.options.get(&o::EXCHANGE_URL).map_or(Rank::Flag, |given| Rank::of(&given.source))
    }
}

fn find(context: &Context, url: &Given) -> Result<Identity, Failure> {
    let options = &context.options;
    let (server, path) = split(&url.text, &url.source.to_string())?;
    let (subject, whose, rank) = subject(context, url)?;
    if Rank::of(&url.source) < rank {
        return Err(Failure::new(Code::IdentityMisdirected, format!("{} may not say where {whose} goes", url.source))
            .cause("that token is given, or its audience or the API server is named, by what counts more")
            .hint(format!("give `--{}` or the input in the same place, or have the token issued for that address", o::EXCHANGE_URL.name)));
    }
    let mut parameters = vec![
        ("grant_type", GRANT.to_owned()),
        ("requested_token_type", format!("{TYPE}access_token")),
        ("subject_token_type", type_of(options)?),
    ];
    for (name, setting) in [("audience", &o::EXCHANGE_AUDIENCE), ("resource", &o::EXCHANGE_RESOURCE), ("client_id", &o::EXCHANGE_CLIENT_ID)]
    {
        parameters.extend(options.text(setting).map(|text| (name, text.to_owned())));
    }
    let scopes = options.list(&o::EXCHANGE_SCOPE).join(" ");
    if !scopes.is_empty() {
        parameters.push(("scope", scopes));
    }
    let why = format!("the token that `{server}` gives for {whose}");
    let endpoint = Endpoint { server, path, subject, parameters, audience: options.text(&o::EXCHANGE_AUDIENCE).map(str::to_owned) };
    Ok(Identity { issuer: Some(Arc::new(endpoint)), ..Identity::new(Origin::Exchange, why) })
}

/// The type of the token that is exchanged, as the endpoint is to be told.
fn type_of(options: &Options) -> Result<String, Failure> {
    let Some(given) = options.get(&o::EXCHANGE_SUBJECT_TYPE) else { return Ok(format!("{TYPE}jwt")) };
    match given.text.as_str() {
        known @ ("jwt" | "id_token" | "access_token") => Ok(format!("{TYPE}{known}")),
        urn if urn.starts_with("urn:") => Ok(urn.to_owned()),
        _ => Err(Failure::new(Code::UsageValue, format!("{} names no type of token", given.source))
            .hint("write `jwt`, `id_token` or `access_token`, or the whole URN of another type")),
    }
}

/// The token that says who this job is, which token that is in words, and its rank. Without the exchange it would go to the API server:
/// whoever counts less than who named that one may not send it to an endpoint instead, unless it is meant for this endpoint.
fn subject(context: &Context, url: &Given) -> Result<(Subject, String, Rank), Failure> {
    let options = &context.options;
    if let Some(given) = Bearer.asked(context)?
        && let Some(token) = given.user.token.clone()
    {
        if mounted::is_own(&given) {
            return Err(Failure::new(Code::IdentityMisdirected, format!("cannot exchange {}", given.why))
                .cause("it is a pod's own token, which goes to the pod's own API server only")
                .hint("mount a token that is meant for the token endpoint: a projected one with its audience"));
        }
        let token = Secret::from(token);
        let is_elsewhere = oidc::rank_elsewhere(Some(&token), "", |audience| is_meant(audience, &url.text), options).is_some();
        let rank = match (mounted::for_another(&given).is_some(), is_elsewhere) {
            // Who reads it here could use it where it is meant for, so a variable may send it there only: to this endpoint.
            (true, true) => Rank::Flag,
            (true, false) => Rank::Variable,
            (false, true) => Bearer.rank(&given, context).max(Rank::of_server(options)),
            (false, false) => Bearer.rank(&given, context),
        };
        let file = given.user.token_file.map(PathBuf::from);
        return Ok((Subject::Given { token, file }, given.why, rank));
    }
    let audience = options.text(&o::OIDC_AUDIENCE).unwrap_or_else(|| url.text.trim());
    let Some(subject) = oidc::subject(context, audience)? else { return Err(super::missing::without_oidc(context)) };
    // A token for this very endpoint is of no use to another one, whoever names it; its certificate is checked by the system's roots.
    let rank = |given: Option<&Secret>| {
        let elsewhere = oidc::rank_elsewhere(given, audience, |audience| is_meant(audience, &url.text), options);
        elsewhere.map_or(Rank::Variable, |rank| rank.max(Rank::of_server(options)))
    };
    Ok(match subject {
        oidc::Subject::Given(token, source) => {
            let rank = rank(Some(&token));
            (Subject::Given { token, file: None }, format!("the OIDC token of {source}"), rank)
        }
        oidc::Subject::Github(github) => {
            (Subject::Github(github), format!("GitHub's OIDC token of this job, for audience `{audience}`"), rank(None))
        }
    })
}

/// Whether a token for this audience is meant for the endpoint: it is the endpoint's URL, or that of the issuer below which it lies.
fn is_meant(audience: &str, url: &str) -> bool {
    let plain = |text: &str| server::plain(text.split('?').next().unwrap_or_default(), "").ok();
    let (Some(audience), Some(url)) = (plain(audience), plain(url)) else { return false };
    url.strip_prefix(&audience).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A token that says who this job is.
enum Subject {
    /// A setting holds it, or names its file, which is read anew each time.
    Given { token: Secret, file: Option<PathBuf> },
    /// GitHub issues it.
    Github(oidc::Github),
}

impl Subject {
    async fn token(&self, asking: &Asking<'_>) -> Result<Secret, Failure> {
        match self {
            Self::Given { token, file } => {
                let again = file.as_ref().and_then(|file| files::read_text(file).ok()).map(|text| Secret::new(text).trimmed());
                Ok(again.filter(|again| !again.is_blank()).unwrap_or_else(|| token.clone()))
            }
            Self::Github(github) => github.token(asking.ways, asking.limit).await,
        }
    }
}

/// A token endpoint, and what is asked of it.
struct Endpoint {
    server: String,
    path: String,
    subject: Subject,
    /// The parameters of the request, all but the token.
    parameters: Vec<(&'static str, String)>,
    /// For whom the new token is to be.
    audience: Option<String>,
}

impl Endpoint {
    async fn issued(&self, asking: Asking<'_>) -> Result<Issued, Failure> {
        let subject = self.subject.token(&asking).await?;
        let target = Target {
            what: WHAT.to_owned(),
            noun: answer::WHO,
            server: self.server.clone(),
            trust: Trust::System,
            authority: "the system's roots".to_owned(),
            server_name: None,
            has_own_proxy: false,
            way: asking.ways.to(&self.server)?,
        };
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        let headers = HeaderMap::from_iter(headers);
        let fetch = Fetch { target: &target, method: Method::POST, path: &self.path, headers, body: Some(self.body(&subject)) };
        let reply = fetch.send(asking.limit, |reply| !reply.is_passing()).await?;
        answer::read(&reply, &subject, self.audience.as_deref())
    }

    fn body(&self, subject: &Secret) -> Secret {
        let mut known = String::new();
        for (name, text) in &self.parameters {
            known.extend([*name, "="].into_iter().chain(utf8_percent_encode(text, FORM)).chain(["&"]));
        }
        // Tokens have few characters that a form needs in another way, so that most of the parts are long.
        let token = utf8_percent_encode(subject.expose(), FORM);
        let parts: Vec<_> = [known.as_str(), "subject_token="].into_iter().chain(token).collect();
        Secret::of_parts(&parts)
    }
}

impl Issuer for Endpoint {
    fn issue<'a>(&'a self, asking: Asking<'a>) -> Issuing<'a> {
        Box::pin(self.issued(asking))
    }

    fn secrets(&self) -> Vec<Secret> {
        match &self.subject {
            Subject::Given { token, .. } => vec![token.clone()],
            Subject::Github(github) => github.secrets(),
        }
    }

    fn only(&self) -> Option<&Secret> {
        match &self.subject {
            Subject::Given { token, file: None } => Some(token),
            Subject::Given { file: Some(_), .. } | Subject::Github(_) => None,
        }
    }

    fn variables(&self) -> &'static [&'static str] {
        match &self.subject {
            // No verb gives these to its command in any case.
            Subject::Given { .. } => &[],
            Subject::Github(github) => github.variables(),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::{super::Purpose, *};
    use crate::{context::Stdout, env::Env};

    const URL: &str = "https://sts.example/realms/a/token";
    const MAIN: (&str, Option<&str>) = ("action", Some("main"));

    fn jwt(audience: &str) -> String {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::json!({"aud": audience, "iss": "https://ci.example"}).to_string());
        format!("e30.{claims}.c2ln")
    }

    /// Finds the identity of a call with these flags and this environment.
    fn found(flags: &[(&str, Option<&str>)], env: &[(&str, &str)]) -> Result<Identity, Failure> {
        let flags = flags.iter().map(|(name, text)| ((*name).to_owned(), text.map(str::to_owned))).collect();
        let env: Env = [("HOME", "/nowhere")].into_iter().chain(env.iter().copied()).collect();
        let options = Options::resolve(&flags, &env)?;
        let context = Context::resolve(options, env, Stdout::Data)?;
        Identity::find(&context, Purpose::Begin).map(|(identity, _)| identity)
    }

    const SETTINGS: [(&str, Option<&str>); 2] = [("exchange-url", None), ("server", None)];

    fn refusal(flags: &[(&str, Option<&str>)], env: &[(&str, &str)]) -> String {
        match found(flags, env) {
            Ok(identity) => panic!("found {}", identity.why),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn an_audience_is_meant_if_the_endpoint_lies_below_it() {
        for audience in [URL, "https://STS.example/realms/a/token/", "https://sts.example/realms/a", "https://sts.example"] {
            assert!(is_meant(audience, URL), "{audience}");
            assert!(is_meant(audience, &format!("{URL}?connector_id=github")), "{audience}");
        }
        for audience in
            ["https://sts.example/realms/b", "https://sts.example/realms/a/tok", "https://sts.example.evil", "sts", "", "api://x"]
        {
            assert!(!is_meant(audience, URL), "{audience}");
        }
    }

    #[test]
    fn the_form_has_what_was_set_and_the_token_last() {
        let parameters = vec![("grant_type", GRANT.to_owned()), ("scope", "a b&c".to_owned())];
        let subject = Subject::Given { token: Secret::new(String::new()), file: None };
        let endpoint = Endpoint { server: String::new(), path: String::new(), subject, parameters, audience: None };
        let body = endpoint.body(&Secret::new("e30.a_b-c+/=".to_owned()));
        assert_eq!(
            body.expose(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&scope=a%20b%26c&subject_token=e30.a_b-c%2B%2F%3D"
        );
    }

    #[test]
    fn a_token_for_the_endpoint_may_be_sent_there_by_a_variable() {
        let (own, above, other) = (jwt(URL), jwt("https://sts.example/realms/a"), jwt("https://other.example"));
        let env = |token| [("JOBPASS_EXCHANGE_URL", URL), ("JOBPASS_SERVER", "https://api.example"), ("JOBPASS_IDENTITY_ID_TOKEN", token)];
        for token in [&own, &above] {
            let identity = found(&SETTINGS, &env(token)).expect("it is meant for that endpoint");
            assert_eq!(identity.origin, Origin::Exchange);
            assert!(
                identity.why.contains("`https://sts.example` gives for the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN`"),
                "{}",
                identity.why
            );
        }
        let refused = refusal(&SETTINGS, &env(&other));
        assert!(
            refused.contains("`JOBPASS_EXCHANGE_URL` may not say where the OIDC token of `JOBPASS_IDENTITY_ID_TOKEN` goes"),
            "{refused}"
        );
        assert!(found(&[("exchange-url", Some(URL)), ("server", Some("https://api.example"))], &env(&other)).is_ok(), "by flags");
    }

    #[test]
    fn nobody_of_a_lower_rank_says_where_the_exchanged_token_goes() {
        let token = jwt(URL);
        let env = [("JOBPASS_SERVER", "https://evil.example"), ("JOBPASS_IDENTITY_ID_TOKEN", token.as_str())];
        let refused = refusal(&[("exchange-url", Some(URL)), ("server", None)], &env);
        assert!(refused.contains("`JOBPASS_SERVER` may not say where the credential of"), "{refused}");
        let env = [("INPUT_EXCHANGE-URL", URL), ("JOBPASS_SERVER", "https://evil.example"), ("JOBPASS_IDENTITY_ID_TOKEN", token.as_str())];
        let refused = refusal(&[MAIN, SETTINGS[0], SETTINGS[1]], &env);
        assert!(refused.contains("may not say where the credential of"), "{refused}");
    }

    #[test]
    fn the_audience_that_is_asked_for_ranks_as_its_setting() {
        let github = [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://actions.example/t?a=b"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
            ("JOBPASS_EXCHANGE_URL", URL),
            ("JOBPASS_SERVER", "https://api.example"),
        ];
        let audience = |text| [SETTINGS[0], SETTINGS[1], ("oidc-audience", text)];
        assert!(found(&audience(None), &github).is_ok(), "the endpoint's own address");
        assert!(found(&audience(Some("https://sts.example/realms/a")), &github).is_ok(), "that of its issuer");
        let refused = refusal(&audience(Some("//iam.example/pool")), &github);
        assert!(refused.contains("`JOBPASS_EXCHANGE_URL` may not say where GitHub's OIDC token of this job"), "{refused}");
        let by_variable: Vec<_> = github.into_iter().chain([("JOBPASS_OIDC_AUDIENCE", "//iam.example/pool")]).collect();
        assert!(found(&audience(None), &by_variable).is_ok(), "both by variables");
    }

    #[test]
    fn a_token_that_is_given_ranks_as_its_setting() {
        let env = [("JOBPASS_EXCHANGE_URL", URL), ("JOBPASS_SERVER", "https://api.example"), ("JOBPASS_IDENTITY_TOKEN", "tok")];
        assert!(found(&SETTINGS, &env).is_ok());
        let file = tempfile::NamedTempFile::new().expect("a file");
        #[expect(clippy::disallowed_methods, reason = "the job's own file is made here")]
        std::fs::write(file.path(), "tok").expect("written");
        let path = file.path().to_str();
        let refused = refusal(&[SETTINGS[0], SETTINGS[1], ("identity-token-file", path)], &env[..2]);
        assert!(refused.contains("may not say where the identity token of `--identity-token-file` goes"), "{refused}");
    }

    #[test]
    fn what_belongs_to_no_exchange_is_refused() {
        let token = jwt(URL);
        let env = [("JOBPASS_EXCHANGE_URL", URL), ("JOBPASS_SERVER", "https://api.example"), ("JOBPASS_IDENTITY_ID_TOKEN", token.as_str())];
        let refused = refusal(&[SETTINGS[0], SETTINGS[1], ("kubeconfig", Some("/x"))], &env);
        assert!(refused.contains("exclude each other"), "{refused}");
        assert!(refusal(&SETTINGS, &env[..1]).contains("`--server` (or `JOBPASS_SERVER`) is missing"));
        assert!(refusal(&[("identity", Some("exchange")), SETTINGS[0], SETTINGS[1]], &env[1..]).contains("`--exchange-url`"));
        assert!(refusal(&SETTINGS, &env[..2]).contains("this job has no OIDC token"));
        let other = [SETTINGS[0], SETTINGS[1], ("exchange-subject-type", Some("saml"))];
        assert!(refusal(&other, &env).contains("`--exchange-subject-type` names no type of token"));
        let insecure = [("exchange-url", Some("http://sts.example")), SETTINGS[1]];
        assert!(refusal(&insecure, &env).contains("without TLS"));
    }
}
