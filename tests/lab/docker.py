# SPDX-License-Identifier: Apache-2.0
"""Debian's Docker on a lab host: installed where a test asks for it, and not started.

It would make every root file system half as large again for one test, and its rules are in the way
of the others. Its packages, 65 MB, are fetched once for each root file system, and kept beside it.
"""

import json
import shutil
import subprocess
from pathlib import Path

from tests.lab.containers import IMAGE
from tests.lab.errors import LabError, tail
from tests.lab.inside import Inside
from tests.lab.rootfs import BUSYBOX_IMAGE, build, cache_directory, locked

_PACKAGES = ("docker.io", "docker-cli")
_OF_BOOKWORM = ("docker.io",)

_RUNTIME = "/usr/local/bin/lab-runtime"
# nspawn forbids what a container runtime does first: a keyring, and a program for devices, which
# crun leaves out where no resources are limited. bookworm's does with no control group at all.
_RUNTIME_SCRIPT = """\
#!/bin/sh -e
before= bundle=
for word; do
    shift
    set -- "$@" "$word"
    [ "$before" != --bundle ] || bundle=$word
    [ "$word" != create ] || set -- "$@" --no-new-keyring
    before=$word
done
if [ "$bundle" ]; then
    jq '{changes}' "$bundle/config.json" > "$bundle/config.new"
    mv "$bundle/config.new" "$bundle/config.json"
fi
exec crun {options} "$@"
"""
_SETTINGS = {
    # overlayfs refuses to sit on an overlay.
    "data-root": "/var/lib/containers/docker",
    "default-runtime": "lab",
    "runtimes": {"lab": {"path": _RUNTIME}},
}
_NO_SERVICE_STARTS = "/usr/sbin/policy-rc.d"


def packages(suite: str) -> list[Path]:
    """Docker's packages that the root file system of `suite` lacks, fetched if need be.

    Raises LabError when the mirror does not give them.
    """
    root = build(suite)
    cache = cache_directory()
    target = cache / f"{root.name}.docker"
    with locked(cache / f"{suite}.docker.lock"):
        if not target.is_dir():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _fetch(root, partial, _OF_BOOKWORM if suite == "bookworm" else _PACKAGES)
            partial.rename(target)
    return sorted(target.glob("archives/*.deb"))


def _fetch(root: Path, target: Path, names: tuple[str, ...]) -> None:
    """Have apt fetch what `names` need beside what is in `root`, into `target`; read only there."""
    for part in ("lists/partial", "archives/partial"):
        (target / part).mkdir(parents=True)
    settings = {
        "Dir::Etc::sourcelist": root / "etc/apt/sources.list",
        "Dir::Etc::sourceparts": root / "etc/apt/sources.list.d",
        "Dir::State::status": root / "var/lib/dpkg/status",
        "Dir::State::lists": target / "lists",
        "Dir::Cache": target,
        "APT::Sandbox::User": "root",
        "Acquire::Check-Valid-Until": "false",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    install = ("install", "--yes", "--no-install-recommends", "--download-only", *names)
    for command in (("update",), install):
        done = subprocess.run(
            ["apt-get", "--quiet", *options, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"apt-get does not fetch {' '.join(names)}:\n{tail(done.stdout)}")


def install_docker(host: Inside, suite: str) -> None:
    """Install Docker on a host of `suite`; whoever wants its daemon starts docker.service."""
    fetched = packages(suite)
    old = suite == "bookworm"
    script = _RUNTIME_SCRIPT.format(
        changes="del(.linux.resources, .process.rlimits)" if old else "del(.linux.resources)",
        options="--cgroup-manager=disabled" if old else "",
    )
    host.write(_RUNTIME, script, 0o755)
    host.write("/etc/docker/daemon.json", json.dumps(_SETTINGS))
    host.write(_NO_SERVICE_STARTS, "#!/bin/sh\nexit 101\n", 0o755)
    host.install(*fetched)
    host.run(["rm", _NO_SERVICE_STARTS])


LOAD_IMAGE = f"docker import {BUSYBOX_IMAGE} {IMAGE}"
"""The command that gives it the image of all lab containers."""
