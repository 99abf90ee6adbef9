//! The control planes of this suite, and what lies on them from the beginning: leases that are over when they are looked at, as an API
//! server sets the time of creation itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, Config,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::harness::{Plane, doors};

/// What an API server allows for clocks, and its cache.
const LEEWAY: Duration = Duration::from_secs(70);

/// The namespaces of the large cluster whose leases are over.
pub(crate) const MANY: [&str; 10] = ["many-0", "many-1", "many-2", "many-3", "many-4", "many-5", "many-6", "many-7", "many-8", "many-9"];

/// How many leases each of them has.
pub(crate) const EACH: usize = 500;

/// How many Secrets each of them has that are no leases.
pub(crate) const FOREIGN: usize = 5;

/// The namespace whose leases are alive, and how many they are.
pub(crate) const FEW: (&str, usize) = ("few", 50);

/// How many leases of the second cluster are over.
pub(crate) const SECOND: usize = 30;

/// The namespace of the second cluster that has a sweeper: how many leases are over in it, and how many are alive.
pub(crate) const LOST: &str = "lost";
pub(crate) const OVER: usize = 12;
pub(crate) const ALIVE: usize = 3;

/// The control planes.
pub(crate) struct Ground {
    /// Two API servers on one etcd.
    pub(crate) large: Plane,
    /// Another cluster.
    pub(crate) second: Plane,
    /// One that a test switches off.
    third: Mutex<Plane>,
    /// A kubeconfig with a context for each: `large`, `second` and `third`; `large-2` is the second API server of `large`.
    pub(crate) kubeconfig: PathBuf,
    made: Instant,
}

/// They live as long as the process does, and end with it.
pub(crate) static GROUND: LazyLock<Ground> = LazyLock::new(|| {
    let begun = Instant::now();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("operate");
    let at = |name: &str| directory.join(name);
    let (large, second, third) = (at("large"), at("second"), at("third"));
    let bare: &[&str] = &["--no-controllers"];
    let mut planes = Plane::start(&[(&large, &["--servers", "2"]), (&second, bare), (&third, bare)]).into_iter();
    let [large, second, third] = [(); 3].map(|()| planes.next().expect("three were started"));
    let kubeconfig = at("kubeconfig");
    doors::write(&kubeconfig, &merged(&[("large", &large), ("second", &second), ("third", &third)]));
    println!("three control planes, one of them with two API servers: {:.1} s", begun.elapsed().as_secs_f32());
    let begun = Instant::now();
    wait_for(async {
        let (on_large, on_second) = (client(&large).await, client(&second).await);
        for namespace in MANY.into_iter().chain([FEW.0]) {
            create(&on_large, namespace).await;
        }
        create(&on_second, MANY[0]).await;
        let over = MANY.into_iter().flat_map(|namespace| (0..EACH).map(move |_| (namespace, 1)));
        let alive = (0..FEW.1).map(|_| (FEW.0, 3600));
        fill(&on_large, over.chain(alive).map(|(namespace, lifetime)| (namespace, lease(lifetime)))).await;
        let foreign = MANY.into_iter().flat_map(|namespace| (0..FOREIGN).map(move |n| (namespace, foreign(n))));
        fill(&on_large, foreign).await;
        create(&on_second, LOST).await;
        let lost = (0..OVER + ALIVE).map(|n| (LOST, lease(if n < OVER { 1 } else { 3600 })));
        fill(&on_second, (0..SECOND).map(|_| (MANY[0], lease(1))).chain(lost)).await;
    });
    println!("{} leases: {:.1} s", MANY.len() * EACH + FEW.1, begun.elapsed().as_secs_f32());
    Ground { large, second, third: Mutex::new(third), kubeconfig, made: Instant::now() }
});

impl Ground {
    /// The third cluster, to be switched off; another test that has failed is no reason not to.
    pub(crate) fn third(&self) -> MutexGuard<'_, Plane> {
        self.third.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the leases are over that shall be.
    pub(crate) fn wait_until_over(&self) {
        // A second for their lifetime, and two for the seconds in which the server counts.
        thread::sleep((LEEWAY + Duration::from_secs(3)).saturating_sub(self.made.elapsed()));
    }
}

