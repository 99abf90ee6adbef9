//! Objects without anything but their metadata, for a client that asks for no more.

use serde_json::{Value, json};

use super::Call;

/// Whether the client asks for metadata alone: `application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1`, or `…List`.
pub(super) fn is_asked(call: &Call) -> bool {
    call.accept.as_deref().is_some_and(|accept| accept.contains("as=PartialObjectMetadata"))
}

/// The object as the client asks for it.
pub(super) fn object(call: &Call, object: &Value) -> Value {
    if is_asked(call) { metadata(object) } else { object.clone() }
}

/// The metadata of an object, as an object of its own.
pub(super) fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
