//! The shipped Tasks and Pipelines, as they are played: the runs of them, and variants with what only an author can write into a Task.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{events::Event, node::repository};

/// Each is a column of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The Task jobpass-run.
    Run,
    /// The Pipeline jobpass-deploy: the same, and `finally`.
    Deploy,
    /// The Task jobpass-pass.
    Pass,
    /// The same where Tekton makes native sidecars of Kubernetes.
    Native,
}

impl Form {
    /// The columns, in the order of the table.
    pub(crate) const COLUMNS: [(Self, &'static str, &'static str); 4] = [
        (Self::Run, "run", "`jobpass-run`"),
        (Self::Deploy, "deploy", "`jobpass-deploy` (`finally`)"),
        (Self::Pass, "pass", "`jobpass-pass`"),
        (Self::Native, "native", "`jobpass-pass`, native sidecars"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::COLUMNS.iter().find(|(form, ..)| *form == self).unwrap().1
    }

    /// Whether a sidecar holds the pass.
    pub(crate) fn has_sidecar(self) -> bool {
        match self {
            Self::Run | Self::Deploy => false,
            Self::Pass | Self::Native => true,
        }
    }

    fn shipped(self) -> &'static str {
        match self {
            Self::Run => "task/jobpass-run",
            Self::Deploy => "pipeline/jobpass-deploy",
            Self::Pass | Self::Native => "task/jobpass-pass",
        }
    }
}

