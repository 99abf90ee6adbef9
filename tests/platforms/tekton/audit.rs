//! What the API server writes of passes into its audit log: the judge of who used a token, and of when its lease was deleted.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;

/// One request that has to do with a pass.
#[derive(Clone)]
pub(crate) struct Record {
    /// When it was answered, in seconds since 1970.
    pub(crate) at: f64,
    pub(crate) what: What,
    /// The pod that asked, if it was one.
    pub(crate) pod: String,
}

#[derive(Clone, PartialEq)]
pub(crate) enum What {
    /// A lease was made, with this name.
    Begun(String),
    /// A lease was deleted, by whomever.
    Deleted(String),
    /// A token was used, and accepted: its id.
    Used(String),
}

/// The log, of which each line is read once.
pub(crate) struct Audit {
    path: PathBuf,
    read: u64,
    records: Vec<Record>,
}

impl Audit {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, read: 0, records: Vec::new() }
    }

    /// All there is until now.
    pub(crate) fn records(&mut self) -> &[Record] {
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        // The last line may be half written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.read += u64::try_from(whole).unwrap();
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            self.records.extend(record(line));
        }
        &self.records
    }
}

/// Only few of the lines are about passes, and they are many.
fn record(line: &str) -> Option<Record> {
    if !line.contains("\"ci\"") {
        return None;
    }
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if event["responseStatus"]["code"].as_u64().is_none_or(|code| code >= 300) {
        return None;
    }
    let object = &event["objectRef"];
    let extra = |name: &str| text(&event["user"]["extra"][&format!("authentication.kubernetes.io/{name}")][0]);
    let is_lease = object["resource"] == "secrets" && object["namespace"] == "ci";
    let what = match event["verb"].as_str()? {
        "create" if is_lease => What::Begun(text(&object["name"])),
        "delete" if is_lease => What::Deleted(text(&object["name"])),
        _ if event["user"]["username"] == "system:serviceaccount:ci:deploy-bot" => What::Used(extra("credential-id")),
        _ => return None,
    };
    let at: jiff::Timestamp = event["stageTimestamp"].as_str()?.parse().ok()?;
    Some(Record { at: at.as_duration().as_secs_f64(), what, pod: extra("pod-name") })
}
