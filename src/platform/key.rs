//! The job key that a user gives by `--job-key`: with a UUID in it, it is the whole key; else it is added to the platform's own.

use super::Platform;
use crate::failure::{Code, Failure};

/// The lengths of the parts of a UUID: <https://www.rfc-editor.org/rfc/rfc4122#section-3>.
const PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// The number of characters of a whole UUID.
const LENGTH: usize = 36;

/// The job key: the platform's own, or the one that `--job-key` asks for.
pub(super) fn job_key(platform: Platform, own: Result<Option<String>, Failure>, asked: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(text) = asked else { return own };
    if platform == Platform::Tekton && text.contains("$(") {
        return Err(Failure::new(Code::PlatformJobKey, "the job key holds `$(…)`, which nobody has replaced")
            .hint("`$(context.pipelineRun.uid)` is known in a Pipeline only: hand it on to the Task as a parameter"));
    }
    if holds_uuid(text) {
        return Ok(Some(text.to_owned()));
    }
    match own {
        Ok(Some(own)) => Ok(Some(format!("{own}/{text}"))),
        Ok(None) => Ok(Some(text.to_owned())),
        Err(missing) => {
            let failure = Failure::new(Code::PlatformJobKey, "the job key does not name this job alone")
                .cause("there is no UUID in it, so it is added to the platform's own");
            Err(failure.cause(missing.brief()).hint(match platform {
                Platform::Tekton => "give `$(context.pipelineRun.uid)/TASK`, or set `JOBPASS_POD_UID` from `fieldRef: metadata.uid`",
                Platform::Github | Platform::Gitlab | Platform::Local => "run it in a job, or give a key with a UUID in it",
            }))
        }
    }
}

/// Whether a key identifies its job everywhere: it contains a UUID, and is not just an extension of the platform's own key.
#[must_use]
pub fn is_whole(key: &str, own: Option<&str>) -> bool {
    holds_uuid(key) && !own.is_some_and(|own| is_below(key, own))
}

/// Whether a key is the platform's own, or that one with something added.
#[must_use]
pub fn is_below(key: &str, own: &str) -> bool {
    key.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a text contains a UUID. One of only `0` or only `f` digits does not count, as it identifies nothing.
#[must_use]
pub fn holds_uuid(text: &str) -> bool {
    text.as_bytes().windows(LENGTH).any(|window| {
        let parts = window.split(|byte| *byte == b'-');
        let is_one = parts.clone().map(<[u8]>::len).eq(PARTS) && parts.flatten().all(u8::is_ascii_hexdigit);
        let digit = |byte: u8| window.iter().all(|other| *other == b'-' || other.eq_ignore_ascii_case(&byte));
        is_one && !digit(b'0') && !digit(b'f')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f50";

    fn missing() -> Result<Option<String>, Failure> {
        Err(Failure::new(Code::PlatformIncomplete, "`JOBPASS_POD_UID` is not set, so nothing names this job"))
    }

    #[test]
    fn a_uuid_is_known_anywhere_and_in_capitals() {
        for text in [UUID.to_owned(), format!("{UUID}/deploy"), format!("run-{}", UUID.to_uppercase()), format!("ä{UUID}ä")] {
            assert!(holds_uuid(&text), "{text}");
        }
        let none = [
            "",
            "deploy",
            "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f5",
            "0b5a1c6e7d0f4e0a9b396f1c2d3e4f50",
            "0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4g50",
        ];
        for text in none.into_iter().chain(["00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"]) {
            assert!(!holds_uuid(text), "{text}");
        }
    }

    #[test]
    fn a_key_is_whole_or_added() {
        let key = |own: &str, asked| job_key(Platform::Gitlab, Ok(Some(own.into())), asked).expect("there is one").expect("named");
        assert_eq!(key("h/1/2", None), "h/1/2");
        assert_eq!(key("h/1/2", Some("second")), "h/1/2/second");
        assert_ne!(key("h/1/2", Some("second")), key("h/1/3", Some("second")));
        assert_eq!(key("h/1/2", Some(UUID)), UUID);
        let alone = job_key(Platform::Local, Ok(None), Some("second"));
        assert_eq!(alone, Ok(Some("second".into())));
    }

    #[test]
    fn only_a_whole_key_does_without_the_platforms_own() {
        assert_eq!(job_key(Platform::Tekton, missing(), Some(UUID)), Ok(Some(UUID.into())));
        let failure = job_key(Platform::Tekton, missing(), Some("deploy")).expect_err("not alone").to_string();
        assert!(failure.contains("`JOBPASS_POD_UID` is not set") && failure.contains("$(context.pipelineRun.uid)/TASK"), "{failure}");
    }

    #[test]
    fn what_tekton_has_not_replaced_is_no_key() {
        let failure = job_key(Platform::Tekton, Ok(Some(UUID.into())), Some("$(context.pipelineRun.uid)/deploy"));
        assert!(failure.expect_err("no key").to_string().contains("which nobody has replaced"));
    }

    #[test]
    fn what_is_added_is_not_whole_though_the_pod_has_a_uuid() {
        assert!(!is_whole(UUID, Some(UUID)) && !is_whole(&format!("{UUID}/second"), Some(UUID)));
        assert!(is_whole(&format!("{UUID}/deploy"), Some("0b5a1c6e-7d0f-4e0a-9b39-6f1c2d3e4f51")) && is_whole(UUID, None));
        assert!(!is_below(&format!("{UUID}2"), UUID));
    }
}
