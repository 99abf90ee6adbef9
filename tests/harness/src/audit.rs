//! What a real API server was asked by one world: its audit log, told apart by the address that the world's relay comes from.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    net::Ipv4Addr,
    path::PathBuf,
};

use serde_json::Value;

/// The audit log, from the moment on at which a world began.
pub(crate) struct Audit {
    path: PathBuf,
    start: u64,
}

impl Audit {
    pub(crate) fn from_now_on(path: PathBuf) -> Self {
        let start = path.metadata().expect("the control plane writes an audit log").len();
        Self { path, start }
    }

    /// Whether the log has a line with this text: it is written after the answer, so a reader has to wait for what it knows to come.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// jobpass's requests from this address, in the form of the sandbox's record.
    pub(crate) fn requests(&self, from: Ipv4Addr) -> Vec<String> {
        let source = format!("\"{from}\"");
        let text = self.text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = whole.lines().filter(|line| line.contains(&source)).filter_map(|line| serde_json::from_str(line).ok());
        events
            .filter(|event: &Value| event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("jobpass/")))
            .map(|event| line(&event))
            .collect()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut file = File::open(&self.path).expect("the audit log can be read");
        file.seek(SeekFrom::Start(self.start)).expect("a file can be read from its middle");
        // A character may be cut in two while the server writes it; what is whole is enough.
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the audit log can be read");
        text.push_str(&String::from_utf8_lossy(&bytes));
        text
    }
}

fn line(event: &Value) -> String {
    let method = match event["verb"].as_str().unwrap_or_default() {
        "create" => "POST",
        "delete" | "deletecollection" => "DELETE",
        "update" => "PUT",
        "patch" => "PATCH",
        _ => "GET",
    };
    format!("{method} {} -> {}", event["requestURI"].as_str().unwrap_or_default(), event["responseStatus"]["code"])
}
