//! Carries it out in one cluster: policies, accounts, then the look whether the policies refuse, and only then the rights.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::{
    force::await_policies,
    live::{Change, Live},
    object::Object,
    survey::{AT_ONCE, Survey},
};
use crate::failure::Failure;

/// What was done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// How long it took to apply.
    pub applied: Duration,
    /// After what time the policies were in force; none where there are none.
    pub in_force: Option<Duration>,
    /// How many requests it took, without those that asked the policies.
    pub requests: usize,
}

/// Applies what differs. Whatever goes wrong before the end leaves no new right.
///
/// # Errors
/// When something cannot be applied, or the policies do not refuse.
pub async fn carry_out(survey: &Survey, is_forced: bool, patience: Duration) -> Result<Done, Failure> {
    let live = Live::new(&survey.server, is_forced);
    let no_right = |failure: Failure| failure.within(format!("cannot set up `{}`; no right was given", survey.name));
    let begun = Instant::now();
    in_order(&live, &survey.policies, &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]).await.map_err(no_right)?;
    in_order(&live, &survey.accounts, &["Namespace", "ServiceAccount"]).await.map_err(no_right)?;
    let before = begun.elapsed();
    let account = survey.wish.teams.first().map(|team| &team.account).filter(|_| survey.has_policies);
    let in_force = match account {
        Some(account) => {
            let has_sweeper = survey.wish.sweeper.is_some();
            Some(await_policies(&survey.server, account, has_sweeper, patience).await.map_err(no_right)?)
        }
        None => None,
    };
    let begun = Instant::now();
    let rights = in_order(&live, &survey.rights, &["ClusterRole", "Role", "RoleBinding", "CronJob"]).await;
    rights.map_err(|failure| failure.within(format!("cannot give all rights in `{}`: call it again", survey.name)))?;
    Ok(Done { applied: before + begun.elapsed(), in_force, requests: live.requests() })
}

/// Applies those that differ, one kind after the other.
async fn in_order(live: &Live<'_>, objects: &[(Object, Change)], kinds: &[&str]) -> Result<(), Failure> {
    for kind in kinds {
        let differ = objects.iter().filter(|(object, change)| object.kind() == *kind && *change != Change::Same);
        let each = differ.map(|(object, _)| live.apply(object, false));
        stream::iter(each).buffer_unordered(AT_ONCE).map_ok(drop).try_collect::<Vec<()>>().await?;
    }
    Ok(())
}

/// Removes what the input has no more.
///
/// # Errors
/// When something cannot be deleted.
pub async fn prune(survey: &Survey) -> Result<(), Failure> {
    let live = Live::new(&survey.server, false);
    let each = survey.left.iter().map(|(object, uid)| live.delete(object, uid));
    stream::iter(each).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
}
