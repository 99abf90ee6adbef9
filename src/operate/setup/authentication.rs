//! `jobpass setup authentication`: the trust of the API server in the jobs of a platform, as `deploy/oidc/` has it, without a gap.

use clap::{Args, Subcommand, ValueEnum};

use super::wish::{self, of_flag};
use crate::{
    failure::{Code, Failure},
    operate::Outcome,
    out::Out,
};

const GITHUB: &str = include_str!("../../../deploy/oidc/github.yaml");
const GITLAB: &str = include_str!("../../../deploy/oidc/gitlab.yaml");

/// Whose jobs are let in.
#[derive(Debug, Subcommand)]
pub enum Trust {
    /// The jobs of repositories at GitHub
    Github {
        /// A repository, by its number: `gh api repos/OWNER/NAME --jq .id`; may be repeated
        #[arg(long, value_name = "NUMBER", required = true)]
        repository_id: Vec<String>,
        /// Their owner, by its number: `gh api users/OWNER --jq .id`
        #[arg(long, value_name = "NUMBER")]
        owner_id: String,
        /// The workflow's file, such as `deploy.yml`
        #[arg(long, value_name = "FILE")]
        workflow: String,
        #[command(flatten)]
        common: Common,
    },
    /// The jobs of projects at GitLab
    Gitlab {
        /// A project, by its number; may be repeated
        #[arg(long, value_name = "NUMBER", required = true)]
        project_id: Vec<String>,
        /// The group that they are in, by its number
        #[arg(long, value_name = "NUMBER")]
        namespace_id: String,
        #[command(flatten)]
        common: Common,
    },
}

/// What both need.
#[derive(Args, Debug)]
pub struct Common {
    /// This cluster's alone: the URL of its API server
    #[arg(long, value_name = "URL")]
    audience: String,
    /// The platform's address, where it is not github.com's or gitlab.com
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The branch whose jobs are let in
    #[arg(long, value_name = "NAME", default_value = "main")]
    branch: String,
    /// The version of the form: Kubernetes 1.30 to 1.33 take v1beta1
    #[arg(long, value_enum, default_value = "v1")]
    form: Form,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    V1,
    V1beta1,
}

/// A word that ends neither a string of CEL nor a line of YAML.
fn word(flag: &str, text: &str) -> Result<String, Failure> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || "-_./:~".contains(c);
    if text.is_empty() || text.len() > 200 || !text.chars().all(is_fit) {
        let hint = "write letters, digits, and `-`, `_`, `.`, `/`, `:`";
        return Err(Failure::new(Code::UsageValue, format!("`{flag}` cannot be what it is")).hint(hint));
    }
    Ok(text.to_owned())
}

fn address(flag: &str, text: &str) -> Result<String, Failure> {
    if !text.starts_with("https://") {
        return Err(Failure::new(Code::UsageValue, format!("`{flag}` is no address")).hint("write `https://HOST:PORT`"));
    }
    word(flag, text)
}

fn numbers(flag: &str, texts: &[String]) -> Result<String, Failure> {
    let each = texts.iter().map(|text| wish::number(text).map(|number| format!("'{number}'")).map_err(|why| of_flag(flag, why)));
    Ok(each.collect::<Result<Vec<_>, _>>()?.join(", "))
}

