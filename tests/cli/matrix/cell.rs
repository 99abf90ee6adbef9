//! One cell: its world is made, its verb is run, and what comes of it is held against the rules.

use std::net::{Ipv4Addr, TcpListener};

use jobpass_sandbox::{Fault as Script, Gate};
use serde_json::json;

use super::{
    Call, Often, Verb,
    faults::{CANARY, Fault, status},
    rules::{Course, Fate},
};
use crate::{
    harness::{Command, End, Job, Ran, World, doors, pattern},
    usage::replace_user,
};

/// How long a verb has that takes all its time. The longer ones are for a machine that is too busy to ask anything in the one before.
const TIMES: [&str; 3] = ["3s", "12s", "36s"];

/// What any other verb has, and again where the machine was too busy.
const ENOUGH: [&str; 3] = [TIMES[2]; 3];

/// Where a redirect leads: nothing else on this machine looks for anybody there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 3, 2);

/// Text that is nobody's message.
const NO_MESSAGE: [&str; 10] =
    ["panicked", "RUST_BACKTRACE", "Other(", "Error {", "Os {", "Some(", "ErrorKind", "hyper::", "kube::", CANARY];

/// By these words a pass is said to be over.
const OVER: [&str; 6] = ["removed: ", "dead: ", "absent: ", "expired: ", "dead at ", "revoked the pass of"];

/// By these words it is said that one may live on.
const ALIVE: [&str; 2] = ["may be left behind", "is not revoked"];

/// By these words it is said that nobody has answered in time.
const LATE: [&str; 2] = ["did not answer within", "no connection within"];

#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) verb: Verb,
    pub(super) call: Call,
    pub(super) fault: Fault,
    pub(super) often: Often,
    /// Which form of the fault, where it has several.
    pub(super) form: usize,
}

/// Nobody has answered in time where that was not the fault: a transcript.
struct TooLate(String);

impl Cell {
    /// Those first that take longest.
    pub(super) fn all() -> Vec<Self> {
        let mut cells: Vec<Self> = Vec::new();
        for &fault in Fault::ALL {
            for (verb, call) in Verb::ALL.iter().flat_map(|&verb| verb.calls().iter().map(move |&call| (verb, call))) {
                for &often in Often::ALL {
                    let cell = Self { verb, call, fault, often, form: 0 };
                    if cell.is_played() {
                        // Each one meets the next form, so that in the end every one of them was met.
                        let form = cells.iter().filter(|other| other.fault == fault).count() % fault.forms();
                        cells.push(Self { form, ..cell });
                    }
                }
            }
        }
        // A pass that could not be begun is undone in a time of its own, which is longer.
        cells.sort_by_key(|cell| (!cell.takes_all_its_time(), cell.call != Call::Undo));
        cells
    }

    /// Plays it. Returns why the call has failed, as the log has it, where it has.
    pub(super) fn play(&self) -> Option<String> {
        let times: &[_] = if self.takes_all_its_time() { &TIMES } else { &ENOUGH };
        let mut late = String::new();
        for time in times {
            match self.play_within(time) {
                Ok(why) => return why,
                Err(TooLate(transcript)) => late = transcript,
            }
        }
        panic!("no time is enough: {late}")
    }

