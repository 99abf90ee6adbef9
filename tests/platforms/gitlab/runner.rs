//! A runner of our own: what the shells and executors of gitlab-runner do with a job, stage by stage.
//!
//! Written from what gitlab-runner's `common/build.go`, `shells/bash.go`, `helpers/process` and `executors/docker` do. A stage is a
//! shell that reads its script from stdin, and both of its streams are one pipe, of which the masked text is the stored log.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tempfile::TempDir;

pub(crate) use container::Image;
pub(crate) use executors::{Event, Executor, How, Place, TABLE, executor};
pub(crate) use script::quoted;
pub(crate) use template::{Lines, hidden};

use crate::harness::{End, PATIENCE, doors, eventually, random};
use container::Container;
use masker::Masker;
use processes::Processes;
use script::Stage;

mod container;
mod executors;
mod judged;
mod masker;
mod processes;
mod script;
mod template;

/// So long a stage's output is waited for when its shell is gone and something still holds it. The real one waits as long as it does.
const FOR_OUTPUT: Duration = Duration::from_secs(10);

/// So long has the first shell of a container to end when all else has.
const FOR_SHELL: Duration = Duration::from_secs(1);

/// A runner's `builds_dir` may be named like this.
const PROJECT: &str = r"my \builds/acme/app";

/// What jobs of one project share: the volume of the build, and a directory outside of every job.
pub(crate) struct Volume(TempDir);

impl Volume {
    pub(crate) fn new() -> Self {
        let volume = Self(TempDir::new().expect("a directory"));
        for directory in [PROJECT, "kept"] {
            doors::make_directory(&volume.0.path().join(directory));
        }
        volume
    }

    /// `CI_PROJECT_DIR`.
    pub(crate) fn project(&self) -> PathBuf {
        self.0.path().join(PROJECT)
    }

    /// The runner's own directory beside it.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.0.path().join(format!("{PROJECT}.tmp"))
    }

    /// Where scripts put what the scenario wants to know.
    pub(crate) fn kept(&self, name: &str) -> PathBuf {
        self.0.path().join("kept").join(name)
    }
}

/// A variable of a job.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    pub(crate) value: String,
    pub(crate) is_masked: bool,
    pub(crate) is_file: bool,
}

/// One job.
pub(crate) struct Job<'v> {
    pub(crate) executor: &'static Executor,
    pub(crate) volume: &'v Volume,
    shell: String,
    pub(crate) lines: Lines,
    pub(crate) image: Image,
    /// The service account of the pod, on kubernetes: the files that are mounted.
    pub(crate) pod: Vec<(&'static str, String)>,
    /// Whether `proxy_exec` is on.
    pub(crate) has_proxy: bool,
    variables: Vec<(String, Variable)>,
    container: Option<Container>,
    masker: Masker,
    /// The stored log.
    pub(crate) log: String,
    /// What runs on in the background.
    background: Vec<Processes>,
}

/// A stage that runs. Dropped before its end it is killed.
pub(crate) struct Live {
    child: Option<Child>,
    processes: Processes,
    output: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// How a job went.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `before_script` and `script`.
    pub(crate) script: End,
    /// `after_script`, if it ran. Its status does not count.
    pub(crate) after: Option<End>,
}

impl<'v> Job<'v> {
    /// A job with these lines, in one of the shells of its image.
    pub(crate) fn new(executor: &'static Executor, shell: &str, volume: &'v Volume, lines: Lines) -> Self {
        let image = Image { is_busybox: shell == "busybox", fetchers: &["curl", "wget"], has_jobpass: true };
        let mut job = Self {
            executor,
            volume,
            shell: shell.to_owned(),
            lines,
            image,
            pod: Vec::new(),
            has_proxy: false,
            variables: Vec::new(),
            container: None,
            masker: Masker::default(),
            log: String::new(),
            background: Vec::new(),
        };
        let [project, temporary] = [volume.project(), volume.temporary()].map(|path| path.to_string_lossy().into_owned());
        // GitLab's ids grow; what counts is that no job of this project had it before.
        let id = u32::from_str_radix(&random(), 16).expect("hex").to_string();
        let given = [
            ("CI", "true"),
            ("GITLAB_CI", "true"),
            ("CI_SERVER_HOST", "gitlab.example.com"),
            ("CI_SERVER_FQDN", "gitlab.example.com"),
            ("CI_PROJECT_ID", "42"),
            ("CI_PROJECT_PATH", "acme/app"),
            ("CI_PROJECT_DIR", &project),
            ("CI_JOB_ID", &id),
            ("CI_JOB_URL", "https://gitlab.example.com/acme/app/-/jobs/7"),
            ("CI_COMMIT_SHA", "0f1e2d3c"),
            ("GITLAB_USER_LOGIN", "tanuki"),
        ];
        for (name, value) in given {
            job.set(name, value);
        }
        job.set("KEPT", &volume.0.path().join("kept").to_string_lossy());
        if !executor.is_old {
            job.set("CI_JOB_TIMEOUT", "3600");
            job.set("RUNNER_TEMP_PROJECT_DIR", &temporary);
            job.set("GITLAB_ENV", &job.environment());
        }
        job.set_masked("CI_JOB_TOKEN", "glcbt-64_jobtokenjobtoken");
        job
    }

