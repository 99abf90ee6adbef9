//! What kind of failure it is: a name that scripts may rely on, how the process ends, and what the page of errors says of it.

use serde::{Serialize, Serializer};

use super::Exit;

/// Declares each code once; [`Code::ALL`], its name, exit status and page follow.
macro_rules! codes {
    ($($code:ident $name:literal $exit:ident: $means:literal, $remedy:literal;)*) => {
        /// The kind of a failure. Its name stays the same from version to version, whatever the words of the message are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each says what it means in `means`")]
        pub enum Code {
            $($code,)*
        }

        impl Code {
            /// All of them, in the order of the page.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// Its name, as JSON has it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$code => $name,)*
                }
            }

            /// How the process ends because of it.
            #[must_use]
            pub fn exit(self) -> Exit {
                match self {
                    $(Self::$code => Exit::$exit,)*
                }
            }

            /// What has happened, in a sentence.
            #[must_use]
            pub fn means(self) -> &'static str {
                match self {
                    $(Self::$code => $means,)*
                }
            }

            /// What to do about it, in a sentence, for the page: the hint of a message is said where it fails, and knows more.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$code => $remedy,)*
                }
            }
        }
    };
}

codes! {
    UsageArguments "usage.arguments" Usage:
        "The command line has a flag, a verb or an argument that there is not.",
        "See `jobpass help`.";
    UsageMissing "usage.missing" Usage:
        "A setting is missing that this verb needs.",
        "Give it; the message names its flag, input or variable.";
    UsageValue "usage.value" Usage:
        "A setting has a value that it cannot have.",
        "Correct it; the message says what it takes.";
    UsageConflict "usage.conflict" Usage:
        "Two settings contradict each other.",
        "Leave one out.";
    UsageSecret "usage.secret" Usage:
        "A setting that is no secret holds what looks like one.",
        "Check which variable holds what. The value is not repeated; the log is safe.";
    UsagePlace "usage.place" Usage:
        "A path lies where files end up in artifacts, caches or commits, or in the way of the pass's own directory.",
        "Name another path.";
    UsageNotHere "usage.not-here" Usage:
        "A setting has no effect here.",
        "Leave it out, or give it where the message says.";
    UsagePipe "usage.pipe" Usage:
        "A pipe that a flag names cannot be read, or its end does not come.",
        "Check the command that writes to it.";
    PlatformUnknown "platform.unknown" Usage:
        "This is a CI system that jobpass does not know.",
        "Say `--platform local` to use it as a plain shell; nothing masks the token in the log then.";
    PlatformUnclear "platform.unclear" Usage:
        "Several CI systems say that this is their job, or none that was named.",
        "Say by the flag `--platform` which one reads what jobpass prints.";
    PlatformIncomplete "platform.incomplete" Usage:
        "A variable of the CI system is missing.",
        "Run jobpass in a step of a job, or give what the message names.";
    PlatformJobKey "platform.job-key" Usage:
        "The job key does not name this job alone.",
        "Put a UUID into it, such as Tekton's `$(context.pipelineRun.uid)`.";
    PlatformDeaf "platform.deaf" Usage:
        "stderr does not end at the runner, so that it would not hear what it is to mask.",
        "Leave stderr to the runner.";
    PlatformState "platform.state" Failed:
        "What the runner keeps for the post step is not what jobpass wrote.",
        "Find out which step has left a process running.";
    PlatformHandover "platform.handover" Failed:
        "A value cannot be written as the runner's file commands want it.",
        "Report it: no value of jobpass's own does that.";
    IdentityMissing "identity.missing" Usage:
        "There is no CI identity to ask the API server with.",
        "Give one; see how jobpass logs in.";
    IdentityKubeconfig "identity.kubeconfig" Usage:
        "The kubeconfig of the CI identity cannot be used.",
        "Correct it; `kubectl config view --minify` shows what there is.";
    IdentityToken "identity.token" Usage:
        "The token of the CI identity is empty, no token, or cannot be read.",
        "Check the secret's name; pull requests from forks get none.";
    IdentityCredential "identity.credential" Usage:
        "The client certificate, key, password or user of the CI identity cannot be sent.",
        "Correct it in the kubeconfig.";
    IdentityPlugin "identity.plugin" Failed:
        "The credential plugin of the kubeconfig failed, did not answer in time, or gave no credential.",
        "Run it by hand in the job; it must not ask questions.";
    IdentityPod "identity.pod" Failed:
        "The service account of this pod cannot be used.",
        "Check `automountServiceAccountToken` of the pod.";
    IdentityServer "identity.server" Usage:
        "The address of the API server is none.",
        "Take the one that `kubectl config view --minify` shows.";
    IdentityAuthority "identity.authority" Usage:
        "The certificate authority cannot be read.",
        "Give a file, PEM text or its base64.";
    IdentityMisdirected "identity.misdirected" Usage:
        "Somebody else than the owner of a credential says which server it goes to.",
        "Give server and authority where the credential is given.";
    IdentityPass "identity.pass" Usage:
        "A pass of jobpass is named as the CI identity.",
        "Name the kubeconfig of the CI identity itself.";
    IdentityExpired "identity.expired" Failed:
        "The API server answered 401: the token of the CI identity has expired.",
        "Renew the credential, or request earlier in the job.";
    IdentityNotYetValid "identity.not-yet-valid" Failed:
        "The API server answered 401: the token of the CI identity is not valid yet.",
        "Set the clock of the machine that issued it, or of this one.";
    IdentityRefused "identity.refused" Failed:
        "The API server answered 401: it does not know the CI identity.",
        "Check that this cluster trusts its issuer and audience, and that it was not revoked.";
    IdentityUrl "identity.url" Usage:
        "The address of an identity provider is none, or not reached by TLS.",
        "Correct what the message names.";
    IdentityOidc "identity.oidc" Failed:
        "The CI system gives this job no OIDC token, or not the one that was asked for.",
        "Give the job `permissions: id-token: write`; see the pages of the CI systems.";
    IdentityLogin "identity.login" Failed:
        "OpenShift's OAuth server gives no token for that user and password, or the cluster has none.",
        "Check user and password with `oc login`; better, use a service account.";
    IdentityUnrevoked "identity.unrevoked" Failed:
        "A token of OpenShift's OAuth server could not be revoked after its use.",
        "Delete it by its name: `oc delete useroauthaccesstokens NAME`.";
    IdentityExchange "identity.exchange" Failed:
        "The token endpoint gives no token for this job's own, or none that an API server takes.",
        "Check its address and what it is asked for; it must trust the CI system, and take this job.";
    NetworkTarget "network.target" Usage:
        "The way to the API server cannot be gone as it is described: address, authority or proxy.",
        "Correct what the message names.";
    NetworkRoots "network.roots" Failed:
        "The root certificates are not those of the main step.",
        "Give the CI identity its server's certificate authority, which no step can replace.";
    NetworkUnreachable "network.unreachable" Failed:
        "No connection to the API server.",
        "Check the address, `HTTPS_PROXY` and `NO_PROXY`, and that this runner may reach it.";
    NetworkProxy "network.proxy" Failed:
        "The proxy on the way does not lead to the API server, or cannot be reached.",
        "Check `HTTPS_PROXY`, or the kubeconfig's `proxy-url`, and what its proxy allows; `NO_PROXY` names servers that are reached without.";
    NetworkTimeout "network.timeout" Failed:
        "The API server did not answer in time.",
        "Try again, or give it more time by `--timeout`.";
    NetworkCertificate "network.certificate" Failed:
        "The API server's certificate is not trusted.",
        "Give its authority by `--certificate-authority`.";
    NetworkTls "network.tls" Failed:
        "The TLS handshake failed.",
        "Check that the address is the API server's and that no proxy on the way breaks TLS.";
    NetworkAnswer "network.answer" Failed:
        "The answer broke off, or is none that an API server gives.",
        "Try again; check what stands between this job and the API server.";
    NetworkRequest "network.request" Failed:
        "The request cannot be made.",
        "Report it: no setting should lead here.";
    ApiForeign "api.foreign" Failed:
        "What answers is no API server: a proxy, a firewall or a login page on the way.",
        "Check what stands between this job and the API server, and the server's address.";
    ApiRbac "api.forbidden.rbac" Failed:
        "403: the CI identity lacks a right.",
        "Grant it with `jobpass setup`, or ask a cluster admin for the right that the message names.";
    ApiAnonymous "api.forbidden.anonymous" Failed:
        "403: the API server recognised nobody.",
        "Check that the CI identity holds a token or a client certificate of this cluster.";
    ApiQuota "api.forbidden.quota" Failed:
        "403: the namespace's quota of Secrets is used up.",
        "Ask for more, or remove leases that are left behind.";
    ApiTerminating "api.forbidden.terminating" Failed:
        "403: the namespace is being deleted.",
        "Use another one.";
    ApiPolicy "api.forbidden.policy" Failed:
        "An admission policy says no.",
        "The message says which and what to ask for.";
    ApiWebhook "api.forbidden.webhook" Failed:
        "An admission webhook says no.",
        "Ask the cluster's admins.";
    ApiNoAccount "api.not-found.service-account" Failed:
        "404: there is no such service account.",
        "Create it; tokens of a deleted one stay dead.";
    ApiNoNamespace "api.not-found.namespace" Failed:
        "404: there is no such namespace.",
        "Check its name, and that this is the right cluster.";
    ApiNoLease "api.not-found.lease" Failed:
        "404: somebody deleted the lease while its token was requested.",
        "Request again.";
    ApiNoPath "api.not-found.path" Failed:
        "404: whoever answered does not know this part of the API.",
        "Check the address.";
    ApiNameTaken "api.conflict.name" Failed:
        "409: the lease's name is taken.",
        "Find out who has made what has it.";
    ApiOtherUid "api.conflict.uid" Failed:
        "409: the object is another one of the same name.",
        "Request again.";
    ApiBusy "api.conflict.busy" Failed:
        "409: the API server was changing the same thing all the time there was.",
        "Try again.";
    ApiRedirect "api.redirect" Failed:
        "The answer leads to somebody else, to whom nothing is sent.",
        "Check the address.";
    ApiInvalid "api.invalid" Failed:
        "400 or 422: the API server does not take the request.",
        "The message has its words.";
    ApiTooMany "api.too-many-requests" Failed:
        "429 all the time there was.",
        "Try again later.";
    ApiServer "api.server-error" Failed:
        "5xx all the time there was.",
        "Try again; ask the cluster's admins.";
    ApiAnswer "api.answer" Failed:
        "A yes whose body is not what was asked for.",
        "Check that the address is the API server's.";
    ApiOther "api.other" Failed:
        "An answer that an API server does not give to this.",
        "Check that the address is the API server's.";
    LeaseMissing "lease.missing" Failed:
        "There is no such lease, or no lease file.",
        "Check namespace and name; it may have been revoked already.";
    LeaseLost "lease.lost" Failed:
        "This job had a pass, and its directory is gone.",
        "End it by `jobpass revoke --lease NAMESPACE/NAME`.";
    LeaseFile "lease.file" Usage:
        "The lease file that was named cannot be read.",
        "Check the path.";
    LeaseUnreadable "lease.unreadable" Failed:
        "A lease file is damaged, or is another's.",
        "End the pass by `jobpass revoke --lease NAMESPACE/NAME`.";
    LeaseDoubtful "lease.doubtful" Failed:
        "A lease file may be the word of another job.",
        "If it is this job's, end it by `jobpass revoke --lease NAMESPACE/NAME`.";
    LeaseSeveral "lease.several" Usage:
        "There are several passes, and it is not said which is meant.",
        "Name one by `--lease`, or end them all by `--all`.";
    LeaseTaken "lease.taken" Failed:
        "Another Secret has the lease's name.",
        "Find out who made it; jobpass deletes only what is surely its own.";
    LeaseOtherServer "lease.other-server" Failed:
        "The lease is on another API server than the CI identity's.",
        "Name the CI identity of that server.";
    LeaseElsewhere "lease.elsewhere" Usage:
        "A setting leads to another API server than the lease's.",
        "Leave it out.";
    LeaseOtherPod "lease.other-pod" Failed:
        "A job key without a UUID means no other pod's pass.",
        "Give the pass a key with a UUID.";
    PassMissing "pass.missing" Failed:
        "This job has no pass.",
        "Request one, or run the command by `jobpass run`.";
    PassOver "pass.over" Failed:
        "The pass of this job was revoked.",
        "Request another one.";
    PassExpired "pass.expired" Failed:
        "The token of the pass has expired.",
        "Request it with a longer `--ttl`, or run the command by `jobpass run`.";
    PassUnclear "pass.unclear" Failed:
        "It cannot be told whether this job has a pass.",
        "Request one in this job.";
    PassOtherAccount "pass.other-account" Failed:
        "The pass is for another service account.",
        "Request one for the right one.";
    PassUnused "pass.unused" Failed:
        "There is a pass, but kubectl would not use it.",
        "Let its kubeconfig be the first in `KUBECONFIG`.";
    PassElsewhere "pass.elsewhere" Usage:
        "This job has a pass on another API server already.",
        "End it first, or give this one a `--job-key`.";
    PassSecond "pass.second" Usage:
        "A second pass would end the one that this job uses.",
        "Give the second one a `--job-key`.";
    PassInUse "pass.in-use" Failed:
        "Another jobpass of this job is using the same pass.",
        "Wait for it, or give one of them a `--job-key`.";
    PassUnusable "pass.unusable" Failed:
        "The token that was granted is none, or could not be revoked. It was not handed over.",
        "Ask the cluster's admins what changes the request.";
    PassHold "pass.hold" Failed:
        "`jobpass hold` has failed: there is no pass, or none any more.",
        "The message has its words, from the mark `error` in its directory.";
    PassNotReady "pass.not-ready" Failed:
        "No pass of `jobpass hold` became ready in time.",
        "Look at the log of the sidecar; check that both mount the same volume.";
    PassLifetime "pass.lifetime" Failed:
        "The pass has lived as long as it may, and was ended while it was held.",
        "Give `hold` a longer `--max-lifetime`, or a sign by `--until` that the work is over.";
    StoreUnwritable "store.unwritable" Failed:
        "The directory of the pass cannot be made or written.",
        "Give another one by `--dir`.";
    StoreUnreadable "store.unreadable" Failed:
        "The directory of a pass cannot be read.",
        "Run jobpass as the user who requested the pass.";
    StoreInsecure "store.insecure" Failed:
        "The directory belongs to somebody else, is a link, or is open to others.",
        "Find out who put it there, then remove it.";
    StoreOnDisk "store.on-disk" Usage:
        "The directory is not in memory, and files on a node's disk outlive the job.",
        "Mount an `emptyDir` with `medium: Memory`.";
    StoreLeftover "store.leftover" Failed:
        "Files of a pass cannot be removed.",
        "Remove them; the pass itself is ended.";
    FileUnwritable "file.unwritable" Failed:
        "A file that was asked for cannot be written.",
        "Check the path and its directory.";
    FileOccupied "file.occupied" Failed:
        "Something else is where a file was asked for.",
        "Name a path where nothing is.";
    FileLeftover "file.leftover" Failed:
        "A file that was handed over cannot be removed.",
        "Remove it; its token is dead.";
    OutputBroken "output.broken" Failed:
        "stdout or stderr takes nothing.",
        "Check what reads it.";
    CommandNotFound "command.not-found" NotFound:
        "There is no such program.",
        "Check its name and `PATH`.";
    CommandNotExecutable "command.not-executable" NotExecutable:
        "The program cannot be executed.",
        "Check its mode and what it is made for.";
    CommandFailed "command.failed" Failed:
        "The command cannot be started.",
        "The message has the system's words.";
    Interrupted "interrupted" Failed:
        "A signal came before it was done. What had begun was undone.",
        "Run it again.";
    SystemLimits "system.limits" Failed:
        "The process may not open enough files.",
        "Raise the limit: `ulimit -n 256`.";
    SystemSignals "system.signals" Failed:
        "The signals of the process cannot be taken over.",
        "Check what starts jobpass.";
    SystemRuntime "system.runtime" Failed:
        "The system has no room for jobpass.",
        "Check the limits of the job: memory, files, processes.";
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_row_of_words_by_which_one_can_branch() {
        let names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(
                name.split('.').all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')),
                "{name}"
            );
            assert!(!names[..at].contains(name), "{name} is there twice");
        }
        // A call that is wrong in itself is the same to a shell and to a script.
        for code in Code::ALL.iter().filter(|code| code.name().starts_with("usage.")) {
            assert_eq!(code.exit(), Exit::Usage, "{}", code.name());
        }
    }
}