/// All that is shipped to be applied, in the layout of Tekton's catalog: `KIND/NAME/VERSION/NAME.yaml`.
pub(crate) fn shipped_files() -> Vec<PathBuf> {
    let below = |folder: PathBuf| {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let kinds = ["task", "stepaction", "pipeline"].map(|kind| repository("tekton").join(kind));
    let names = kinds.into_iter().flat_map(below);
    let file = |name: &Path, version: PathBuf| version.join(format!("{}.yaml", name.file_name().unwrap().display()));
    names.flat_map(|name| below(name.clone()).into_iter().map(move |version| file(&name, version))).filter(|file| file.exists()).collect()
}

/// The object as it is shipped.
fn shipped(form: Form) -> Value {
    let folder = form.shipped();
    let name = folder.rsplit('/').next().unwrap();
    let text = fs::read_to_string(repository("tekton").join(folder).join("0.1.0").join(format!("{name}.yaml"))).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn variant(form: Form, event: Event, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = shipped(form);
    object["metadata"]["name"] = json!(reference(form, event));
    change(&mut object["spec"]);
    object
}

/// What the Task or Pipeline of a play is called.
fn reference(form: Form, event: Event) -> String {
    let name = form.shipped().rsplit('/').next().unwrap();
    let is_varied = match event {
        Event::StepTimeout | Event::OtherUser => true,
        Event::TwoPasses => form.has_sidecar(),
        _ => false,
    };
    if is_varied { format!("{name}-{}", event.name()) } else { name.to_owned() }
}

/// Those that a play needs and that are not shipped so.
pub(crate) fn variants() -> Vec<Value> {
    let timeout = |spec: &mut Value| command(spec)["timeout"] = json!("15s");
    vec![
        variant(Form::Run, Event::StepTimeout, timeout),
        variant(Form::Pass, Event::StepTimeout, timeout),
        variant(Form::Deploy, Event::StepTimeout, |spec| {
            spec["tasks"][0]["taskRef"]["name"] = json!(reference(Form::Run, Event::StepTimeout));
        }),
        variant(Form::Pass, Event::OtherUser, |spec| {
            let context = &mut command(spec)["securityContext"];
            (context["runAsUser"], context["runAsGroup"]) = (json!(1_000_650_007), json!(2000));
        }),
        variant(Form::Pass, Event::TwoPasses, second_pass),
    ]
}

fn command(spec: &mut Value) -> &mut Value {
    spec["steps"].as_array_mut().unwrap().iter_mut().find(|step| step["name"] == "command").unwrap()
}

/// A second sidecar with a place and a key of its own.
fn second_pass(spec: &mut Value) {
    let mut second = spec["sidecars"][0].clone();
    second["name"] = json!("second");
    let variables = second["env"].as_array_mut().unwrap();
    variables.retain(|variable| variable["name"] != "JOBPASS_JOB_KEY");
    variables.extend([json!({"name": "JOBPASS_JOB_KEY", "value": "second"}), json!({"name": "JOBPASS_DIR", "value": "/run/second"})]);
    let mount = json!({"name": "second-pass", "mountPath": "/run/second"});
    let mounts = second["volumeMounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["name"] != "jobpass-pass");
    mounts.push(mount.clone());
    spec["sidecars"].as_array_mut().unwrap().push(second);
    spec["volumes"].as_array_mut().unwrap().push(json!({"name": "second-pass", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}));
    command(spec)["volumeMounts"].as_array_mut().unwrap().push(mount);
}

/// What the command of a play does.
fn script(form: Form, event: Event) -> String {
    const USE: &str = "kubectl --cache-dir=/tmp/cache get --raw /api/v1/namespaces/ci/pods >/dev/null || exit 9\n";
    // What `run` hides, it is shown; in the other forms nobody hides it.
    let shown = if form.has_sidecar() { "" } else { "cat $KUBECONFIG $JOBPASS_TOKEN_FILE; env; base64 $JOBPASS_TOKEN_FILE\n" };
    let work = match event {
        Event::Success | Event::TwoRuns | Event::OtherUser => format!("{USE}sleep 3\n{USE}"),
        Event::Fail | Event::Retries => format!("{USE}sleep 3\n{USE}exit 7"),
        Event::TwoPasses if form.has_sidecar() => {
            format!("{USE}sleep 3\n{USE}export KUBECONFIG=/run/second/kubeconfig\n{USE}sleep 2\n{USE}")
        }
        Event::TwoPasses => {
            format!("{USE}/jp/jobpass run -s ci/deploy-bot --ttl 10m --job-key second -- sh -c '{USE}sleep 3\n{USE}'\nsleep 1\n{USE}")
        }
        // The sidecar is killed, and the command goes on for a while.
        Event::KillJobpass if form.has_sidecar() => format!("{USE}sleep 20"),
        Event::Stubborn => format!("trap '' TERM\n{USE}while :; do sleep 1; done"),
        _ => format!("{USE}exec sleep 300"),
    };
    format!("{shown}{work}")
}

/// The runs of a play: one, but for two runs at once.
pub(crate) fn runs(form: Form, event: Event, name: &str) -> Vec<Value> {
    let version = env!("CARGO_PKG_VERSION");
    // The form without a sidecar copies jobpass by `cp`, which only the larger image has.
    let image = if form.has_sidecar() { format!("localhost/jobpass:{version}") } else { format!("localhost/jobpass:{version}-busybox") };
    let mut params = vec![
        json!({"name": "image", "value": "ci.local/kubectl:1"}),
        json!({"name": "command", "value": ["sh", "-c", script(form, event)]}),
        json!({"name": "jobpass-image", "value": image}),
        json!({"name": "service-account", "value": "ci/deploy-bot"}),
        json!({"name": "ttl", "value": "10m"}),
    ];
    if event == Event::TwoRuns {
        params.push(json!({"name": "job-key", "value": "the-same"}));
    }
    // As OpenShift has it: a random user of the group 0.
    let pod = json!({"securityContext": {
        "runAsUser": 1_000_650_000, "runAsGroup": 0, "fsGroup": 1_000_650_000, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
    }});
    let reference = json!({"name": reference(form, event)});
    let metadata = json!({"name": name, "namespace": crate::node::NAMESPACE});
    if form == Form::Deploy || event.is_of_pipelines() {
        let mut spec = json!({"params": params, "taskRunTemplate": {"serviceAccountName": "tekton", "podTemplate": pod}});
        if form == Form::Deploy {
            spec["pipelineRef"] = reference;
        } else {
            let params = spec.as_object_mut().unwrap().remove("params");
            spec["pipelineSpec"] = json!({"tasks": [{"name": "deploy", "taskRef": reference, "params": params}]});
        }
        match event {
            Event::PipelineTimeout => spec["timeouts"] = json!({"pipeline": "60s"}),
            Event::TasksTimeout => spec["timeouts"] = json!({"pipeline": "5m", "tasks": "60s"}),
            _ => (),
        }
        return vec![json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": metadata, "spec": spec})];
    }
    let mut spec = json!({"taskRef": reference, "params": params, "serviceAccountName": "tekton", "podTemplate": pod});
    match event {
        Event::Retries => spec["retries"] = json!(1),
        Event::Timeout => spec["timeout"] = json!("60s"),
        _ => (),
    }
    let first = json!({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": spec});
    if event != Event::TwoRuns {
        return vec![first];
    }
    let mut second = first.clone();
    second["metadata"]["name"] = json!(format!("{name}-b"));
    vec![first, second]
}
