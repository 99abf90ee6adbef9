//! A bug of our own: whichever thread panics, the passes that live are ended first, then the process exits with one message.

use std::{
    fmt::Write as _,
    panic, process,
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{
    cluster::{Cluster, Deleted, Patience},
    failure::{Code, Failure},
    identity::Identity,
    lease::{Lease, mark::Mark, named::Named},
    out::Out,
    platform::Base,
    store::{self, Store},
};

/// How long ending the passes may take after a panic, and how much longer the steps around that.
const TIME: Duration = Duration::from_secs(10);
const AROUND: Duration = Duration::from_secs(2);

static LIVING: Mutex<Vec<Living>> = Mutex::new(Vec::new());
static MARKS: Mutex<Vec<(Base, String)>> = Mutex::new(Vec::new());
static COMMAND: Mutex<Option<Command>> = Mutex::new(None);
static HAPPENED: AtomicBool = AtomicBool::new(false);

/// All that is needed to end a pass, whatever has become of the code that holds it.
#[derive(Clone)]
struct Living {
    lease: Lease,
    named: Named,
    identity: Identity,
    store: Option<Store>,
}

/// The process of the command of `run`.
#[derive(Clone, Copy)]
struct Command {
    pid: Pid,
    grouped: bool,
}

/// While this value is kept, a panic ends the pass of this lease.
pub struct Watch {
    lease: String,
}

impl Watch {
    /// Begins to watch over a pass.
    #[must_use]
    pub fn over(lease: &Lease, named: Named, cluster: &Cluster, store: Option<&Store>) -> Self {
        let identity = cluster.identity().clone();
        if let Some(mut living) = held(&LIVING) {
            living.push(Living { lease: lease.clone(), named, identity, store: store.cloned() });
        }
        Self { lease: lease.id() }
    }

    /// Replaces the watched lease after it has changed, such as when its uid is known.
    pub fn update(&self, lease: &Lease) {
        if let Some(mut living) = held(&LIVING) {
            living.iter_mut().filter(|known| known.lease.id() == self.lease).for_each(|known| known.lease.clone_from(lease));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(mut living) = held(&LIVING)
            && let Some(at) = living.iter().position(|known| known.lease.id() == self.lease)
        {
            living.swap_remove(at);
        }
    }
}

/// Registers that a pass has left a mark, so that a panic that ends the pass removes the mark, too.
pub fn leaves_mark(base: &Base, name: &str) {
    if let Some(mut marks) = held(&MARKS) {
        marks.push((base.clone(), name.to_owned()));
    }
}

/// A command that is being started. It holds a lock, so that a panic waits until the process id is known.
pub struct Starting(Option<MutexGuard<'static, Option<Command>>>);

/// To be called before the command's process exists.
#[must_use]
pub fn starting() -> Starting {
    Starting(held(&COMMAND))
}

impl Starting {
    /// From now on a panic kills this process, or its group.
    pub fn started(self, pid: Pid, grouped: bool) {
        let command = Command { pid, grouped };
        if HAPPENED.load(Ordering::SeqCst) {
            command.kill();
        }
        if let Some(mut known) = self.0 {
            *known = Some(command);
        }
    }
}

impl Command {
    fn kill(self) {
        let Self { pid, grouped } = self;
        let _ = if grouped { kill_process_group(pid, Signal::KILL) } else { kill_process(pid, Signal::KILL) };
    }
}

/// Forgets the command after its end: its process id may soon belong to another process.
pub fn spare() {
    if let Some(mut command) = held(&COMMAND) {
        *command = None;
    }
}

/// From now on every panic ends the passes that live, and then the process with this exit code.
pub fn watch_over(code: u8) {
    panic::set_hook(Box::new(move |panic| {
        // The panic's message may contain a secret and is not printed; the place in our source is harmless.
        let at = panic.location().map(|at| format!(" ({}:{})", at.file().rsplit('/').next().unwrap_or_default(), at.line()));
        met(&at.unwrap_or_default(), code);
    }));
}

/// If another thread has panicked, waits here until that thread ends the process.
pub fn settle() {
    while HAPPENED.load(Ordering::SeqCst) {
        thread::park();
    }
}

#[expect(clippy::exit, reason = "nobody is left who could return")]
fn met(at: &str, code: u8) -> ! {
    if HAPPENED.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
    // The list is read before the command is killed. Once the command is dead, the main thread goes on and may take a pass off the
    // list before we look.
    let mut living = held(&LIVING).map(|living| living.clone()).unwrap_or_default();
    if let Some(command) = held(&COMMAND).and_then(|mut command| command.take()) {
        command.kill();
    }
    // A pass that is just being ended is on the list twice.
    living.dedup_by(|one, other| one.lease.id() == other.lease.id());
    let mut text = format!("error: jobpass met a fault of its own{at}");
    // A new thread is used because this one may be inside a tokio runtime, and may hold any lock.
    let ended: Vec<bool> = aside(TIME + AROUND, {
        let living = living.clone();
        move || living.iter().map(|living| living.end().is_ok()).collect()
    });
    for (living, is_ended) in living.iter().zip(ended.into_iter().chain(std::iter::repeat(false))) {
        let account = &living.lease.service_account;
        let _ = if is_ended {
            write!(text, "; the pass of service account `{account}` is ended")
        } else {
            let (valid, lease) = (living.lease.validity(), living.lease.id());
            write!(
                text,
                "; the pass of service account `{account}` could not be ended: its token stays {valid}, lease `{lease}`; run `jobpass revoke`"
            )
        };
    }
    aside(AROUND, move || Out::new().say(text));
    process::exit(code.into())
}

impl Living {
    fn end(&self) -> Result<(), Failure> {
        let Self { lease, named, identity, store } = self;
        let lost = |why: &str| Failure::new(Code::SystemRuntime, "cannot end the pass").cause(why);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| lost(&error.to_string()))?;
        let deleted = runtime.block_on(async {
            let mut cluster = Cluster::connect(identity.clone(), TIME, Patience::Whole, &Out::new()).await?;
            let deleted = cluster.delete_lease_for_good(lease, *named).await;
            cluster.give_back_for_now().await;
            deleted
        });
        runtime.shutdown_background();
        lease.remove_named_files();
        match (&deleted, store) {
            (Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent), Some(store)) => store.clear()?,
            // `revoke` may still need the lease file, so only the secret files are removed.
            (Ok(Deleted::Deleting | Deleted::Replaced) | Err(_), Some(store)) => store.remove(store::SECRETS)?,
            (_, None) => {}
        }
        let is_over = matches!(deleted, Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent));
        let marks = held(&MARKS).map(|marks| marks.clone()).unwrap_or_default();
        for (base, name) in marks.iter().filter(|(_, name)| is_over && *name == lease.name) {
            Mark::remove(base, name);
        }
        match deleted? {
            Deleted::Deleting => Err(lost("a finalizer holds it")),
            Deleted::Replaced => Err(lost("another Secret has its name")),
            Deleted::Removed | Deleted::Anew | Deleted::Absent => Ok(()),
        }
    }
}

/// Runs `work` in a new thread and waits for it, at most this long.
fn aside<T: Default + Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let started = thread::Builder::new().spawn(move || done.send(work()));
    started.ok().and_then(|_| result.recv_timeout(limit).ok()).unwrap_or_default()
}

/// Takes the lock; gives up after a second, as the thread that has panicked may hold it.
fn held<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..100 {
        match mutex.try_lock() {
            Ok(held) => return Some(held),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}
