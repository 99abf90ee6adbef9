//! A terminal, as a person has one before him.

use std::{fs::File, io::Read};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

/// A terminal that nobody sits at. It takes 4096 bytes before somebody reads them: more than any of our verbs says.
pub struct Terminal {
    master: File,
    /// Keeps it open, so that what was written is not lost when its writer ends.
    _slave: File,
    path: String,
}

impl Terminal {
    /// Opens one.
    #[expect(clippy::disallowed_methods, reason = "a terminal's device is no file of anybody")]
    pub fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("this system has terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let path = ptsname(&master, Vec::new()).expect("it has a name").into_string().expect("in ASCII");
        let slave = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
        Self { master: File::from(master), _slave: File::from(slave), path }
    }

    /// Its device file, to which a command's output is led.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was written to it, when the writer has ended.
    pub fn text(mut self) -> String {
        let flags = rustix::fs::fcntl_getfl(&self.master).expect("it is open");
        rustix::fs::fcntl_setfl(&self.master, flags | OFlags::NONBLOCK).expect("it is ours");
        let mut text = Vec::new();
        // An error: nothing more was written.
        let _ = self.master.read_to_end(&mut text);
        String::from_utf8_lossy(&text).replace("\r\n", "\n")
    }
}
