//! A CI identity that the CI system itself vouches for: an OIDC token for this job, which nobody stores.
//!
//! GitHub issues it on request, to every step of a job with `permissions: id-token: write`:
//! <https://docs.github.com/en/actions/reference/security/oidc>. GitLab puts it into the variable that `id_tokens:` names:
//! <https://docs.gitlab.com/ci/secrets/id_token_authentication/>.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, header};
use kube::config::AuthInfo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{
    Identity,
    bearer::Bearer,
    issuer::{Asking, Issued, Issuer, Issuing},
    rank::Rank,
    server,
    source::{Kind, Ranked, Source},
    token_of,
};
use crate::{
    context::Context,
    failure::{Code, Failure},
    jwt::Claims,
    net::{
        self, Target, Trust,
        fetch::{Fetch, Limit, split},
        way::Ways,
    },
    options::{self as o, Options, Source as SetBy},
    origin::{Origin, Word},
    out::one_line,
    secret::Secret,
};

/// The variables by which GitHub's runner says where a token can be had, and as whom.
pub const OF_GITHUB: [&str; 2] = ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"];

/// What a query's value may have as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// In bytes: the longest part of a refusal that is repeated.
const LONGEST: usize = 200;

/// The CI system's OIDC token as the CI identity.
pub(super) struct Oidc;

impl Source for Oidc {
    fn name(&self) -> Option<&'static str> {
        Some("OIDC token of the CI system")
    }

    fn kind(&self) -> Kind {
        Kind::Oidc
    }

    fn takes(&self, kind: Kind) -> bool {
        match kind {
            // A token in a file may be an OIDC token, too.
            Kind::Token | Kind::Oidc => true,
            Kind::Kubeconfig | Kind::InCluster | Kind::Exchange | Kind::Openshift => false,
        }
    }

    fn asked(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        if Kind::chosen(&context.options)? != Some(Kind::Oidc) {
            return Ok(None);
        }
        // A file with a projected token, as Tekton, ARC, SPIFFE or Buildkite write it. A variable with a stored one, which a project
        // cannot take away from one job alone, is passed over where the platform gives the job its own.
        let stored = context.options.secret(&o::IDENTITY_TOKEN);
        let is_passed_over =
            is_there(context) && context.options.get(&o::IDENTITY_TOKEN_FILE).is_none() && matches!(stored, Some((_, SetBy::Variable(_))));
        if !is_passed_over && let Some(given) = Bearer.asked(context)? {
            return Ok(Some(given));
        }
        if context.options.get(&o::SERVER).is_none() {
            return Err(Failure::new(Code::UsageMissing, format!("{} is missing", context.options.missing(&o::SERVER)))
                .hint("an OIDC token needs the API server that it is for"));
        }
        let audience = context.options.text(&o::OIDC_AUDIENCE);
        find(context, audience)?.map_or_else(|| Err(super::missing::without_oidc(context)), |identity| Ok(Some(identity)))
    }

    fn again(&self, origin: &Origin, context: &Context, word: Word) -> Result<Option<Identity>, Failure> {
        let options = &context.options;
        let is_fixed = matches!(options.get(&o::OIDC_AUDIENCE).map(|given| &given.source), Some(SetBy::Flag(_) | SetBy::Input(_)));
        // A variable may have been set since: a pass ends by a token for whom it was begun.
        if let (Origin::Oidc { audience }, Word::Ours, false) = (origin, word, is_fixed)
            && options.get(&o::SERVER).is_some()
        {
            return find(context, audience.as_deref());
        }
        self.offered(context)
    }

    fn offered(&self, context: &Context) -> Result<Option<Identity>, Failure> {
        // The template always declares a token, and runners in a cluster often may have one: only with a server is it meant for us.
        let options = &context.options;
        if options.get(&o::SERVER).is_none() { Ok(None) } else { find(context, options.text(&o::OIDC_AUDIENCE)) }
    }

    fn rank(&self, identity: &Identity, context: &Context) -> Rank {
        let options = &context.options;
        let given = identity.user.token.clone().map(Secret::from);
        if given.is_none() && asked_for(identity) != options.text(&o::OIDC_AUDIENCE) {
            // The lease remembers that audience, and the pass is ended on the lease's own server only.
            return Rank::of_server(options);
        }
        let asked = audience(options, asked_for(identity));
        let elsewhere = rank_elsewhere(given.as_ref(), &asked, |audience| is_server(audience, options), options);
        // A token for this very server is of no use to another one, whoever names it. But whoever counts less than who named it may
        // not say by which authority the server is known.
        elsewhere.unwrap_or_else(|| Rank::of_server(options))
    }

    fn ranked(&self, identity: &Identity, context: &Context) -> Option<Ranked> {
        let of_token = identity.user.token.as_ref().map(|token| audiences(&token.clone().into()));
        let audiences = of_token.clone().unwrap_or_else(|| vec![audience(&context.options, asked_for(identity))]);
        Some(if are_server(&audiences, &context.options) {
            Ranked { because: "who names the server also says how it is known".to_owned(), instead: None }
        } else if of_token.is_some() {
            elsewhere(&audiences)
        } else {
            Ranked { because: because("the audience that is asked for"), instead: None }
        })
    }
}