    /// A variable of the job or its project.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.put(name, Variable { value: value.to_owned(), is_masked: false, is_file: false });
    }

    /// A masked one. The server takes none that is not one line without spaces.
    pub(crate) fn set_masked(&mut self, name: &str, value: &str) {
        assert!(value.len() >= 8 && !value.contains(char::is_whitespace), "GitLab masks no such value");
        self.put(name, Variable { value: value.to_owned(), is_masked: true, is_file: false });
    }

    /// One whose value the job gets in a file.
    pub(crate) fn set_file(&mut self, name: &str, value: &str) {
        self.put(name, Variable { value: value.to_owned(), is_masked: false, is_file: true });
    }

    /// As a protected variable is for a job that is not.
    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    fn put(&mut self, name: &str, variable: Variable) {
        self.unset(name);
        self.variables.push((name.to_owned(), variable));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, variable)| variable.value.as_str())
    }

    fn environment(&self) -> String {
        self.volume.temporary().join("gitlab_runner_env").to_string_lossy().into_owned()
    }

    /// The whole job, if nobody ends it from outside.
    pub(crate) fn run(&mut self) -> Ended {
        let live = self.start();
        let script = self.end(live);
        let after = self.after(if script == End::Code(0) { "success" } else { "failed" });
        self.clean();
        Ended { script, after: Some(after) }
    }

    /// The beginning of the job, up to its script.
    pub(crate) fn start(&mut self) -> Live {
        self.clean_temporary();
        let masked: Vec<_> = self.variables.iter().filter(|(_, variable)| variable.is_masked).map(|(_, v)| v.value.clone()).collect();
        self.masker = Masker::new(masked.into_iter(), self.has_proxy);
        self.stage(&[self.lines.before_script.clone(), self.lines.script.clone()].concat())
    }

    /// Something from outside ends the job while its script runs.
    pub(crate) fn befall(&mut self, live: Live, event: Event) -> Ended {
        let script = self.stop(live, event);
        let after = event.after.map(|(status, place)| {
            self.move_to(place);
            self.after(status)
        });
        self.clean();
        Ended { script, after }
    }

    /// What the job's container has in memory.
    pub(crate) fn memory(&self) -> PathBuf {
        self.container.as_ref().expect("a stage has begun").memory().join("jobpass")
    }

    /// Where `after_script` is to run.
    fn move_to(&mut self, place: Place) {
        if place == Place::Fresh {
            self.container = None;
        }
    }

    /// The end of the script by an event.
    fn stop(&mut self, live: Live, event: Event) -> End {
        match event.how {
            How::Each => {
                live.processes.terminate_each();
                // The shell that was spared ends by itself when its script has.
                live.processes.wait(FOR_SHELL);
                live.processes.kill();
            }
            How::Leader => live.processes.terminate_leader(),
            How::Group => live.processes.terminate_group(),
            How::Kill => live.processes.kill(),
        }
        self.end(live)
    }

    /// `after_script`, in a shell of its own.
    pub(crate) fn after(&mut self, status: &str) -> End {
        self.set("CI_JOB_STATUS", status);
        let live = self.stage(&self.lines.after_script.clone());
        self.end(live)
    }

    /// The end of the job: of its container, and of the runner's own files.
    pub(crate) fn clean(&mut self) {
        for processes in self.background.drain(..) {
            processes.kill();
        }
        self.container = None;
        self.clean_temporary();
    }

    fn clean_temporary(&self) {
        let files = self.variables.iter().filter(|(_, variable)| variable.is_file).map(|(name, _)| self.volume.temporary().join(name));
        for path in files.chain([PathBuf::from(self.environment()), self.volume.temporary().join("masking.db")]) {
            let _ = fs::remove_file(path);
        }
    }

    /// Starts a shell that reads these lines.
    fn stage(&mut self, lines: &[String]) -> Live {
        let container = self.container.get_or_insert_with(|| Container::of(&self.image));
        if self.has_proxy {
            // The proxy around every shell makes it; it is encrypted.
            doors::make_directory(&self.volume.temporary());
            doors::write(&self.volume.temporary().join("masking.db"), "");
        }
        let is_traced = self.variables.iter().any(|(name, variable)| name == "CI_DEBUG_TRACE" && variable.value == "true");
        let [project, temporary] = [self.volume.project(), self.volume.temporary()].map(|path| path.to_string_lossy().into_owned());
        let environment = self.volume.temporary().join("gitlab_runner_env").to_string_lossy().into_owned();
        let stage = Stage {
            executor: self.executor,
            project: &project,
            temporary: &temporary,
            variables: &self.variables,
            environment: &environment,
            lines,
            is_traced,
        };
        let mark = random() + &random();
        // A session of its own, as a container's and as the runner makes one on a host.
        let mut command = doors::program("/usr/bin/setsid");
        if !self.pod.is_empty() {
            // By paths of this machine: what is on the container's PATH is for the job.
            let script = "/bin/mount -t tmpfs pod /run && /bin/mkdir -p /run/secrets/kubernetes.io && \
                          /bin/cp -r \"$1\" /run/secrets/kubernetes.io/serviceaccount && shift && exec \"$@\"";
            command.args(["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh"]).arg(container.mount(&self.pod));
        }
        if self.has_proxy {
            // It starts the shell and reads what that prints.
            doors::write(&self.volume.0.path().join("proxy-exec"), "\"$@\"\nexit $?\n");
            command.arg(container.at("bin/gitlab-runner-helper")).arg("proxy-exec");
        }
        command.arg(container::found(&self.shell).unwrap_or_else(|| panic!("there is no shell {}", self.shell)));
        command.args((self.shell == "busybox").then_some("sh"));
        command.env("STAGE", &mark).env("HOME", container.at("home")).env("TMPDIR", container.at("tmp")).current_dir(self.volume.0.path());
        command.env("PATH", container.at("bin")).env("XDG_RUNTIME_DIR", container.memory());
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        command.stdin(Stdio::piped()).stdout(writer.try_clone().expect("a pipe has two ends")).stderr(writer);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        drop(command);
        let output = Arc::new(Mutex::new(Vec::new()));
        let read = output.clone();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                read.lock().expect("sound").extend_from_slice(&buffer[..length]);
            }
        });
        let mut stdin = child.stdin.take().expect("piped");
        let processes = Processes { shell: Some(child.id()), mark: format!("STAGE={mark}") };
        let live = Live { child: Some(child), processes, output, reader };
        stdin.write_all(stage.text().as_bytes()).expect("the shell reads its script");
        live
    }

    /// Waits for the end of a stage, and stores its log.
    pub(crate) fn end(&mut self, mut live: Live) -> End {
        let mut child = live.child.take().expect("not ended");
        let mut status = None;
        let begun = Instant::now();
        while status.is_none() && begun.elapsed() < PATIENCE {
            status = child.try_wait().expect("our own child can be waited for");
            std::thread::sleep(Duration::from_millis(5));
        }
        if status.is_none() || self.executor.has_containers {
            live.processes.kill();
        }
        let end = Instant::now() + FOR_OUTPUT;
        while !live.reader.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = String::from_utf8_lossy(&live.output.lock().expect("sound")).into_owned();
        self.log += &self.masker.mask(&output);
        self.background.push(Processes { shell: None, mark: live.processes.mark.clone() });
        let Some(status) = status else {
            let _ = child.wait();
            panic!("the stage did not end within {PATIENCE:?}:\n{}", self.log);
        };
        status.code().map_or_else(|| End::Signal(status.signal().unwrap_or_default()), End::Code)
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        for processes in self.background.drain(..) {
            processes.kill();
        }
    }
}

impl Live {
    /// Waits until its output has this line.
    pub(crate) fn said(&self, words: &str) {
        let line = format!("{words}\n");
        let so_far = || String::from_utf8_lossy(&self.output.lock().expect("sound")).into_owned();
        eventually(words, || {
            let text = so_far();
            assert!(
                text.starts_with(&line) || text.contains(&format!("\n{line}")) || !self.reader.is_finished(),
                "it ended before:\n{text}"
            );
            text.starts_with(&line) || text.contains(&format!("\n{line}"))
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // The scenario has failed.
        self.processes.kill();
        let _ = child.wait();
    }
}

/// All files below a directory.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(_) | Err(_) => files.push(entry.path()),
            }
        }
    }
    files
}
