//! The validation of metadata, with the server's words for what is wrong.

use serde_json::Value;

use crate::status::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const ANNOTATIONS_SIZE: usize = 256 * 1024;

/// All that is wrong with the metadata of a new Secret.
pub(super) fn metadata(metadata: &Value) -> Vec<Cause> {
    let mut causes = name(metadata);
    labels(metadata, &mut causes);
    annotations(metadata, &mut causes);
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        owner_reference(owner, &mut causes);
    }
    causes
}

fn name(metadata: &Value) -> Vec<Cause> {
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return vec![Cause::required("metadata.name", "name or generateName is required")];
    }
    let mut causes = Vec::new();
    if name.len() > 253 {
        causes.push(Cause::invalid("metadata.name", &name.into(), "must be no more than 253 bytes"));
    }
    if !is_subdomain(name) {
        causes.push(Cause::invalid("metadata.name", &name.into(), SUBDOMAIN));
    }
    causes
}

fn labels(metadata: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        qualified_name("metadata.labels", key, causes);
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            causes.push(Cause::invalid("metadata.labels", value, "must be no more than 63 bytes"));
        }
        if !text.is_empty() && !is_token(text) {
            causes.push(Cause::invalid("metadata.labels", value, LABEL));
        }
    }
}

fn annotations(metadata: &Value, causes: &mut Vec<Cause>) {
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        // Annotation keys may have capitals, unlike those of labels.
        qualified_name("metadata.annotations", &key.to_lowercase(), causes);
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_SIZE {
        causes.push(Cause::too_long("metadata.annotations", "may not be more than 262144 bytes"));
    }
}

fn owner_reference(owner: &Value, causes: &mut Vec<Cause>) {
    let fields = [
        ("metadata.ownerReferences.apiVersion", "apiVersion", "version must not be empty"),
        ("metadata.ownerReferences.kind", "kind", "must not be empty"),
        ("metadata.ownerReferences.name", "name", "must not be empty"),
        ("metadata.ownerReferences.uid", "uid", "must not be empty"),
    ];
    for (path, field, why) in fields {
        if owner[field].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::invalid(path, &"".into(), why));
        }
    }
}

fn qualified_name(field: &'static str, key: &str, causes: &mut Vec<Cause>) {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        causes.push(Cause::invalid(field, &key.into(), &format!("prefix part {SUBDOMAIN}")));
    }
    if name.len() > 63 {
        causes.push(Cause::invalid(field, &key.into(), "name part must be no more than 63 bytes"));
    }
    if !is_token(name) {
        causes.push(Cause::invalid(field, &key.into(), NAME_PART));
    }
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(|label| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        ends_are(label, inner) && label.bytes().all(|byte| inner(byte) || byte == b'-')
    })
}

fn is_token(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric();
    ends_are(text, inner) && text.bytes().all(|byte| inner(byte) || b"-_.".contains(&byte))
}

fn ends_are(text: &str, good: impl Fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [only] => good(*only),
        [first, .., last] => good(*first) && good(*last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdomains_are_lower_case_with_dots_and_inner_dashes() {
        for good in ["a", "jobpass-0f", "a.b-c.d", "0"] {
            assert!(is_subdomain(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", "A", "a_b", ".a"] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }
}