/// The rank of a token that is not meant for the server that is to get it; none if it is meant for that. It is given, or to be
/// issued for the audience that is asked for.
pub(super) fn rank_elsewhere(given: Option<&Secret>, asked: &str, is_meant: impl Fn(&str) -> bool, options: &Options) -> Option<Rank> {
    let claims = given.map(|token| Claims::of(token).unwrap_or_default());
    let audiences = claims.as_ref().map_or_else(|| vec![asked], Claims::audiences);
    if !audiences.is_empty() && audiences.into_iter().all(is_meant) {
        return None;
    }
    Some(match (given, options.chosen(&o::OIDC_AUDIENCE)) {
        // The audience of a token that we were given stands in the pipeline's own file.
        (Some(_), _) | (None, None) => Rank::Flag,
        // Our action has inputs for what is meant, and every step before it can set variables for it.
        (None, Some(given)) if options.phase().is_some() => Rank::of(&given.source).max(Rank::Input),
        (None, Some(given)) => Rank::of(&given.source),
    })
}

/// The audience that is asked for: the one that is said, else the server's URL.
fn audience(options: &Options, said: Option<&str>) -> String {
    let server = options.get(&o::SERVER).map(|given| server::plain(&given.text, "").unwrap_or_else(|_| given.text.clone()));
    said.map(str::to_owned).or(server).unwrap_or_default()
}

/// The audience that was said for an identity's token, if it is not just the server.
fn asked_for(identity: &Identity) -> Option<&str> {
    match &identity.origin {
        Origin::Oidc { audience } => audience.as_deref(),
        Origin::Kubeconfig { .. }
        | Origin::KubeconfigText
        | Origin::InCluster
        | Origin::Bearer { .. }
        | Origin::Openshift
        | Origin::Exchange => None,
    }
}

/// Whether the audiences are the URL of the server that is set, and nothing else.
pub(super) fn are_server(audiences: &[String], options: &Options) -> bool {
    !audiences.is_empty() && audiences.iter().all(|audience| is_server(audience, options))
}

/// Whether an audience is the URL of the server that is set.
fn is_server(audience: &str, options: &Options) -> bool {
    let plain = |text: &str| server::plain(text, "").ok();
    let server = options.text(&o::SERVER).and_then(plain);
    server.is_some() && plain(audience) == server
}

/// The audiences that a token names.
fn audiences(token: &Secret) -> Vec<String> {
    Claims::of(token).unwrap_or_default().audiences().into_iter().map(str::to_owned).collect()
}

