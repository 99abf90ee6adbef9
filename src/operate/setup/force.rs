//! Whether the policies are in force: they are asked for what they must refuse, on each API server behind the address, until all do.

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    live::as_other,
    wish::{IDENTITIES, SWEEPER},
};
use crate::{
    failure::{Code, Failure},
    operate::server::Server,
    out::one_line,
    spec::ServiceAccount,
};

/// How often in a row each must refuse, on a new connection each time: several API servers may stand behind one address.
const IN_A_ROW: usize = 10;

/// How long we wait before we ask again.
const PAUSE: Duration = Duration::from_millis(200);

/// A question that a policy must refuse.
struct Question {
    user: String,
    group: String,
    path: String,
    body: Value,
    policy: &'static str,
}

/// What is asked as a member of each kind of group that the policies watch. Neither question leaves anything behind.
fn questions(account: &ServiceAccount, has_sweeper: bool) -> Vec<Question> {
    let ServiceAccount { namespace, name } = account;
    let secret = |policy| {
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "jobpass-probe"}, "type": "Opaque"});
        (format!("/api/v1/namespaces/{namespace}/secrets?dryRun=All"), body, policy)
    };
    // A token request is real even in a dry run: its Secret does not exist.
    let token = || {
        let bound = json!({"apiVersion": "v1", "kind": "Secret", "name": "no-lease"});
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}});
        (format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"), body, "jobpass-tokens")
    };
    let of_service_account = format!("system:serviceaccount:{IDENTITIES}:jobpass-probe");
    let watched = [
        ("jobpass-probe", "jobpass:ci".to_owned()),
        ("jobpass-probe", "jobpass:ci:probe".to_owned()),
        (of_service_account.as_str(), format!("system:serviceaccounts:{IDENTITIES}")),
    ];
    let mut questions = Vec::new();
    for (user, group) in watched {
        for (path, body, policy) in [secret("jobpass-lease-secrets"), token()] {
            questions.push(Question { user: user.to_owned(), group: group.clone(), path, body, policy });
        }
    }
    if has_sweeper {
        let (path, body, policy) = secret("jobpass-sweeper");
        let user = format!("system:serviceaccount:{SWEEPER}:sweeper");
        questions.push(Question { user, group: format!("system:serviceaccounts:{SWEEPER}"), path, body, policy });
    }
    questions
}

/// Whether this answer is the policy's no. One that only warns or notes lets the request through.
fn is_refusal(answer: &Result<Value, kube::Error>, policy: &str) -> bool {
    let Err(kube::Error::Api(status)) = answer else { return false };
    status.message.contains(&format!("ValidatingAdmissionPolicy '{policy}'")) && status.message.contains("denied request")
}

/// What the server has answered, in a line.
fn said(answer: &Result<Value, kube::Error>) -> String {
    match answer {
        Ok(answer) if answer["kind"] == "TokenRequest" => "a token that is bound to nothing".to_owned(),
        Ok(_) => "a Secret that is no lease".to_owned(),
        Err(kube::Error::Api(status)) => one_line(&status.message),
        Err(_) => "nothing: the connection broke off".to_owned(),
    }
}

/// Waits until each policy has refused often enough; returns how long that took.
///
/// # Errors
/// When they are not in force after `patience`.
pub async fn await_policies(server: &Server, account: &ServiceAccount, has_sweeper: bool, patience: Duration) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let questions = questions(account, has_sweeper);
    let mut times = 0;
    while times < IN_A_ROW {
        match refused(server, &questions).await {
            Ok(()) => times += 1,
            Err(answer) => {
                times = 0;
                if begun.elapsed() >= patience {
                    return Err(Failure::new(Code::ApiPolicy, "the policies are not in force")
                        .cause(format!("asked as a CI identity, the API server answers after {} s: {answer}", patience.as_secs()))
                        .hint("look at `kubectl get validatingadmissionpolicybindings -o yaml`, and see that you may act as others: `kubectl --as`"));
                }
                sleep(PAUSE).await;
            }
        }
    }
    Ok(begun.elapsed())
}

/// Asks all of it once. An error is what was answered to the first question that was not refused.
async fn refused(server: &Server, questions: &[Question]) -> Result<(), String> {
    for question in questions {
        let Some(client): Option<Client> = server.cluster.client_anew() else { return Err("there is no new connection".to_owned()) };
        let answer = as_other(&client, &question.user, &question.group, &question.path, &question.body).await;
        if !is_refusal(&answer, question.policy) {
            return Err(said(&answer));
        }
    }
    Ok(())
}
