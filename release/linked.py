"""What is linked into the file that a job fetches: cargo's word for it, and by hand what cargo does not build from the registry."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUST = pathlib.Path("/usr/lib/rustlib/src/rust")
# The crates in Rust's own library that this platform needs. Their versions stand in its own Cargo.lock.
OF_STD = ["addr2line", "adler2", "cfg-if", "gimli", "hashbrown", "libc", "memchr", "miniz_oxide", "object", "rustc-demangle"]
# With zig come musl, LLVM's libunwind for backtraces, and the helpers of its compiler. zig 0.13 has these versions.
OF_ZIG = [
    ("musl", "1.2.5", "MIT", "lib/libc/musl/COPYRIGHT"),
    ("libunwind", "18.1.6", "Apache-2.0 WITH LLVM-exception", "lib/libunwind/LICENSE.TXT"),
    ("zig", "0.13.0", "MIT", "LICENSE"),
]


class Package:
    """A package in the binary, with those that it uses itself."""

    def __init__(self, name, version, licence, texts=(), checksum=None, purl=None):
        self.name, self.version, self.licence, self.texts, self.checksum = name, version, licence, list(texts), checksum
        self.purl = purl or f"pkg:cargo/{name}@{version}"
        self.uses = set()


def cargo(*arguments):
    """The same cargo as of the build."""
    environment = {**os.environ, "RUSTC": "/usr/bin/rustc"}
    return subprocess.run(["/usr/bin/cargo", "--quiet", *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment).stdout


def texts_of(directory):
    names = ("LICEN", "COPYING", "COPYRIGHT", "UNLICENSE", "NOTICE")
    return [path for path in sorted(directory.iterdir()) if path.is_file() and path.name.upper().startswith(names)]


def of_cargo(target):
    """The packages of `cargo tree`, the first of which is jobpass. Macros run in the compiler and are not linked."""
    known = json.loads(cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", target))["packages"]
    known = {(package["name"], package["version"]): package for package in known}
    sums = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    sums = {(package["name"], package["version"]): package.get("checksum") for package in sums}
    tree = cargo("tree", "--locked", "--package", "jobpass", "--edges", "normal,no-proc-macro", "--no-default-features",
                 "--target", target, "--prefix", "depth", "--format", "{p}")
    found, above = {}, []
    for line in tree.splitlines():
        depth, name, version = re.match(r"(\d+)(\S+) v(\S+)", line).groups()
        key = (name, version)
        if key not in found:
            about = known[key]
            ours = about["source"] is None
            texts = [] if ours else texts_of(pathlib.Path(about["manifest_path"]).parent)
            found[key] = Package(name, version, (about["license"] or "").replace("/", " OR "), texts, sums[key])
        above[int(depth):] = [found[key]]
        if int(depth) > 0:
            above[int(depth) - 1].uses.add(found[key].purl)
    return list(found.values())


def of_std():
    """Rust's own library, from the source that it is built of."""
    version = re.search(r"rustc (\S+)", subprocess.run(["/usr/bin/rustc", "--version"], check=True, capture_output=True, text=True).stdout)[1]
    std = Package("std", version, "MIT OR Apache-2.0", [RUST / "COPYRIGHT"], purl=f"pkg:generic/rust-std@{version}")
    packages = [std]
    for package in tomllib.loads((RUST / "library/Cargo.lock").read_text())["package"]:
        if package["name"] in OF_STD:
            directory = RUST / f"library/vendor/{package['name']}-{package['version']}"
            licence = tomllib.loads((directory / "Cargo.toml").read_text())["package"]["license"].replace("/", " OR ")
            packages.append(Package(package["name"], package["version"], licence, texts_of(directory), package.get("checksum")))
            std.uses.add(packages[-1].purl)
    if len(packages) != len(OF_STD) + 1:
        sys.exit(f"error: {RUST} does not have each of {', '.join(OF_STD)} once")
    return packages


def of_zig():
    """What zig links. Its texts lie in its own package."""
    tools = pathlib.Path(subprocess.run([ROOT / "release/toolchain"], check=True, capture_output=True, text=True).stdout.strip())
    [home] = (tools.parent / "lib").glob("python3*/site-packages/ziglang")
    return [Package(name, version, licence, [home / text], purl=f"pkg:generic/{name}@{version}") for name, version, licence, text in OF_ZIG]


def linked(target):
    """All of it, jobpass first. It is linked with what is no crate."""
    jobpass, *crates = of_cargo(target)
    others = of_std() + of_zig()
    jobpass.uses |= {package.purl for package in others if package.purl.startswith("pkg:generic/")}
    return jobpass, sorted({package.purl: package for package in crates + others}.values(), key=lambda package: package.purl)