/// Why a token with these audiences goes only where the pipeline's own text says.
pub(super) fn elsewhere(audiences: &[String]) -> Ranked {
    let named = audiences.iter().filter(|audience| !audience.is_empty()).map(|audience| format!("`{}`", one_line(audience)));
    let named = named.collect::<Vec<_>>().join(", ");
    Ranked {
        because: if named.is_empty() { "it names no audience".to_owned() } else { because(&format!("its audience {named}")) },
        instead: Some(if audiences.iter().any(|audience| audience.contains('$')) {
            "write the server's URL as its `aud`: a GitLab before 16.1 expands no variable there".to_owned()
        } else {
            format!("have it issued for the server's URL (`aud: ${}`)", o::SERVER.variable())
        }),
    }
}

fn because(whose: &str) -> String {
    format!("{whose} is not the URL of this server, so that other servers may take the token, too")
}

/// Whether this job has an OIDC token, or may have one.
pub(super) fn is_there(context: &Context) -> bool {
    let is_set = |name| context.env.secret(name).is_some_and(|value| !value.is_blank());
    context.options.secret(&o::IDENTITY_ID_TOKEN).is_some() || OF_GITHUB.into_iter().all(is_set)
}

/// The OIDC token that this job has or may have, for this audience, or else for the server.
fn find(context: &Context, said: Option<&str>) -> Result<Option<Identity>, Failure> {
    let options = &context.options;
    let audience = audience(options, said);
    if let Some(subject) = subject(context, &audience)? {
        // Said first: an audience that was made of it would be compared with no server.
        options.get(&o::SERVER).map(|given| server::plain(&given.text, &given.source.to_string())).transpose()?;
        let why = match &subject {
            Subject::Given(_, source) => format!("the OIDC token of {source}"),
            Subject::Github(_) => format!("GitHub's OIDC token of this job, for audience `{audience}`"),
        };
        let identity = Identity::new(Origin::Oidc { audience: said.map(str::to_owned) }, why);
        return Ok(Some(match subject {
            Subject::Given(token, _) => Identity { user: AuthInfo { token: Some(token_of(&token)), ..AuthInfo::default() }, ..identity },
            Subject::Github(github) => Identity { issuer: Some(Arc::new(github)), ..identity },
        }));
    }
    Ok(None)
}

/// A token that says who this job is: given, or to be had from GitHub. It is what a token exchange exchanges, too.
pub(super) enum Subject {
    /// It is there, from this source.
    Given(Secret, String),
    /// GitHub issues it.
    Github(Github),
}

/// The token of this job for an audience, if there is one or one can be had.
pub(super) fn subject(context: &Context, audience: &str) -> Result<Option<Subject>, Failure> {
    let Context { options, env, .. } = context;
    if let Some((token, source)) = options.secret(&o::IDENTITY_ID_TOKEN) {
        if alone(&token.trimmed()).is_none() {
            return Err(Failure::new(Code::IdentityToken, format!("{source} holds no OIDC token"))
                .cause("an OIDC token is a JWT: three parts of base64 with dots between them, and nothing else")
                .hint("have it issued by `id_tokens:`; a token of another kind goes to `JOBPASS_IDENTITY_TOKEN`"));
        }
        return Ok(Some(Subject::Given(token.clone(), source.to_string())));
    }
    let [url, token] = OF_GITHUB.map(|name| env.secret(name).filter(|value| !value.is_blank()));
    match (url, token) {
        (Some(url), Some(token)) => Github::of(&url, token, audience).map(|github| Some(Subject::Github(github))),
        (Some(_), None) | (None, Some(_) | None) => Ok(None),
    }
}

/// GitHub's issuer, as the runner tells of it.
pub(super) struct Github {
    server: String,
    path: String,
    token: Secret,
    audience: String,
}

#[derive(Deserialize)]
struct Answer {
    value: Secret,
}

#[derive(Deserialize)]
struct Refusal {
    message: Option<String>,
}

