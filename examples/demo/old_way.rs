//! The old way: the token of a Secret, which somebody has put into a CI variable, and what a logout does about it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jobpass_sandbox::client;

use crate::{
    cluster::{ACCEPTED, Cluster, claims, status},
    job::must,
    screen::{Mood, Screen},
};

const YEARS: u32 = 10;

/// Plays it.
pub(crate) fn play(screen: &Screen) -> Result<()> {
    let cluster = Cluster::start();
    let sandbox = cluster.sandbox();
    let _login = sandbox.start_oauth();
    let token = sandbox.eternal_token("ci", "deploy-bot", "deploy-bot-token");

    screen.heading("1. The old way: a service account's token is stored in a CI variable");
    let answer = must(ACCEPTED, cluster.answer(&token)?)?;
    ensure!(claims(&token)?["exp"].is_null(), "the token has an end");
    screen.fact("the token: it has no end (no `exp`)", Mood::Plain, &answer);

    // These two are what oc sends, with a service account's token too: it takes the whole token for the name of a login, and the 404
    // for success.
    let (url, ca_pem) = (cluster.url(), cluster.ca_pem());
    let whoami = client::whoami(&url, &ca_pem, &token).context("the API server does not answer")?.status;
    let path = format!("/apis/oauth.openshift.io/v1/oauthaccesstokens/{token}");
    let deleted = client::request(&url, &ca_pem, "DELETE", &path, Some(&token), None).context("the API server does not answer")?.status;
    ensure!((whoami, deleted) == (201, 404), "a logout is answered with {whoami} and {deleted}");
    let answers = format!("{whoami}, {}", status(deleted));
    screen.fact("what `oc logout` asks: who am I, and delete this login", Mood::Plain, &answers);

    cluster.outlast_cache();
    screen.fact("the token after that", Mood::Bad, &must(ACCEPTED, cluster.answer(&token)?)?);
    sandbox.advance(Duration::from_secs(u64::from(YEARS) * 365 * 24 * 3600));
    screen.fact(&format!("the token {YEARS} years later"), Mood::Bad, &must(ACCEPTED, cluster.answer(&token)?)?);
    cluster.knew_all()
}
