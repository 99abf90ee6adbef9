//! `teams.yaml`: what is asked for, as a file. Whatever is wrong in it is told with its line, and before anything is sent.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::wish::{self, Identity, Refused, Right, Role, Team, USUAL, Wish};
use crate::{
    failure::{Code, Failure},
    files,
};

/// A text with its place in the file.
type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Defaults,
    teams: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Defaults {
    max_ttl: Option<Text>,
    #[serde(default)]
    allowed_keys: Vec<Text>,
    sweeper_image: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    team: Text,
    account: Text,
    #[serde(default)]
    clusters: Vec<Text>,
    #[serde(default)]
    rights: Vec<Bound>,
    from: From,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Bound {
    role: Option<Text>,
    cluster_role: Option<Text>,
    namespaces: Spanned<Vec<Text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct From {
    service_account: Option<Spanned<Several>>,
    github: Option<Spanned<Several>>,
    gitlab: Option<Spanned<Several>>,
}

/// One or more; a number of a repository may be written with or without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Several {
    One(Word),
    Many(Vec<Word>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(u64),
    Text(String),
}

impl Several {
    fn each(self) -> Vec<String> {
        let all = match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        };
        let text = |word: Word| match word {
            Word::Number(number) => number.to_string(),
            Word::Text(text) => text,
        };
        all.into_iter().map(text).collect()
    }
}

/// Reads the file.
///
/// # Errors
/// When it cannot be read, or something in it is not valid.
pub fn read(path: &Path) -> Result<Wish, Failure> {
    let name = path.display().to_string();
    let text = files::read_text(path)
        .map_err(|error| Failure::new(Code::UsageValue, format!("cannot read `{name}`")).cause(error).hint("name a file by `-f`"))?;
    parsed(&text, &name)
}

fn parsed(text: &str, name: &str) -> Result<Wish, Failure> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|place| format!(", line {}", place.line())).unwrap_or_default();
        // The place is said already, and its advice is for programmers.
        let said = error.without_snippet().to_string();
        let said = said.split(" at line ").next().unwrap_or_default().split(", set DuplicateKeyPolicy").next().unwrap_or_default();
        Failure::new(Code::UsageValue, format!("`{name}` is not valid{line}")).cause(said).hint(FORM)
    })?;
    let at = |place: &Text, field: &str, refused: Refused| refusal(name, place.referenced.line(), field, refused);
    let max_ttl =
        file.defaults.max_ttl.map_or(Ok(USUAL), |text| wish::max_ttl(&text.value).map_err(|why| at(&text, "defaults.maxTtl", why)))?;
    let sweeper = file.defaults.sweeper_image;
    let sweeper = sweeper.map(|text| wish::image(&text.value).map_err(|why| at(&text, "defaults.sweeperImage", why))).transpose()?;
    let keys = file.defaults.allowed_keys.into_iter();
    let allowed_keys =
        keys.map(|text| wish::key(&text.value).map_err(|why| at(&text, "defaults.allowedKeys", why))).collect::<Result<_, _>>()?;
    let mut accounts = BTreeMap::new();
    let mut teams = Vec::new();
    for entry in file.teams {
        let line = entry.account.referenced.line();
        let team = team(entry, name)?;
        for cluster in if team.clusters.is_empty() { vec![String::new()] } else { team.clusters.clone() } {
            let key = (team.account.to_string(), cluster);
            // Whoever is for all clusters is there in each of them, too.
            let is_there = |other: &(String, String)| other.0 == key.0 && (other.1 == key.1 || other.1.is_empty() || key.1.is_empty());
            if let Some((_, other)) = accounts.iter().find(|(other, _)| is_there(other)) {
                let why = format!("`{}` is there already, in line {other}", team.account);
                return Err(refusal(name, line, "account", (why, "give each team a service account of its own, or one entry")));
            }
            accounts.insert(key, line);
        }
        teams.push(team);
    }
    if teams.is_empty() {
        return Err(Failure::new(Code::UsageValue, format!("`{name}` names no team")).hint(FORM));
    }
    Ok(Wish { teams, max_ttl, allowed_keys, sweeper })
}

/// How a text becomes an identity.
type Read = fn(&str) -> Result<Identity, Refused>;

const FORM: &str = "docs/operators.md shows the whole form";

fn team(entry: Entry, name: &str) -> Result<Team, Failure> {
    let at = |place: &Text, field: &str, refused: Refused| refusal(name, place.referenced.line(), field, refused);
    let account = wish::account(&entry.account.value).map_err(|why| at(&entry.account, "account", why))?;
    let title = wish::team(&entry.team.value).map_err(|why| at(&entry.team, "team", why))?;
    let rights = entry.rights.into_iter().map(|bound| right(bound, name)).collect::<Result<Vec<_>, _>>()?;
    let mut identities = Vec::new();
    let kinds: [(_, &str, Read); 3] = [
        (entry.from.service_account, "from.serviceAccount", wish::identity),
        (entry.from.github, "from.github", |text| wish::number(text).map(Identity::Github)),
        (entry.from.gitlab, "from.gitlab", |text| wish::number(text).map(Identity::Gitlab)),
    ];
    for (given, field, read) in kinds {
        let Some(given) = given else { continue };
        let refused = |why| refusal(name, given.referenced.line(), field, why);
        for text in given.value.each() {
            let identity = read(&text).map_err(refused)?;
            if identities.contains(&identity) {
                return Err(refused((format!("`{text}` is there twice"), "write it once")));
            }
            identities.push(identity);
        }
    }
    if identities.is_empty() {
        let why = (
            format!("nobody may ask for passes of `{account}`"),
            "name one: `serviceAccount: jobpass/NAME`, `github: NUMBER` or `gitlab: NUMBER`",
        );
        return Err(at(&entry.account, "from", why));
    }
    let clusters = entry.clusters.into_iter().map(|cluster| cluster.value).collect();
    Ok(Team { name: Some(title), account, clusters, rights, identities })
}