impl Github {
    fn of(url: &Secret, token: Secret, audience: &str) -> Result<Self, Failure> {
        let (server, path) = split(url.expose(), &format!("`{}`", OF_GITHUB[0]))?;
        let and = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{and}audience={}", utf8_percent_encode(audience, QUERY));
        Ok(Self { server, path, token, audience: audience.to_owned() })
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// When GitHub gives none, or one for another audience.
    pub(super) async fn token(&self, ways: &Ways, limit: Limit<'_>) -> Result<Secret, Failure> {
        let what = "cannot get an OIDC token for this job from GitHub";
        let target = Target {
            what: what.to_owned(),
            noun: "GitHub's OIDC provider",
            server: self.server.clone(),
            trust: Trust::System,
            authority: "the system's roots".to_owned(),
            server_name: None,
            has_own_proxy: false,
            way: ways.to(&self.server)?,
        };
        let mut headers = HeaderMap::new();
        let bearer = net::header("Bearer", &self.token).ok_or_else(|| {
            Failure::new(Code::IdentityOidc, what).cause(format!("`{}` has characters that a request cannot carry", OF_GITHUB[1]))
        })?;
        headers.insert(header::AUTHORIZATION, bearer);
        let fetch = Fetch { target: &target, method: Method::GET, path: &self.path, headers, body: None };
        let reply = fetch.send(limit, |reply| !reply.is_passing()).await?;
        let refused = |cause: String| Failure::new(Code::IdentityOidc, what).cause(cause);
        if !reply.is_success() {
            let said = serde_json::from_slice::<Refusal>(&reply.body).ok().and_then(|refusal| refusal.message);
            let said = said.filter(|said| said.len() <= LONGEST).map(|said| format!(": {said}")).unwrap_or_default();
            let failure = refused(reply.brief(target.noun) + &said);
            return Err(match reply.status {
                401 | 403 => failure.hint(
                    "GitHub issues no token for a job that is over or is being cancelled, and none without `permissions: id-token: write`",
                ),
                _ => failure,
            });
        }
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| refused("its answer is not what was asked for".to_owned()))?;
        checked(&answer.value, &self.audience).map_err(|cause| refused(cause.to_owned()))?;
        Ok(answer.value)
    }
}

/// What a token says, if there is nothing beside it: no quotes, no `Bearer`.
fn alone(token: &Secret) -> Option<Claims> {
    let is_of_jwt = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'=');
    Claims::of(token).filter(|_| token.expose().bytes().all(is_of_jwt))
}

/// Checks that it is a token, and for this audience: another one may be meant for somebody else.
fn checked(token: &Secret, audience: &str) -> Result<(), &'static str> {
    match alone(token) {
        None => Err("what it gave is no token"),
        Some(claims) if claims.audiences() != [audience] => Err("its token is for another audience than was asked for"),
        Some(_) => Ok(()),
    }
}

