//! Reads files of others: links are followed, opening and reading never block, and the size is limited.

use std::{
    fmt, fs,
    io::{self, Read},
    os::fd::OwnedFd,
    path::Path,
};

use anyhow::{anyhow, ensure};
use jiff::Timestamp;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};
use tokio::net::unix::pipe::Receiver;
use zeroize::Zeroizing;

use super::{file::LARGEST, reason};
use crate::secret::Secret;

const MEBIBYTE: u64 = 1 << 20;

/// What a path names where it is no regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// A pipe, named or anonymous.
    Pipe,
    /// A directory.
    Directory,
    /// A socket.
    Socket,
    /// A device other than `/dev/null`.
    Device,
}

impl fmt::Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "it is a pipe",
            Self::Directory => "it is a directory",
            Self::Socket => "it is a socket",
            Self::Device => "it is a device",
        })
    }
}

impl std::error::Error for Unusual {}

impl Unusual {
    /// What a file is, where it is no regular file.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => None,
            FileType::Fifo => Some(Self::Pipe),
            FileType::Directory => Some(Self::Directory),
            FileType::Socket => Some(Self::Socket),
            _ => Some(Self::Device),
        }
    }
}

/// Whether it is `/dev/null`, under any name: device 1,3 of the kernel's `Documentation/admin-guide/devices.txt`.
pub(super) fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3)
}

/// Reads a text file that the user or the platform has named.
///
/// # Errors
/// When it cannot be read, is no regular file, is not UTF-8, or is larger than 1 MiB.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_bytes(path)?.to_vec()).map_err(|_| anyhow!("it is not UTF-8"))
}

/// Reads a file that the user or the platform has named, as bytes. `/dev/null` counts as an empty file.
///
/// # Errors
/// When it cannot be read, is no regular file, or is larger than 1 MiB.
pub fn read_bytes(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    read_up_to(path, LARGEST)
}

/// Reads a file of trusted certificates: a system's bundle is about a quarter of a MiB, so the limit is larger.
///
/// # Errors
/// When it cannot be read, is no regular file, or is larger than 4 MiB.
pub fn read_public(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    read_up_to(path, 4 * MEBIBYTE)
}

/// Reads a text file that the user or the platform has named, and when it was written last by this machine's clock.
///
/// # Errors
/// As for [`read_text`].
pub fn read_dated(path: &Path) -> anyhow::Result<(Secret, Timestamp)> {
    let (bytes, stat) = read_with(path, LARGEST)?;
    let written = Timestamp::from_second(stat.st_mtime).unwrap_or(Timestamp::MIN);
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow!("it is not UTF-8"))?;
    Ok((Secret::of_parts(&[text]), written))
}

fn read_up_to(path: &Path, largest: u64) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    read_with(path, largest).map(|(bytes, _)| bytes)
}

fn read_with(path: &Path, largest: u64) -> anyhow::Result<(Zeroizing<Vec<u8>>, Stat)> {
    let mut bytes = Zeroizing::new(Vec::new());
    // Looked at before it is opened: opening a device may have an effect.
    let stat = rustix::fs::stat(path).map_err(named)?;
    if is_null(&stat) {
        return Ok((bytes, stat));
    }
    if let Some(unusual) = Unusual::of(&stat) {
        return Err(unusual.into());
    }
    let file = open(path)?;
    // The path may name another file by now, so the open file is checked as well.
    let stat = rustix::fs::fstat(&file).map_err(named)?;
    if let Some(unusual) = Unusual::of(&stat) {
        return Err(unusual.into());
    }
    let read = fs::File::from(file).take(largest + 1).read_to_end(&mut bytes).map_err(|error| anyhow!(super::plain(&error)))?;
    ensure!(read as u64 <= largest, "it is larger than {} MiB", largest / MEBIBYTE);
    Ok((bytes, stat))
}

/// Opens without blocking, such as on a named pipe without a writer.
fn open(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(named)
}