    fn play_within(&self, time: &str) -> Result<Option<String>, TooLate> {
        let world = World::sandbox("a real server has no script of faults");
        let job = self.job(&world);
        if self.call == Call::Maker {
            let token = world.on_sandbox().add_user("bob", &[]);
            world.on_sandbox().grant_jobpass("bob", world.namespace(), "deploy-bot");
            world.secret(&token);
            doors::write(&job.identity_file(), &replace_user(&world.kubeconfig(), &format!("token: {token}")));
        }
        if self.verb.is_revocation() {
            job.request().succeed();
        }
        let elsewhere = TcpListener::bind((ELSEWHERE, 0)).expect("all of 127/8 is this machine's");
        elsewhere.set_nonblocking(true).expect("it can be");
        let gate = Gate::new();
        self.prepare(&world, &gate, &elsewhere);
        let ran = self.ran(&job, &gate, time);
        assert!(elsewhere.accept().is_err(), "a redirect was followed: {}", ran.transcript());
        if !self.is_late() && LATE.iter().any(|words| ran.said().contains(words)) {
            return Err(TooLate(ran.transcript().to_owned()));
        }
        // After 2 s without an answer a copy is sent over another connection: it does not meet what is there only once.
        let (method, part, _) = self.call.requests();
        let asked = ran.requests.iter().filter(|request| request.starts_with(method) && request.contains(part));
        let is_granted = |request: &String| request.ends_with("-> 200") || request.ends_with("-> 201");
        if self.course() == Course::Refused && self.often == Often::Once && asked.skip(1).any(is_granted) {
            return Err(TooLate(ran.transcript().to_owned()));
        }
        self.check(&world, &ran);
        self.check_left(&world, &job, &ran);
        Ok(self.fails().then(|| self.why(&ran)))
    }

