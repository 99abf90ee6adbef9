//! Validates where the docker configuration is written, and for which registries.

use std::path::PathBuf;

use super::outside;
use crate::{
    context::Context,
    failure::{Code, Failure},
    options as o,
    registry_auth::NAME,
};

/// The docker configuration with the token, and the registries that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Its path.
    pub path: PathBuf,
    /// Host and port of each registry.
    pub hosts: Vec<String>,
}

/// The docker configuration that the settings ask for.
///
/// # Errors
/// When a setting is not valid, or names registries and no file.
pub(super) fn registry(context: &Context) -> Result<Option<Registry>, Failure> {
    let options = &context.options;
    let Some(given) = options.get(&o::REGISTRY_AUTH) else {
        return match options.chosen(&o::REGISTRY) {
            None => Ok(None),
            Some(given) => Err(Failure::new(Code::UsageMissing, format!("{} is missing", options.missing(&o::REGISTRY_AUTH)))
                .hint(format!("{} needs the file that is to be written for it", given.source))),
        };
    };
    let path = outside(given, context)?;
    if path.file_name().is_none_or(|name| name != NAME) {
        return Err(Failure::new(Code::UsageValue, format!("{} is not called `{NAME}`", given.source))
            .hint(format!("name a file such as `/run/docker/{NAME}`: docker finds no other in the directory of `DOCKER_CONFIG`")));
    }
    let source = options.named(&o::REGISTRY);
    let hosts = options.list(&o::REGISTRY).into_iter().map(|text| {
        host(text).ok_or_else(|| {
            Failure::new(Code::UsageValue, format!("{source} names no registry"))
                .hint("write its host, with the port if it has one, such as `default-route-openshift-image-registry.apps.example.com`")
        })
    });
    Ok(Some(Registry { path, hosts: hosts.collect::<Result<_, _>>()? }))
}

/// A registry in the form in which docker looks for it: without scheme, path or user.
fn host(text: &str) -> Option<String> {
    let host = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (!host.is_empty() && host.len() <= 260 && host.chars().all(is_part)).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::context, platform::Platform};

    fn found(flags: &[(&str, &str)]) -> Result<Option<Registry>, String> {
        let context = context(Platform::Local, flags, &[]).expect("valid");
        registry(&context).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_usual_registry_is_openshifts_own() {
        let hosts = |more: &[(&str, &str)]| {
            let flags: Vec<_> = [("registry-auth", "/run/x/config.json")].iter().chain(more).copied().collect();
            found(&flags).map(|registry| registry.map(|registry| registry.hosts.join(" ")))
        };
        assert_eq!(hosts(&[]), Ok(Some("image-registry.openshift-image-registry.svc:5000".to_owned())));
        assert_eq!(hosts(&[("registry", "https://R.Example.com/\n[::1]:5000")]), Ok(Some("r.example.com [::1]:5000".to_owned())));
        for bad in ["http://x", "user@x", "x/y", "x\"y"] {
            assert!(hosts(&[("registry", bad)]).expect_err(bad).contains("names no registry"), "{bad}");
        }
    }

    #[test]
    fn the_file_has_the_name_that_docker_knows() {
        assert_eq!(found(&[]), Ok(None));
        assert!(found(&[("registry-auth", "/run/x/auth")]).expect_err("no name").contains("not called `config.json`"));
        assert!(found(&[("registry", "x")]).expect_err("no file").contains("`--registry-auth`"));
    }
}
