"""An image of several platforms as one OCI archive, of plain files: the same input gives the same bytes."""

import hashlib
import io
import json
import pathlib
import struct
import sys
import tarfile

# Numeric, as kubelet has to see that it is not root; with group 0, as OpenShift's random users have it.
USER = "65532:0"
MACHINES = {62: "amd64", 183: "arm64"}


def fail(message):
    sys.exit(f"error: {message}")


def architecture(path, content):
    """The architecture of a program that needs nothing beside itself."""
    if content[:6] != b"\x7fELF\x02\x01":
        fail(f"{path} is no 64-bit program of Linux")
    machine = struct.unpack_from("<H", content, 18)[0]
    start, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    headers = [struct.unpack_from("<I", content, start + size * i)[0] for i in range(count)]
    if 3 in headers:  # PT_INTERP
        fail(f"{path} is not static: it needs a loader, which the image has not")
    if machine not in MACHINES:
        fail(f"{path} is for a machine of number {machine}, of which only {MACHINES} are known")
    return MACHINES[machine]


def add(archive, name, content=b"", mode=0o644, kind=tarfile.REGTYPE, link=""):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname = len(content), mode, kind, link
    archive.addfile(entry, io.BytesIO(content))


def layer(files, links):
    """One layer: directories first, then files, then links, each by name."""
    directories = {"tmp/": 0o1777}
    for name in [*files, *links]:
        for parent in list(pathlib.PurePosixPath(name).parents)[:-1]:
            directories.setdefault(f"{parent}/", 0o755)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, mode in sorted(directories.items()):
            add(archive, name, mode=mode, kind=tarfile.DIRTYPE)
        for name, (content, mode) in sorted(files.items()):
            add(archive, name, content, mode)
        for name, target in sorted(links.items()):
            add(archive, name, mode=0o777, kind=tarfile.SYMTYPE, link=target)
    return buffer.getvalue()


def compact(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write(path, reference, labels, starts, layers):
    """The archive: https://github.com/opencontainers/image-spec/blob/main/image-layout.md"""
    blobs = {}

    def kept(media, blob, **more):
        digest = hashlib.sha256(blob).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = blob
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(blob), **more}

    manifests = []
    for machine, content in sorted(layers.items()):
        # Not compressed: what one version of a compressor makes, the next one may not.
        tar = kept("layer.v1.tar", content)
        runs = {"User": USER, "Env": ["PATH=/usr/bin:/bin"], "WorkingDir": "/", "Labels": labels} | starts
        config = {
            "created": "1970-01-01T00:00:00Z",
            "architecture": machine,
            "os": "linux",
            "config": runs,
            "rootfs": {"type": "layers", "diff_ids": [tar["digest"]]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "release/images"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": kept("config.v1+json", compact(config)),
            "layers": [tar],
        }
        manifests.append(kept("manifest.v1+json", compact(manifest), platform={"architecture": machine, "os": "linux"}))
    media = "application/vnd.oci.image.index.v1+json"
    # Under the first of these names containerd keeps it.
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference.rsplit(":", 1)[1]}
    entry = kept("index.v1+json", compact({"schemaVersion": 2, "mediaType": media, "manifests": manifests}), annotations=names)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("blobs/", "blobs/sha256/"):
            add(archive, name, mode=0o755, kind=tarfile.DIRTYPE)
        for name, blob in sorted(blobs.items()):
            add(archive, name, blob)
        add(archive, "index.json", compact({"schemaVersion": 2, "mediaType": media, "manifests": [entry]}))
        add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    print(f"{path.name}: {reference}@{entry['digest']}")
