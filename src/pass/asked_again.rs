//! Asks for the next token of a pass, and notices the end of the pass where a policy hides it.

use std::time::Duration;

use super::Pass;
use crate::{
    cluster::{Granted, Probed},
    failure::{Code, Failure},
    spec::TokenSpec,
};

impl Pass {
    /// Asks for another token of the same lease.
    ///
    /// # Errors
    /// When the server refuses, cannot be reached, or does not accept the token of now any more.
    pub(super) async fn asked_again(&mut self, spec: &TokenSpec, timeout: Duration) -> Result<Granted, Failure> {
        self.cluster.extend(timeout);
        let granted = self.cluster.request_token(&self.lease, spec).await;
        self.cluster.give_back_for_now().await;
        match granted {
            Ok(granted) => Ok(granted),
            Err(failure) => Err(self.unless_over(failure).await),
        }
    }

    /// A policy refuses before the API server looks for the lease: whoever revokes a pass in an emergency may have locked its account,
    /// too. So the token is shown, as it is dead where the lease is gone.
    async fn unless_over(&self, failure: Failure) -> Failure {
        let can_be_shown = failure.code() == Code::ApiPolicy && self.lease.token_sha256.is_some();
        if can_be_shown && matches!(self.cluster.probe(&self.token).await, Probed::Dead) {
            return failure.as_code(Code::ApiNoLease).cause("the API server answers 401 to the token: the pass was revoked");
        }
        failure
    }
}