    fn job<'w>(&self, world: &'w World) -> Job<'w> {
        match self.verb {
            Verb::RequestLocal | Verb::Run | Verb::RevokeLocal => Job::local(world),
            Verb::RequestGitlab | Verb::RevokeGitlab => Job::gitlab(world),
            Verb::RequestGithub | Verb::PostGithub => Job::github(world),
        }
    }

    fn prepare(&self, world: &World, gate: &Gate, elsewhere: &TcpListener) {
        let sandbox = world.on_sandbox();
        match self.call {
            Call::Undo => {
                let no = status(403, "Forbidden", "no, for a reason", &json!({}));
                sandbox.fault(Script::on("POST", "/token").answer(403, no));
            }
            Call::Renewal => sandbox.max_token_expiration(2),
            Call::Maker | Call::Create | Call::Token | Call::Delete | Call::Probe => {}
        }
        let (method, part, nth) = self.call.requests();
        let on = Script::on(method, part).nth(nth);
        let on = match self.often {
            Often::Once => on,
            Often::Always => on.always(),
        };
        let elsewhere = format!("https://{}/", elsewhere.local_addr().expect("bound"));
        sandbox.fault(self.fault.script(on, self.form, gate, &elsewhere));
    }

    fn command<'j>(&self, job: &'j Job<'_>, time: &str) -> Command<'j> {
        let timeout = ["--timeout", time];
        match self.verb {
            Verb::RequestLocal | Verb::RequestGithub | Verb::RequestGitlab => job.request().args(timeout),
            Verb::RevokeLocal | Verb::RevokeGitlab => job.revoke().args(timeout),
            Verb::PostGithub => job.post().args(timeout),
            Verb::Run => {
                let script = match (self.call, self.fails()) {
                    (Call::Renewal, true) => "while [ ! -e go ]; do sleep 0.05; done; exit 7",
                    (Call::Renewal, false) => {
                        "token() { read -r token < \"$JOBPASS_TOKEN_FILE\"; echo \"$token\"; }
first=$(token); while [ \"$(token)\" = \"$first\" ]; do sleep 0.05; done; exit 7"
                    }
                    (Call::Maker | Call::Create | Call::Token | Call::Undo | Call::Delete | Call::Probe, true | false) => "exit 7",
                };
                job.run_with(timeout, script)
            }
        }
    }

    fn ran(&self, job: &Job<'_>, gate: &Gate, time: &str) -> Ran {
        let running = self.command(job, time).start();
        if self.fault == Fault::Gone {
            job.world.on_sandbox().wait_for(gate);
            job.world.relay().lose_server();
        }
        if self.call == Call::Renewal && self.fails() {
            // Where it ends without that, it was too late for anything.
            running.has_said(self.not_renewed());
            doors::write(&job.workspace().join("go"), "");
        }
        running.wait()
    }

    fn check(&self, world: &World, ran: &Ran) {
        let said = ran.said();
        let fate = self.fate();
        assert_eq!(ran.end, End::Code(self.verb.code(fate)), "{fate:?}: {}", ran.transcript());
        for text in NO_MESSAGE {
            assert!(!said.contains(text), "`{text}` is nobody's message: {}", ran.transcript());
        }
        assert!(!said.lines().any(|line| line.trim() == "caused by:" || line.ends_with(": ")), "an empty cause: {}", ran.transcript());
        assert!(ran.requests.len() < 40, "{} requests", ran.requests.len());
        assert!(ran.requests.iter().any(|request| request.contains(self.call.requests().1)), "it was never asked: {}", ran.transcript());
        if self.often == Often::Once {
            assert_eq!(world.on_sandbox().faults_left(), 0, "the fault has not happened: {}", ran.transcript());
        }
        let alive = ALIVE.iter().any(|words| said.contains(words));
        match fate {
            Fate::Done | Fate::NotBegun => assert!(!alive, "it is said to be alive: {}", ran.transcript()),
            Fate::NotUndone | Fate::NotEnded => assert!(alive, "it is not said to be alive: {}", ran.transcript()),
        }
        if let Some(is_proved) = self.is_proved() {
            assert_eq!(said.contains("dead: "), is_proved, "how far is it proved? {}", ran.transcript());
        }
        if world.tokens_of_passes().iter().any(|token| world.is_live(token)) {
            assert!(!OVER.iter().any(|words| said.contains(words)), "its token lives: {}", ran.transcript());
        }
    }

    /// Why the call has failed and what is to be done, as the log has it; without what is each verb's own and what time decides.
    fn why(&self, ran: &Ran) -> String {
        let said = ran.said();
        let (hints, said): (Vec<_>, Vec<_>) = said.lines().partition(|line| line.starts_with("hint: "));
        let is_aside = |line: &str| {
            self.call != Call::Renewal && (line.contains("; trying again for at most ") || line.contains("; trying for at most "))
        };
        let said: Vec<_> = said.into_iter().filter(|line| !is_aside(line)).collect();
        let said = said.join("\n").replace("\n  caused by: ", ": ").replace("%0A", "\n");
        let what = self.call.what();
        // Before there is a pass, nothing else is said than that nobody is there.
        let split = said.rsplit_once(what).or_else(|| said.rsplit_once("error: cannot reach "));
        let (_, why) = split.unwrap_or_else(|| panic!("`{what}` is not said: {}", ran.transcript()));
        let why = why.lines().next().unwrap_or_default();
        let why = [": its token stays", ": the lease `", "; trying again for at most "]
            .iter()
            .fold(why, |why, end| why.split(end).next().unwrap_or_default());
        // A server that stops ends a connection in one of these ways.
        let why = pattern("tls handshake eof|connection reset by peer|broken pipe").replace_all(why, "WHY");
        let why = pattern(r"\b\d+s$").replace_all(&why, "N s");
        let why = pattern("did not accept context .+?: its").replace_all(&why, "did not accept IDENTITY: its");
        let why = pattern(r"^30\d [A-Za-z ]+").replace(&why, "30N");
        [&*why].into_iter().chain(hints).collect::<Vec<_>>().join("\n")
    }

    /// What is left, and that the next `revoke` ends it.
    fn check_left(&self, world: &World, job: &Job<'_>, ran: &Ran) {
        let may_be_left = match self.fate() {
            Fate::Done => self.verb.leaves_a_pass(),
            Fate::NotBegun => false,
            Fate::NotUndone | Fate::NotEnded => true,
        };
        if may_be_left {
            assert_eq!(job.places().len(), 1, "without its lease nobody can end it: {}", ran.transcript());
            world.relay().find_server();
            world.on_sandbox().clear_faults();
            let revoke = match self.verb {
                Verb::RequestGithub | Verb::PostGithub => job.post(),
                Verb::RequestLocal | Verb::RequestGitlab | Verb::Run | Verb::RevokeLocal | Verb::RevokeGitlab => job.revoke(),
            };
            revoke.succeed();
        }
        job.assert_nothing_left();
        for token in world.tokens_of_passes() {
            assert!(!world.is_live(&token), "a token lives on: {}", ran.transcript());
        }
    }
}
