//! What OpenShift adds to the API: where its OAuth server is, and the objects of its tokens.

use serde_json::{Value, json};

use super::Context;
use crate::rbac::{Attributes, authorize};
use crate::status::{self, Answer, Body, Handled, Resource};
use crate::world::World;

const GROUP: &str = "oauth.openshift.io";

/// `/.well-known/oauth-authorization-server`, which everybody may read on an OpenShift.
pub(super) fn discovery(context: &Context<'_>) -> Handled {
    let Some(oauth) = &context.world.oauth else {
        let why = format!("User \"{}\" cannot get path \"{}\"", context.user.name, context.call.path);
        return Err(status::failure(403, "Forbidden", &format!("forbidden: {why}"), Some(json!({}))));
    };
    let issuer = oauth.shown.as_ref().unwrap_or(&oauth.issuer);
    Ok(Answer::json(
        200,
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/oauth/authorize"),
            "token_endpoint": format!("{issuer}/oauth/token"),
            "scopes_supported": ["user:check-access", "user:full", "user:info", "user:list-projects", "user:list-scoped-projects"],
            "response_types_supported": ["code", "token"],
            "grant_types_supported": ["authorization_code", "implicit"],
            "code_challenge_methods_supported": ["plain", "S256"],
        }),
    ))
}

/// One token, by its name: read or deleted, by its user or by whoever may.
pub(super) fn token(context: Context<'_>, resource: &str, name: &str) -> Handled {
    let Context { call, world, user, now } = context;
    let Some(away) = world.oauth.as_ref().map(|oauth| oauth.away) else { return Err(no_such_path()) };
    let verb = call.method.to_ascii_lowercase();
    authorize(world, &user, &Attributes { verb: &verb, group: GROUP, resource, subresource: None, namespace: None, name })?;
    if away {
        return Err(Answer::text(503, "error trying to reach service: dial tcp 10.0.0.1:8443: connect: connection refused\n"));
    }
    let is_own = resource == "useroauthaccesstokens";
    let World { oauth: Some(oauth), .. } = world else { return Err(no_such_path()) };
    // A deletion answers with the token itself, of the same kind for both resources.
    let kind = if is_own && verb == "get" { "UserOAuthAccessToken" } else { "OAuthAccessToken" };
    let found = oauth.object(now, name, kind).filter(|object| !is_own || object["userName"] == user.name.as_str());
    let Some(object) = found else {
        return Err(status::not_found(&Resource { group: GROUP, name: resource.to_owned() }, name));
    };
    if verb == "delete" {
        let options: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            let why = "the UID in the precondition does not match the UID in record. The object might have been deleted and then recreated";
            return Err(status::conflict(&Resource { group: GROUP, name: "OAuthAccessToken".to_owned() }, name, why));
        }
        oauth.tokens.remove(name);
    }
    Ok(Answer { status: 200, body: Body::Json(object), headers: Vec::new() })
}

/// What the API server says of a group that nobody serves.
fn no_such_path() -> Answer {
    Answer::text(404, "404 page not found\n")
}
