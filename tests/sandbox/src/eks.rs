//! The tokens of EKS: a question to AWS that is signed and not yet asked, which says who has signed it.
//!
//! EKS asks AWS. Here the signature is checked as AWS does, by a key that the sandbox was told: the form of the token is that of
//! <https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster>, the signature that of
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use ring::{digest, hmac};

use crate::jwt::hex;

const PREFIX: &str = "k8s-aws-v1.";
/// Since it was signed, whatever the URL says of it.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

/// A key of AWS and whose it is, in the cluster with this name.
pub(crate) struct Key {
    pub(crate) cluster: String,
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) user: String,
}

impl Key {
    /// The user, if the token was signed by this key, lately and for this cluster.
    pub(crate) fn user(&self, now: Timestamp, token: &str) -> Option<&str> {
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?).ok()?;
        let (host, query) = url.strip_prefix("https://")?.split_once("/?")?;
        let mut raw: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-Signature=")).collect();
        raw.sort_unstable();
        let values: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value = |name: &str| values.get(name).map(String::as_str);
        let credential: Vec<_> = value("X-Amz-Credential")?.split('/').collect();
        let [id, day, region, service @ "sts", end @ "aws4_request"] = credential[..] else { return None };
        let date = value("X-Amz-Date")?;
        let is_the_question = host == format!("sts.{region}.amazonaws.com")
            && value("Action")? == "GetCallerIdentity"
            && value("X-Amz-Algorithm")? == "AWS4-HMAC-SHA256"
            && value("X-Amz-SignedHeaders")? == "host;x-k8s-aws-id";
        let age = now.duration_since(date.parse().ok()?);
        if !is_the_question || id != self.id || age.abs() > LIFETIME {
            return None;
        }
        let signature = self.signature(host, &raw.join("&"), date, [day, region, service, end]);
        (signature == value("X-Amz-Signature")?).then_some(&self.user)
    }

    /// Of a question to this host, whose parameters are in order.
    fn signature(&self, host: &str, query: &str, date: &str, scope: [&str; 4]) -> String {
        let sha256 = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
        let headers = format!("host:{host}\nx-k8s-aws-id:{}\n", self.cluster);
        let request = format!("GET\n/\n{query}\n{headers}\nhost;x-k8s-aws-id\n{}", sha256(""));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{}", scope.join("/"), sha256(&request));
        let key = scope.into_iter().fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| sign(&key, part));
        hex(&sign(&key, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cluster: &str, id: &str, secret: &str) -> Key {
        let [cluster, id, secret] = [cluster, id, secret].map(str::to_owned);
        Key { cluster, id, secret, user: "ci".to_owned() }
    }

    /// That it is the signature of the real `aws`, too, is shown by `tests/platforms/clients/eks.rs`.
    fn token(key: &Key) -> String {
        let (host, scope) = ("sts.eu-central-1.amazonaws.com", ["20270102", "eu-central-1", "sts", "aws4_request"]);
        let query = format!(
            "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}%2F{}&X-Amz-Date=20270102T030405Z\
             &X-Amz-Expires=60&X-Amz-SignedHeaders=host%3Bx-k8s-aws-id",
            key.id,
            scope.join("%2F")
        );
        let signature = key.signature(host, &query, "20270102T030405Z", scope);
        PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(format!("https://{host}/?{query}&X-Amz-Signature={signature}"))
    }

    #[test]
    fn a_token_is_known_by_its_key_for_its_cluster_and_a_quarter_of_an_hour() {
        let ours = key("prod", "AKIAEXAMPLE", "a");
        let after = |minutes| "2027-01-02T03:04:05Z".parse::<Timestamp>().expect("a time") + SignedDuration::from_mins(minutes);
        let token = token(&ours);
        assert_eq!(ours.user(after(1), &token), Some("ci"));
        assert_eq!(ours.user(after(16), &token), None);
        for other in [key("other", "AKIAEXAMPLE", "a"), key("prod", "AKIAOTHER", "a"), key("prod", "AKIAEXAMPLE", "b")] {
            assert_eq!(other.user(after(1), &token), None);
        }
        for token in ["", "k8s-aws-v1.", "k8s-aws-v1.e30", &token[..token.len() - 4]] {
            assert_eq!(ours.user(after(1), token), None, "{token}");
        }
    }
}