/// The filled-in text.
fn text(trust: &Trust) -> Result<String, Failure> {
    let one = |flag: &str, text: &String| numbers(flag, std::slice::from_ref(text));
    let (text, usual, common, gaps) = match trust {
        Trust::Github { repository_id, owner_id, workflow, common } => {
            let workflow = word("--workflow", workflow)?;
            if workflow.contains('/') || ![".yml", ".yaml"].iter().any(|end| workflow.strip_suffix(end).is_some()) {
                return Err(Failure::new(Code::UsageValue, "`--workflow` names no workflow")
                    .hint("write the file's name alone, such as `deploy.yml`"));
            }
            let gaps = vec![
                ("@REPOSITORY_IDS@", numbers("--repository-id", repository_id)?),
                ("@OWNER_ID@", one("--owner-id", owner_id)?),
                ("@WORKFLOW@", format!("'{workflow}'")),
            ];
            (GITHUB, "https://token.actions.githubusercontent.com", common, gaps)
        }
        Trust::Gitlab { project_id, namespace_id, common } => {
            let gaps =
                vec![("@PROJECT_IDS@", numbers("--project-id", project_id)?), ("@NAMESPACE_ID@", one("--namespace-id", namespace_id)?)];
            (GITLAB, "https://gitlab.com", common, gaps)
        }
    };
    let branch = word("--branch", &common.branch)?;
    let audience = address("--audience", &common.audience)?;
    let issuer = common.issuer.as_deref().map(|url| address("--issuer", url)).transpose()?.unwrap_or_else(|| usual.to_owned());
    let form = match common.form {
        Form::V1 => "config.k8s.io/v1\n",
        Form::V1beta1 => "config.k8s.io/v1beta1\n",
    };
    // The head says how the file is filled in.
    let body = text.find("apiVersion:").map_or(text, |at| &text[at..]);
    let filled = gaps.iter().fold(body.to_owned(), |text, (gap, value)| text.replace(gap, value));
    let filled = filled.replace("@AUDIENCE@", &format!("'{audience}'")).replace("refs/heads/main", &format!("refs/heads/{branch}"));
    let filled = filled.replace(&format!("url: {usual}"), &format!("url: {issuer}"));
    Ok(filled.replace("config.k8s.io/v1\n", form))
}

/// Prints it.
///
/// # Errors
/// When a value is not valid.
pub fn print(trust: &Trust, out: &Out) -> Result<Outcome, Failure> {
    out.data(text(trust)?.trim_end())?;
    out.say(
        "next:  give it to each API server by --authentication-config, then `jobpass setup ACCOUNT --github NUMBER --apply`, or `--gitlab NUMBER`",
    );
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn common() -> Common {
        Common { audience: "https://api.example:6443".into(), issuer: None, branch: "release/1".into(), form: Form::V1 }
    }

    fn github(change: impl FnOnce(&mut Vec<String>, &mut String, &mut Common)) -> Result<String, Failure> {
        let (mut repository_id, mut workflow, mut common) = (vec!["7".into(), "8".into()], "deploy.yml".into(), common());
        change(&mut repository_id, &mut workflow, &mut common);
        text(&Trust::Github { repository_id, owner_id: "65".into(), workflow, common })
    }

    #[test]
    fn no_gap_is_left() {
        let gitlab = text(&Trust::Gitlab { project_id: vec!["42".into()], namespace_id: "72".into(), common: common() });
        for text in [github(|_, _, _| {}).expect("valid"), gitlab.expect("valid")] {
            let is_gap = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            assert!(!text.split('@').any(is_gap), "{text}");
            let value: Value = serde_saphyr::from_str(&text).expect("YAML");
            assert_eq!(value["jwt"][0]["issuer"]["audiences"], json!(["https://api.example:6443"]));
            assert!(text.contains("refs/heads/release/1") && !text.contains("refs/heads/main"), "{text}");
        }
        let text = github(|_, _, common| common.form = Form::V1beta1).expect("valid");
        assert!(text.contains("claims.repository_id in ['7', '8']") && text.starts_with("apiVersion: apiserver.config.k8s.io/v1beta1\n"));
    }

    #[test]
    fn nothing_breaks_out_of_an_expression() {
        assert!(github(|ids, _, _| ids[0] = "acme/app".into()).is_err());
        assert!(github(|_, workflow, _| *workflow = "x' || true || '.yml".into()).is_err());
        assert!(github(|_, workflow, _| *workflow = "a/b.yml".into()).is_err());
        assert!(github(|_, _, common| common.branch = "main' || true".into()).is_err());
        assert!(github(|_, _, common| common.audience = "https://a\n- b".into()).is_err());
        assert!(github(|_, _, common| common.issuer = Some("http://x".into())).is_err());
    }
}
