# SPDX-License-Identifier: Apache-2.0
"""Debian's Docker on a lab host: installed where a test asks for it, and not started.

It would make every root file system half as large again for one test, and its rules are in the way
of the others. Its packages are 65 MB.
"""

import json

from tests.lab.containers import IMAGE
from tests.lab.fetched import install_unstarted, packages
from tests.lab.inside import Inside
from tests.lab.rootfs import BUSYBOX_IMAGE

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


def install_docker(host: Inside, suite: str) -> None:
    """Install Docker on a host of `suite`; whoever wants its daemon starts docker.service."""
    old = suite == "bookworm"
    fetched = packages(suite, "docker", _OF_BOOKWORM if old else _PACKAGES)
    script = _RUNTIME_SCRIPT.format(
        changes="del(.linux.resources, .process.rlimits)" if old else "del(.linux.resources)",
        options="--cgroup-manager=disabled" if old else "",
    )
    host.write(_RUNTIME, script, 0o755)
    host.write("/etc/docker/daemon.json", json.dumps(_SETTINGS))
    install_unstarted(host, fetched)


LOAD_IMAGE = f"docker import {BUSYBOX_IMAGE} {IMAGE}"
"""The command that gives it the image of all lab containers."""
