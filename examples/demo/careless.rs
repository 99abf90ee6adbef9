//! The commands that the demo gives to `jobpass run`: one prints its token in every way, one runs on until nobody holds its stdin.
//!
//! They are the demo's own program under another name, as a machine may have no curl and no kubectl.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{cluster, doors};

/// The names of the commands.
pub(crate) const LEAKY: &str = "leaky-deploy";
pub(crate) const SLOW: &str = "slow-deploy";

/// Where each leaves a copy of its token, in the directory that it was started in.
pub(crate) const COPY: &str = "copy";

/// Does what the name stands for by which this program was started; false where it is the demo's own.
pub(crate) fn play() -> Result<bool> {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    match name.file_name().and_then(OsStr::to_str) {
        Some(LEAKY) => {
            let pass = Pass::given()?;
            pass.keep_a_copy()?;
            let answer = cluster::ask(&pass.server, &pass.ca_pem, &pass.token)?;
            doors::print(&answer);
            doors::print(pass.leaked().trim_end());
        }
        Some(SLOW) => {
            Pass::given()?.keep_a_copy()?;
            doors::print(&format!("deploying as process {}", std::process::id()));
            io::copy(&mut io::stdin(), &mut io::sink())?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What such a command was given.
pub(crate) struct Pass {
    pub(crate) token: String,
    pub(crate) server: String,
    pub(crate) ca_pem: String,
}

impl Pass {
    fn given() -> Result<Self> {
        let variable = |name| doors::variable(name).with_context(|| format!("`{name}` is not set"));
        let read = |name| fs::read_to_string(variable(name)?).with_context(|| format!("`{name}` names no file"));
        let server = variable("JOBPASS_PASS_SERVER")?.to_string_lossy().into_owned();
        Ok(Self { token: read("JOBPASS_TOKEN_FILE")?, server, ca_pem: read("JOBPASS_PASS_CA_FILE")? })
    }

    fn keep_a_copy(&self) -> io::Result<()> {
        doors::make_file(Path::new(COPY), &self.token)
    }

    /// What the careless one prints: the token as it is, in base64, and as curl shows the header in which it is sent.
    pub(crate) fn leaked(&self) -> String {
        let Self { token, server, .. } = self;
        let host = server.trim_start_matches("https://");
        let header = format!("GET {} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nAccept: */*\r\n\r\n", cluster::PODS);
        let base64 = STANDARD.encode(token);
        let mut text = format!("plain:    {token}\nbase64:   {base64}\ncurl -v:  > Authorization: Bearer {token}\n");
        for (number, bytes) in header.as_bytes().chunks(16).enumerate() {
            let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x} "));
            let shown: String = bytes.iter().map(|&byte| if byte.is_ascii_graphic() || byte == b' ' { byte.into() } else { '.' }).collect();
            let _ = writeln!(text, "{:04x}: {hex:48}{shown}", number * 16);
        }
        text
    }
}
