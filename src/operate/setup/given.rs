//! What the flags ask for.

use std::path::Path;

use clap::Args;

use super::{
    teams,
    wish::{self, Identity, Team, USUAL, Wish, of_flag},
};
use crate::{
    env::Env,
    failure::{Code, Failure},
};

/// The flags that say what is to be set up.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "What")]
pub struct Given {
    /// The service account of which jobs get passes: `ci/deploy-bot`
    #[arg(value_name = "NAMESPACE/NAME")]
    account: Option<String>,
    /// Many service accounts, as a file says them: teams.yaml
    #[arg(short, long, value_name = "PATH", conflicts_with_all = ["account", "team", "identity", "may", "github", "gitlab"])]
    file: Option<String>,
    /// Whose it is; a label
    #[arg(long, value_name = "NAME")]
    team: Option<String>,
    /// A CI identity that may ask for passes; may be repeated [default: jobpass/ci and jobpass/tekton]
    #[arg(long, value_name = "jobpass/NAME")]
    identity: Vec<String>,
    /// What the passes may do and where: `deploy@shop-prod,shop-stage`; `deploy` is ours, another name a `ClusterRole`, `role/NAME` a Role; may be repeated
    #[arg(long, value_name = "ROLE@NAMESPACES")]
    may: Vec<String>,
    /// The jobs of this repository at GitHub, by its number; may be repeated
    #[arg(long, value_name = "NUMBER")]
    github: Vec<String>,
    /// The jobs of this project at GitLab, by its number; may be repeated
    #[arg(long, value_name = "NUMBER")]
    gitlab: Vec<String>,
    /// The longest life of one token, 10m to 24h [default: 1h]
    #[arg(long, value_name = "LENGTH")]
    max_ttl: Option<String>,
    /// A label or annotation that leases may carry, as a tool of the cluster adds it; may be repeated
    #[arg(long, value_name = "KEY")]
    allowed_key: Vec<String>,
    /// The image of jobpass for the sweeper, which removes what lost jobs have left [default: no sweeper]
    #[arg(long, value_name = "IMAGE")]
    sweeper_image: Option<String>,
}

/// Who may ask for passes where nobody is named: those of `deploy/accounts.yaml`.
pub fn usual_identities() -> Vec<Identity> {
    ["ci", "tekton"].map(|name| Identity::Account(name.to_owned())).into()
}

impl Given {
    /// Whether a file says what is to be there, and so what is not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.file.is_some()
    }

    /// What is asked for, checked.
    ///
    /// # Errors
    /// When something is missing, or not valid. Nothing was sent.
    pub fn wish(&self, env: &Env) -> Result<Wish, Failure> {
        let mut wish = match (&self.file, &self.account) {
            (Some(path), _) => teams::read(&env.absolute(Path::new(path)))?,
            (None, Some(account)) => Wish { teams: vec![self.one(account)?], max_ttl: USUAL, allowed_keys: Vec::new(), sweeper: None },
            (None, None) => {
                return Err(Failure::new(Code::UsageMissing, "there is nothing to set up")
                    .hint("name a service account, such as `ci/deploy-bot`, or a file by `-f teams.yaml`"));
            }
        };
        if let Some(text) = &self.max_ttl {
            wish.max_ttl = wish::max_ttl(text).map_err(|why| of_flag("--max-ttl", why))?;
        }
        for text in &self.allowed_key {
            wish.allowed_keys.push(wish::key(text).map_err(|why| of_flag("--allowed-key", why))?);
        }
        if let Some(text) = &self.sweeper_image {
            wish.sweeper = Some(wish::image(text).map_err(|why| of_flag("--sweeper-image", why))?);
        }
        Ok(wish)
    }

    fn one(&self, account: &str) -> Result<Team, Failure> {
        let account = wish::account(account).map_err(|why| of_flag("NAMESPACE/NAME", why))?;
        let name = self.team.as_deref().map(wish::team).transpose().map_err(|why| of_flag("--team", why))?;
        let rights = self.may.iter().map(|text| wish::right(text)).collect::<Result<Vec<_>, _>>();
        let rights = rights.map_err(|why| of_flag("--may", why))?;
        let mut identities = Vec::new();
        for text in &self.identity {
            identities.push(wish::identity(text).map_err(|why| of_flag("--identity", why))?);
        }
        for text in &self.github {
            identities.push(wish::number(text).map(Identity::Github).map_err(|why| of_flag("--github", why))?);
        }
        for text in &self.gitlab {
            identities.push(wish::number(text).map(Identity::Gitlab).map_err(|why| of_flag("--gitlab", why))?);
        }
        if identities.is_empty() {
            identities = usual_identities();
        }
        let mut seen = Vec::new();
        identities.retain(|identity| {
            !seen.contains(identity) && {
                seen.push(identity.clone());
                true
            }
        });
        Ok(Team { name, account, clusters: Vec::new(), rights, identities })
    }
}
