//! A fault of our own: whatever panics, in whichever thread, the pass that lives then is ended first, and that is the last word.

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
    files,
    identity::Identity,
    lease::{Lease, mark::Mark, named::Named},
    out::Out,
    pass_extension::PassExtension,
    platform::Base,
    store::{self, Store},
};

/// How long it may take to end a pass then, and how much longer for what surrounds it.
const TIME: Duration = Duration::from_secs(10);
const AROUND: Duration = Duration::from_secs(2);

static LIVING: Mutex<Vec<Living>> = Mutex::new(Vec::new());
static MARKS: Mutex<Vec<(Base, String)>> = Mutex::new(Vec::new());
static COMMAND: Mutex<Option<Command>> = Mutex::new(None);
static HAPPENED: AtomicBool = AtomicBool::new(false);

/// What ends a pass, whatever has become of those who hold it.
#[derive(Clone)]
struct Living {
    lease: Lease,
    named: Named,
    identity: Identity,
    store: Option<Store>,
}

/// The job's command.
#[derive(Clone, Copy)]
struct Command {
    pid: Pid,
    grouped: bool,
}

/// As long as it is kept, a fault ends this pass.
pub struct Watch {
    lease: String,
}

impl Watch {
    /// From now on.
    #[must_use]
    pub fn over(lease: &Lease, named: Named, cluster: &Cluster, store: Option<&Store>) -> Self {
        let identity = cluster.identity().clone();
        if let Some(mut living) = held(&LIVING) {
            living.push(Living { lease: lease.clone(), named, identity, store: store.cloned() });
        }
        Self { lease: lease.id() }
    }

    /// More is known of it.
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

/// A pass has left a mark: a fault that ends it takes that away too.
pub fn leaves_mark(base: &Base, name: &str) {
    if let Some(mut marks) = held(&MARKS) {
        marks.push((base.clone(), name.to_owned()));
    }
}

/// A command that is being started: a fault waits until it is known which one.
pub struct Starting(Option<MutexGuard<'static, Option<Command>>>);

/// Begins before there is a process.
#[must_use]
pub fn starting() -> Starting {
    Starting(held(&COMMAND))
}

impl Starting {
    /// From now on a fault kills this process, or its group.
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

/// Nothing is left of it: its number may soon be another's.
pub fn spare() {
    if let Some(mut command) = held(&COMMAND) {
        *command = None;
    }
}

/// From now on every panic ends what lives, and the process with this code.
pub fn watch_over(code: u8) {
    panic::set_hook(Box::new(move |panic| {
        // Its text may hold anything, its place is ours.
        let at = panic.location().map(|at| format!(" ({}:{})", at.file().rsplit('/').next().unwrap_or_default(), at.line()));
        met(&at.unwrap_or_default(), code);
    }));
}

/// Waits for the end of the process where a fault has happened in another thread.
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
    // Before the command is killed: the main thread sees its end, and may have done what it can for the pass before we look.
    let mut living = held(&LIVING).map(|living| living.clone()).unwrap_or_default();
    if let Some(command) = held(&COMMAND).and_then(|mut command| command.take()) {
        command.kill();
    }
    // Who ends a pass has it a second time.
    living.dedup_by(|one, other| one.lease.id() == other.lease.id());
    let mut text = format!("error: jobpass met a fault of its own{at}");
    // This thread may be inside of a runtime, and holds who knows what.
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
            cluster.delete_lease_for_good(lease, *named).await
        });
        runtime.shutdown_background();
        if let Some(path) = &lease.kubeconfig_out {
            let _ =
                files::remove_user_file(path.as_ref(), |text| PassExtension::of_text(text).is_some_and(|mark| mark.lease == lease.id()));
        }
        match (&deleted, store) {
            (Ok(Deleted::Removed | Deleted::Anew | Deleted::Absent), Some(store)) => store.clear()?,
            // `revoke` may still need what is no secret.
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

/// Does something in a thread of its own, and waits for it, but not longer than this.
fn aside<T: Default + Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let started = thread::Builder::new().spawn(move || done.send(work()));
    started.ok().and_then(|_| result.recv_timeout(limit).ok()).unwrap_or_default()
}

/// The lock, unless whoever has panicked holds it.
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
