//! The doors to the machine, which clippy.toml keeps shut elsewhere: files, processes, sockets, two variables of the run itself.
#![expect(clippy::disallowed_methods, reason = "the scenarios play the CI system, which starts jobpass and makes its files")]

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
};

use rustix::process::Signal;
use tokio::{net::TcpSocket, signal::unix::SignalKind};

/// A program with an empty environment, and with no signal ignored, however the tests themselves were started.
pub fn program(name: impl AsRef<OsStr>) -> process::Command {
    hear_signals();
    let mut command = process::Command::new(name);
    command.env_clear();
    command
}

/// The same for a program of the machine that is only waited for, and then asked how it went.
pub fn tool(name: impl AsRef<OsStr>) -> assert_cmd::Command {
    program(name).into()
}

/// The cargo that runs these tests, in the environment in which it was started: what it has compiled is good for that one only. It
/// takes what the scenarios leave, which would otherwise meet a compiler's timing.
pub fn cargo() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new("nice");
    command.args(["-n", "19"]).arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // By these it tells a test of its package; the build script of ring runs again where they have changed.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// A program inherits the signals that are ignored: `nohup` ignores HUP, a shell without job control INT and QUIT for what it
/// puts into the background. One that is handled is the default again for a program that is started, so the ignored ones get a
/// handler that does nothing: for the tests themselves that is the same.
fn hear_signals() {
    static HEARD: OnceLock<()> = OnceLock::new();
    HEARD.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").expect("every Linux has it");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a line of the kernel's");
        let ignored = u64::from_str_radix(mask.trim(), 16).expect("a number");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2] {
            if ignored & (1 << (signal.as_raw() - 1)) != 0 {
                // The handler stays when what listens to it is gone.
                drop(tokio::signal::unix::signal(SignalKind::from_raw(signal.as_raw())).expect("it can be handled"));
            }
        }
    });
}

/// The directory of a running `jobpass-cluster up`, if the scenarios are to run there.
pub fn control_plane() -> Option<PathBuf> {
    std::env::var_os("JOBPASS_TEST_CLUSTER").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Whether the files that are made from the code are to be written.
pub fn is_to_write() -> bool {
    std::env::var_os("JOBPASS_TEST_WRITE").is_some_and(|value| value == "1")
}

/// What the process is to do that is started in the place of jobpass: where its fault is asked for, and the arguments.
pub fn fault() -> Option<(PathBuf, Vec<OsString>)> {
    let pipe = std::env::var_os("FAULT_PIPE")?;
    let arguments = std::env::var("FAULT_ARGUMENTS").ok()?;
    Some((pipe.into(), std::iter::once("jobpass").chain(arguments.lines()).map(OsString::from).collect()))
}

/// The shells that must be there: `sh`, which every machine with jobpass's users has, and those that `.ci/run` installed.
pub fn shells() -> Vec<String> {
    let listed = std::env::var("JOBPASS_TEST_SHELLS").unwrap_or_default();
    let mut shells = vec!["sh".to_owned()];
    shells.extend(listed.split_whitespace().filter(|shell| *shell != "sh").map(str::to_owned));
    shells
}

/// Whether a scenario may make namespaces of the kernel.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a directory is called that is this user's alone.
pub fn own(name: &str) -> String {
    format!("{name}-{}", rustix::process::geteuid().as_raw())
}

/// Gives a file or directory to nobody, which only root can.
pub fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(65534), Some(65534)).expect("root can");
}

/// How many runs of chaos there are: few where somebody waits for them.
pub fn chaos() -> u64 {
    std::env::var("JOBPASS_TEST_CHAOS").ok().map_or(40, |count| count.parse().expect("JOBPASS_TEST_CHAOS is a number"))
}

/// A port on loopback that nobody listens on, and nobody else can take as long as this lives.
pub fn refusing() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port on loopback");
    socket
}

/// Writes a file that only its owner may read.
pub fn write(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).expect("the file can be made");
    file.write_all(text.as_bytes()).expect("the file can be written");
}

/// Writes a program that only its owner may run. Not by ourselves: a process that another test is just starting would hold the open
/// file for a moment, and the kernel runs no file that somebody has open for writing.
pub fn write_program(path: &Path, text: &str) {
    let script = "umask 077; cat >\"$1\"; chmod 700 \"$1\"";
    tool("/bin/sh").env("PATH", "/usr/bin:/bin").args(["-ec", script, "sh"]).arg(path).write_stdin(text).assert().success();
}

/// Copies a program, in the same way.
pub fn copy_program(from: &Path, to: &Path) {
    tool("/bin/cp").arg(from).arg(to).assert().success();
}

/// The same for what is no text.
pub fn write_bytes(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).expect("the file can be made");
    file.write_all(bytes).expect("the file can be written");
}

/// Puts a file in the place of another, at once for whoever reads it.
pub(crate) fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("the file can be renamed");
}

/// Waits until no other process has this file locked; it is ours until what is returned is dropped.
pub(crate) fn locked(path: &Path) -> fs::File {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).expect("the file can be made");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("a file can be locked");
    file
}

/// A device to which nothing can be written.
pub(crate) fn full() -> fs::File {
    OpenOptions::new().write(true).open("/dev/full").expect("every Linux has it")
}

/// Makes a directory and those above it.
pub fn make_directory(path: &Path) {
    fs::create_dir_all(path).expect("the directory can be made");
}

/// Sets the permissions of a file.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

/// A connection from an address of our own, by which the audit log of a server that all scenarios share tells them apart.
pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(to).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The first line of a file, once it is there and whole.
pub fn line(path: &Path) -> String {
    let mut line = None;
    super::eventually(&format!("a line in {}", path.display()), || {
        line = fs::read_to_string(path).ok().and_then(|text| text.split_once('\n').map(|(line, _)| line.to_owned()));
        line.is_some()
    });
    line.expect("it is there")
}

/// Whether a process still runs.
pub fn is_running(pid: &str) -> bool {
    // The third field is its state; a zombie has ended.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The parent of a process.
pub fn parent(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("its state");
    rest.split(' ').nth(1).expect("its parent").to_owned()
}

/// Sends TERM to a process of the scenario's own.
pub fn terminate(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.parse().expect("a number")).expect("a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
}

/// A connection to an address.
pub fn dial(to: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect(to)
}

/// The same for who does not wait for it.
pub async fn dial_async(to: &str) -> std::io::Result<tokio::net::TcpStream> {
    tokio::net::TcpStream::connect(to).await
}

/// A connection of which nothing is asked but that it wakes who accepts it.
pub fn knock(at: SocketAddr) {
    let _ = TcpStream::connect(at);
}

/// Makes a pipe with a name.
pub fn pipe(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0)
        .expect("a pipe can be made");
}

/// Holds a pipe open and neither reads nor writes.
pub fn hold_pipe(path: &Path) -> fs::File {
    OpenOptions::new().read(true).write(true).open(path).expect("the pipe is there")
}

/// A writer of a pipe, if somebody reads it now.
pub fn writer(path: &Path) -> Option<fs::File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    match OpenOptions::new().write(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => None,
        opened => Some(opened.expect("a pipe can be opened")),
    }
}
