"""Takes the GitLab template and the component apart for linters: jobs that are not hidden, the component's head, shell scripts."""

import sys
from pathlib import Path

from ruamel.yaml import YAML

root, to = map(Path, sys.argv[1:])
yaml = YAML(typ="safe")


def jobs(path, text):
    """The jobs of a file, which must be nothing but hidden ones: a global keyword would speak to the user's own jobs."""
    known = yaml.load(text)
    others = [name for name in known if not name.startswith(".")]
    if others:
        sys.exit(f"error: {path} has what is no hidden job: {', '.join(others)}")
    # GitLab's schema looks into no hidden job, but into these.
    shown = {name.removeprefix("."): job for name, job in known.items()}
    with (to / f"jobs-of-{path.parent.name}.yml").open("w") as file:
        yaml.dump(shown, file)
    return shown


path = root / "templates/jobpass.yml"
head, mark, body = path.read_text().partition("\n---\n")
if not mark or list(yaml.load(head)) != ["spec"]:
    sys.exit(f"error: {path} does not begin with a document that is its `spec`")
(to / "spec-of-templates.yml").write_text(head + "\n")
jobs(path, body)

path = root / "gitlab/jobpass.yml"
for name, job in jobs(path, path.read_text()).items():
    # As a runner has them: before_script and script are one shell, after_script is another.
    parts = {"script": ["before_script", "script"], "after_script": ["after_script"]}
    for part, keywords in parts.items():
        lines = [line for keyword in keywords for line in job.get(keyword, [])]
        if lines:
            (to / f"{name}.{part}.sh").write_text("\n".join(["set -e", *lines, ""]))