impl Issuer for Github {
    fn issue<'a>(&'a self, asking: Asking<'a>) -> Issuing<'a> {
        Box::pin(async move {
            let token = self.token(asking.ways, asking.limit).await?;
            let lifetime = Claims::of(&token).and_then(|claims| claims.lifetime()).and_then(|seconds| u64::try_from(seconds).ok());
            Ok(Issued { token, lifetime: lifetime.map(Duration::from_secs) })
        })
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.token.clone()]
    }

    fn variables(&self) -> &'static [&'static str] {
        &OF_GITHUB
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;
    use crate::{context::context, platform::Platform};

    fn jwt(audience: &str) -> String {
        let claims = serde_json::json!({"iss": "https://gitlab.example.com", "aud": audience, "sub": "project_path:a/b"});
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn rank(audience: &str, flags: &[(&str, &str)], env: &[(&str, &str)]) -> Rank {
        let token = jwt(audience);
        let env: Vec<_> = env.iter().copied().chain([("JOBPASS_IDENTITY_ID_TOKEN", token.as_str())]).collect();
        let context = context(Platform::Gitlab, flags, &env).expect("valid");
        Oidc.rank(&find(&context, context.options.text(&o::OIDC_AUDIENCE)).expect("valid").expect("found"), &context)
    }

    #[test]
    fn a_token_for_the_server_itself_goes_where_the_server_is_named() {
        let server = "https://api.example.com:6443";
        assert_eq!(rank(server, &[], &[("JOBPASS_SERVER", server)]), Rank::Variable);
        assert_eq!(rank(server, &[("server", "api.example.com:6443/")], &[]), Rank::Flag);
    }

    #[test]
    fn a_token_for_another_audience_goes_only_where_a_flag_says() {
        for (audience, server) in [("prod", "https://api.example.com"), ("https://api.example.com", "https://evil.example.com")] {
            assert_eq!(rank(audience, &[], &[("JOBPASS_SERVER", server)]), Rank::Flag, "{audience}");
            // Whoever can set the one variable can set the other.
            assert_eq!(rank(audience, &[], &[("JOBPASS_SERVER", server), ("JOBPASS_OIDC_AUDIENCE", audience)]), Rank::Flag, "{audience}");
        }
    }

    fn github(flags: &[(&str, &str)], env: &[(&str, &str)]) -> (Rank, String) {
        let asked = [(OF_GITHUB[0], "https://issuer.example.com/x?v=2"), (OF_GITHUB[1], "request-token")];
        let env: Vec<_> = env.iter().copied().chain(asked).collect();
        let context = context(Platform::Github, flags, &env).expect("valid");
        let identity = find(&context, context.options.text(&o::OIDC_AUDIENCE)).expect("valid").expect("found");
        (Oidc.rank(&identity, &context), identity.why)
    }

    #[test]
    fn github_is_asked_for_the_servers_url_or_the_audience_that_is_set() {
        let server = ("JOBPASS_SERVER", "https://API.example.com:443/");
        let (rank, why) = github(&[], &[server]);
        assert_eq!((rank, why.as_str()), (Rank::Variable, "GitHub's OIDC token of this job, for audience `https://api.example.com`"));
        assert_eq!(github(&[("oidc-audience", "prod")], &[server]).0, Rank::Flag);
        assert_eq!(github(&[], &[server, ("JOBPASS_OIDC_AUDIENCE", "prod")]).0, Rank::Variable);
    }

    #[test]
    fn in_the_action_no_variables_say_for_whom_and_where() {
        let (main, evil) = (("action", "main"), ("JOBPASS_SERVER", "https://evil.example.com"));
        let asked = ("JOBPASS_OIDC_AUDIENCE", "https://api.example.com");
        assert_eq!(github(&[main], &[evil, asked]).0, Rank::Input);
        assert_eq!(github(&[main], &[("INPUT_SERVER", "https://api.example.com"), ("INPUT_OIDC-AUDIENCE", "prod")]).0, Rank::Input);
        assert_eq!(github(&[main], &[evil]).0, Rank::Variable, "for that server alone");
    }

    #[test]
    fn the_audience_is_added_to_githubs_url() {
        let path =
            |url: &str| Github::of(&Secret::new(url.to_owned()), Secret::new("t".to_owned()), "https://a b/?&").map(|github| github.path);
        assert_eq!(path("https://h/x?v=2").as_deref(), Ok("/x?v=2&audience=https%3A%2F%2Fa%20b%2F%3F%26"));
        assert_eq!(path("https://h/x").as_deref(), Ok("/x?audience=https%3A%2F%2Fa%20b%2F%3F%26"));
        assert!(path("http://h/x").is_err());
    }

    #[test]
    fn what_is_no_token_for_that_audience_is_refused() {
        let is = |token: &str| checked(&Secret::new(token.to_owned()), "prod");
        assert_eq!(is(&jwt("prod")), Ok(()));
        assert_eq!(is(&jwt("test")), Err("its token is for another audience than was asked for"));
        assert_eq!(is(&(jwt("prod") + "\n")), Err("what it gave is no token"));
        assert_eq!(is("opaque"), Err("what it gave is no token"));
    }
}
