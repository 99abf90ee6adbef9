//! The machine of an operator: a plain shell with the kubeconfig of an admin, for one cluster or several.

use std::{cell::RefCell, ops::Deref};

use serde_json::Value;

use super::{ControlPlane, Job, World, doors};

/// An operator's machine. It is a plain shell's job otherwise: `desk.jobpass().args([…])`, `desk.shell("sh", …)`, transcripts.
pub struct Desk<'w> {
    job: Job<'w>,
    kubeconfig: RefCell<Value>,
}

impl<'w> Desk<'w> {
    /// One with the kubeconfig of an admin of this world's cluster, in its usual place; the context is `main`.
    pub fn new(world: &'w World) -> Self {
        let job = Job::local(world);
        job.unset("KUBECONFIG");
        doors::make_directory(&job.directory().join("home/.kube"));
        let desk = Self { job, kubeconfig: RefCell::new(world.admin_kubeconfig("main")) };
        desk.write();
        desk
    }

    /// Adds the cluster of another world as one more context.
    pub fn knows(&self, name: &str, world: &World) {
        let other = world.admin_kubeconfig(name);
        let secrets = world.secrets_known().clone();
        for secret in secrets {
            self.job.world.secret(&secret);
        }
        self.job.world.names_exact(&world.url(), &format!("https://{}", name.to_uppercase()));
        let mut kubeconfig = self.kubeconfig.borrow_mut();
        for list in ["clusters", "users", "contexts"] {
            let added = other[list].as_array().cloned().unwrap_or_default();
            kubeconfig[list].as_array_mut().expect("a list").extend(added);
        }
        drop(kubeconfig);
        self.write();
    }

    /// Puts the `kubectl` of the control plane into its path; only on a real one.
    pub fn has_kubectl(&self) {
        let bin = self.job.directory().join("bin");
        doors::make_directory(&bin);
        doors::write_program(&bin.join("kubectl"), &format!("#!/bin/sh\nexec '{}' kubectl \"$@\"\n", ControlPlane::binary().display()));
        self.job.set("PATH", format!("{}:{}", bin.display(), self.job.get("PATH").expect("set")));
    }

    fn write(&self) {
        let path = self.job.directory().join("home/.kube/config");
        doors::write(&path, &self.kubeconfig.borrow().to_string());
        // A kubeconfig that others may read is warned of.
        doors::set_mode(&path, 0o600);
    }
}

impl<'w> Deref for Desk<'w> {
    type Target = Job<'w>;

    fn deref(&self) -> &Job<'w> {
        &self.job
    }
}