/// Name and version of all Secrets that are no leases.
pub(crate) fn foreign_secrets(plane: &Plane) -> Vec<(String, String)> {
    let others = ListParams::default().fields("type!=jobpass.dev/lease");
    let list = wait_for(async { Api::<Secret>::all(client(plane).await).list_metadata(&others).await }).expect("an admin may list them");
    let text = |text: Option<String>| text.expect("every object has one");
    list.items
        .into_iter()
        .map(|secret| {
            (format!("{}/{}", text(secret.metadata.namespace), text(secret.metadata.name)), text(secret.metadata.resource_version))
        })
        .collect()
}

/// How many leases there are in a namespace, or everywhere.
pub(crate) fn leases(plane: &Plane, namespace: Option<&str>) -> usize {
    let leases = ListParams::default().fields("type=jobpass.dev/lease");
    let list = wait_for(async {
        let client = client(plane).await;
        let secrets: Api<Secret> = if let Some(name) = namespace { Api::namespaced(client, name) } else { Api::all(client) };
        secrets.list_metadata(&leases).await
    });
    list.expect("an admin may list them").items.len()
}

/// Waits for what it does.
fn wait_for<T>(what: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}

/// A client of the cluster's admin.
async fn client(plane: &Plane) -> Client {
    let text = fs::read_to_string(plane.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&text).unwrap(), &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn create(client: &Client, namespace: &str) {
    let namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("an admin may");
}

/// Creates Secrets, sixteen at a time.
async fn fill(client: &Client, secrets: impl Iterator<Item = (&'static str, Value)>) {
    let made = secrets.map(|(namespace, secret)| async move {
        let secret = serde_json::from_value(secret).unwrap();
        Api::<Secret>::namespaced(client.clone(), namespace).create(&PostParams::default(), &secret).await.expect("an admin may");
    });
    stream::iter(made).buffer_unordered(16).collect::<()>().await;
}

/// A lease as a job on GitHub makes it.
fn lease(lifetime: u32) -> Value {
    json!({
        "metadata": {
            "name": format!("jobpass-{}", [(); 4].map(|()| crate::harness::random()).concat()),
            "labels": {"app.kubernetes.io/managed-by": "jobpass", "jobpass.dev/lease": "true", "jobpass.dev/run-id": "9876543210"},
            "annotations": {
                "jobpass.dev/lifetime": lifetime.to_string(),
                "jobpass.dev/expires-at": "2030-01-01T00:00:00Z",
                "jobpass.dev/identity": "system:serviceaccount:jobpass:ci",
                "jobpass.dev/service-account": "many/deploy-bot",
                "jobpass.dev/platform": "github",
                "jobpass.dev/repository": "acme/app",
                "jobpass.dev/run-url": "https://github.com/acme/app/actions/runs/9876543210",
                "jobpass.dev/commit": "0123456789abcdef0123456789abcdef01234567",
                "jobpass.dev/actor": "octocat",
            },
        },
        "type": "jobpass.dev/lease",
    })
}

/// A Secret that is nobody's lease, whatever it looks like.
fn foreign(n: usize) -> Value {
    let name = if n == 0 { "jobpass-00000000000000000000000000000000".to_owned() } else { format!("password-{n}") };
    let labels = json!({"app.kubernetes.io/managed-by": "jobpass", "jobpass.dev/lease": "true"});
    json!({"metadata": {"name": name, "labels": labels, "annotations": {"jobpass.dev/lifetime": "1"}}, "type": "Opaque"})
}

/// The admins' kubeconfigs as one; each further API server of a cluster is a context with a number.
fn merged(planes: &[(&str, &Plane)]) -> String {
    let (mut clusters, mut users, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    for (name, plane) in planes {
        let text = fs::read_to_string(plane.kubeconfig()).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        users.push(json!({"name": name, "user": config["users"][0]["user"]}));
        for (n, cluster) in config["clusters"].as_array().unwrap().iter().enumerate() {
            let context = if n == 0 { (*name).to_owned() } else { format!("{name}-{}", n + 1) };
            clusters.push(json!({"name": context, "cluster": cluster["cluster"]}));
            contexts.push(json!({"name": context, "context": {"cluster": context, "user": name}}));
        }
    }
    json!({"apiVersion": "v1", "kind": "Config", "current-context": planes[0].0, "clusters": clusters, "users": users, "contexts": contexts})
        .to_string()
}
