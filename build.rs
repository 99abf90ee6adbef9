//! What `jobpass --version` says of the build: the target, the commit, and who built it.

use std::{env, fs, path::Path, process::Command};

fn main() {
    let home = of_cargo("CARGO_MANIFEST_DIR");
    let target = of_cargo("TARGET");
    let built = set("RELEASE_BUILT").unwrap_or_else(|| "source".to_owned());
    assert!(["source", "ci", "release"].contains(&built.as_str()), "RELEASE_BUILT is source, ci or release");
    // A debug build is for tests: it shall not be compiled anew with every commit.
    let of_checkout = || if of_cargo("PROFILE") == "release" { of_git(Path::new(&home)) } else { None };
    let commit = set("RELEASE_COMMIT").or_else(|| of_crate(Path::new(&home))).or_else(of_checkout).unwrap_or_default();
    assert!(commit.is_empty() || is_commit(&commit), "RELEASE_COMMIT is the whole name of a commit");
    println!("cargo::rustc-env=BUILT_BY={built}");
    println!("cargo::rustc-env=BUILT_OF={commit}");
    println!("cargo::rustc-env=BUILT_FOR={target}");
    println!("cargo::rustc-env=BUILT_VERSION={} ({built}, {target}{})", of_cargo("CARGO_PKG_VERSION"), said(&commit));
    println!("cargo::rerun-if-changed=build.rs");
}

fn said(commit: &str) -> String {
    if commit.is_empty() { String::new() } else { format!(", commit {commit}") }
}

#[expect(clippy::disallowed_methods, reason = "a build script has no other way to know it")]
fn of_cargo(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// What whoever builds has said; none if it is empty.
fn set(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    Some(of_cargo(name)).filter(|value| !value.is_empty())
}

fn is_commit(name: &str) -> bool {
    [40, 64].contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The commit of a packed crate, in which cargo has left it.
fn of_crate(home: &Path) -> Option<String> {
    let text = fs::read_to_string(home.join(".cargo_vcs_info.json")).ok()?;
    text.split('"').find(|word| is_commit(word)).map(ToOwned::to_owned)
}

/// The commit of a checkout, if this directory is one: not if it only lies in somebody else's.
fn of_git(home: &Path) -> Option<String> {
    if !home.join(".git").exists() {
        return None;
    }
    // It changes with every commit and every checkout.
    let log = git(home, &["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={}", home.join(log).display());
    git(home, &["rev-parse", "HEAD"]).filter(|name| is_commit(name))
}

#[expect(clippy::disallowed_methods, reason = "a build script has no other way to know it")]
fn git(home: &Path, arguments: &[&str]) -> Option<String> {
    let ran = Command::new("git").arg("-C").arg(home).args(arguments).output().ok()?;
    ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}