fn right(bound: Bound, name: &str) -> Result<Right, Failure> {
    let line = bound.namespaces.referenced.line();
    let (text, field, kind): (_, _, fn(String) -> Role) = match (bound.role, bound.cluster_role) {
        (Some(text), None) => (text, "role", Role::OfNamespace),
        (None, Some(text)) => (text, "clusterRole", Role::OfCluster),
        (Some(_), Some(_)) => return Err(refusal(name, line, "rights", ("a right has two roles".to_owned(), "write two rights"))),
        (None, None) => {
            return Err(refusal(name, line, "rights", ("a right has no role".to_owned(), "write `role: deploy`, or `clusterRole: NAME`")));
        }
    };
    let is_ours = text.value == wish::DEPLOY && field == "role";
    let role = if is_ours { Ok(Role::Deploy) } else { wish::role(&text.value, kind) };
    let role = role.map_err(|why| refusal(name, text.referenced.line(), field, why))?;
    let namespaces = bound.namespaces.value;
    if namespaces.is_empty() {
        return Err(refusal(name, line, "namespaces", ("there is none".to_owned(), "write at least one")));
    }
    let namespaces = namespaces.into_iter().map(|text| {
        let named = wish::target(&text.value).map(str::to_owned);
        named.map_err(|why| refusal(name, text.referenced.line(), "namespaces", why))
    });
    Ok(Right { role, namespaces: namespaces.collect::<Result<_, _>>()? })
}

fn refusal(file: &str, line: u64, field: &str, (why, hint): Refused) -> Failure {
    Failure::new(Code::UsageValue, format!("`{file}` is not valid, line {line}")).cause(format!("`{field}`: {why}")).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use insta::assert_snapshot;

    use super::*;

    const GOOD: &str = "\
defaults: {maxTtl: 2h, sweeperImage: registry.example.com/jobpass:1}
teams:
- team: shop
  account: shop-ci/deploy-bot
  clusters: [prod-eu, stage]
  rights:
  - {role: deploy, namespaces: [shop-prod]}
  - {clusterRole: edit, namespaces: [shop-stage]}
  from: {serviceAccount: jobpass/shop, github: [123456789, '7']}
- team: billing
  account: bill-ci/deploy-bot
  from: {gitlab: 42}
";

    #[test]
    fn a_file_says_all_that_the_flags_say() {
        let wish = parsed(GOOD, "teams.yaml").expect("valid");
        assert_eq!((wish.max_ttl.as_secs(), wish.sweeper.as_deref()), (7200, Some("registry.example.com/jobpass:1")));
        let team = &wish.teams[0];
        let shown: Vec<_> = team.identities.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["jobpass/shop", "github:123456789", "github:7"]);
        assert_eq!(team.rights[0].role, Role::Deploy);
        assert_eq!(team.rights[1].to_string(), "edit in shop-stage");
        assert_eq!((wish.on("prod-us").teams.len(), wish.on("stage").teams.len()), (1, 2));
    }

    #[test]
    fn whatever_is_wrong_is_told_with_its_line() {
        let mut said = String::new();
        for (from, to) in [
            ("from: {gitlab: 42}", "form: {gitlab: 42}"),
            ("team: billing\n", "team: billing\n  team: again\n"),
            ("bill-ci/deploy-bot", "shop-ci/deploy-bot"),
            ("bill-ci/deploy-bot", "Bill"),
            ("bill-ci/deploy-bot", "kube-system/x"),
            ("jobpass/shop", "shop-ci/shop"),
            ("gitlab: 42", "gitlab: acme/app"),
            ("gitlab: 42", ""),
            ("[123456789, '7']", "[7, '7']"),
            ("maxTtl: 2h", "maxTtl: 48h"),
            ("maxTtl: 2h", "allowedKeys: [\"x'] + ['\"]"),
            ("[shop-prod]", "[shop_prod]"),
            ("[shop-prod]", "[jobpass]"),
            ("[shop-prod]", "[]"),
            ("role: deploy,", ""),
            ("role: deploy,", "role: deploy, clusterRole: edit,"),
            ("team: shop", "team: \"\\e[31m\""),
            ("teams:", "team:"),
            ("- team: shop", "-\t[{"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let failure = parsed(&text, "teams.yaml").expect_err(to);
            writeln!(said, "{from:?} -> {to:?}\n{failure}\n").expect("a text");
        }
        assert_snapshot!(said.trim_end());
    }
}