/// The system's own words for an error. Links are allowed here, so [`reason`], which blames them, would mislead.
fn named(error: Errno) -> anyhow::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::EXIST => anyhow!(super::plain(&io::Error::from(error))),
        error => anyhow!(reason(error)),
    }
}

/// A pipe that is read once, asynchronously, so that signals are heard meanwhile.
pub struct Pipe(Receiver);

impl Pipe {
    /// Opens the path if it is a pipe. Nothing is read yet.
    ///
    /// # Errors
    /// When it is a pipe and cannot be opened.
    pub fn at(path: &Path) -> anyhow::Result<Option<Self>> {
        let is_pipe = |stat: &Stat| Unusual::of(stat) == Some(Unusual::Pipe);
        if !rustix::fs::stat(path).is_ok_and(|stat| is_pipe(&stat)) {
            return Ok(None);
        }
        let file = open(path)?;
        if !rustix::fs::fstat(&file).is_ok_and(|stat| is_pipe(&stat)) {
            return Ok(None);
        }
        let pipe = Receiver::from_owned_fd(file).map_err(|error| anyhow!(super::plain(&error)))?;
        Ok(Some(Self(pipe)))
    }

    /// Reads the pipe to its end. A named pipe waits for its first writer.
    ///
    /// # Errors
    /// When it cannot be read, or holds more than 1 MiB.
    pub async fn read(self) -> anyhow::Result<Zeroizing<Vec<u8>>> {
        const PIECE: usize = 4096;
        let mut bytes = Zeroizing::new(Vec::new());
        let mut piece = Zeroizing::new([0; PIECE]);
        loop {
            self.0.readable().await.map_err(|error| anyhow!(super::plain(&error)))?;
            match self.0.try_read(&mut piece[..]) {
                Ok(0) => return Ok(bytes),
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
                // Nothing is there yet, or another reader took it: wait again.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(anyhow!(super::plain(&error))),
            }
            ensure!(bytes.len() as u64 <= LARGEST, "it holds more than 1 MiB");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refusal(path: &str) -> String {
        read_text(path.as_ref()).expect_err(path).to_string()
    }

    #[test]
    fn only_a_regular_file_is_read_and_null_is_an_empty_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        symlink(at("pipe"), at("link")).expect("a link");
        symlink("/dev/null", at("null")).expect("a link");
        symlink(at("nothing"), at("dangling")).expect("a link");
        let said = |name: &str| read_text(&at(name)).map_err(|error| error.to_string());
        assert_eq!(refusal("/dev/zero"), "it is a device");
        assert_eq!(refusal("/dev/random"), "it is a device");
        assert_eq!(refusal("/"), "it is a directory");
        for (name, words) in [("pipe", "it is a pipe"), ("link", "it is a pipe"), ("socket", "it is a socket")] {
            assert_eq!(said(name), Err(words.to_owned()), "{name}");
        }
        assert_eq!(said("null").as_deref(), Ok(""));
        assert_eq!(said("dangling"), Err("no such file or directory".to_owned()));
    }

    #[test]
    fn nothing_is_larger_than_a_mebibyte_and_bytes_need_be_no_text() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f");
        fs::write(&path, vec![b'x'; 1 << 20]).expect("written");
        assert_eq!(read_text(&path).expect("it is not larger").len(), 1 << 20);
        fs::write(&path, vec![b'x'; (1 << 20) + 1]).expect("written");
        assert_eq!(read_text(&path).expect_err("larger").to_string(), "it is larger than 1 MiB");
        assert_eq!(read_public(&path).expect("certificates may be more").len(), (1 << 20) + 1);
        fs::write(&path, vec![b'x'; (4 << 20) + 1]).expect("written");
        assert_eq!(read_public(&path).expect_err("larger").to_string(), "it is larger than 4 MiB");
        fs::write(&path, b"\xe4").expect("written");
        assert_eq!(read_text(&path).expect_err("Latin-1").to_string(), "it is not UTF-8");
        assert_eq!(read_bytes(&path).expect("bytes").as_slice(), b"\xe4");
    }
}
