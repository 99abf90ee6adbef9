//! `jobpass setup snippet`: what to paste into a pipeline. It is what README shows, which is played and linted, with these names.

use clap::{Args, ValueEnum};

use super::wish::{self, of_flag};
use crate::{
    failure::{Code, Failure},
    operate::Outcome,
    out::Out,
};

const README: &str = include_str!("../../../README.md");

/// Its flags.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the pipeline runs
    #[arg(value_enum)]
    platform: Platform,
    /// The service account of which the job gets a pass
    #[arg(value_name = "NAMESPACE/NAME", default_value = "ci/deploy-bot")]
    account: String,
    /// The CI identity of a Tekton run, in the namespace `jobpass`
    #[arg(long, value_name = "jobpass/NAME", default_value = "jobpass/tekton")]
    identity: String,
    /// The API server's address, to say what to set
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Platform {
    Github,
    Gitlab,
    Tekton,
}

impl Platform {
    /// The mark above its block in README.
    fn mark(self) -> &'static str {
        match self {
            Self::Github => "<!-- workflow: minimal -->",
            Self::Gitlab => "<!-- gitlab: wrapper -->",
            Self::Tekton => "<!-- tekton: pass -->",
        }
    }
}

/// The block of YAML below a mark.
fn block(mark: &str) -> Option<&'static str> {
    let (_, rest) = README.split_once(mark)?;
    let (_, rest) = rest.split_once("```yaml\n")?;
    rest.split_once("```").map(|(text, _)| text.trim_end())
}

fn text(platform: Platform, account: &str, identity: &str) -> Option<String> {
    let text = block(platform.mark())?.replace("ci/deploy-bot", account);
    Some(text.replace("serviceAccountName: tekton", &format!("serviceAccountName: {identity}")))
}

/// Prints it.
///
/// # Errors
/// When a name is not valid.
pub fn print(arguments: &Arguments, out: &Out) -> Result<Outcome, Failure> {
    let account = wish::account(&arguments.account).map_err(|why| of_flag("NAMESPACE/NAME", why))?.to_string();
    let identity = wish::identity(&arguments.identity).map_err(|why| of_flag("--identity", why))?.to_string();
    let name = identity.split_once('/').map_or("", |(_, name)| name);
    let server = arguments.server.as_deref().unwrap_or("https://SERVER:6443");
    let is_plain =
        server.starts_with("https://") && !server.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"`$\\".contains(c));
    if !is_plain {
        return Err(Failure::new(Code::UsageValue, "`--server` is no address").hint("write `https://HOST:PORT`"));
    }
    out.data(&text(arguments.platform, &account, name).unwrap_or_default())?;
    let next = match arguments.platform {
        Platform::Github => format!("gh variable set CLUSTER_SERVER --body '{server}' && gh variable set CLUSTER_CA <ca.crt"),
        Platform::Gitlab => {
            format!("glab variable set JOBPASS_SERVER '{server}' && glab variable set JOBPASS_CERTIFICATE_AUTHORITY <ca.crt")
        }
        Platform::Tekton => "kubectl create -f TASKRUN.yaml".to_owned(),
    };
    out.say(format!("next:  {next}"));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_is_yaml_with_these_names() {
        for platform in [Platform::Github, Platform::Gitlab, Platform::Tekton] {
            let text = text(platform, "shop-ci/deploy", "shop").expect("README has it");
            let value: Value = serde_saphyr::from_str(&text).expect("YAML");
            assert!(value.is_object() && text.contains("shop-ci/deploy") && !text.contains("ci/deploy-bot"), "{text}");
        }
        assert!(text(Platform::Tekton, "a/b", "shop").expect("there").contains("serviceAccountName: shop"));
    }
}
