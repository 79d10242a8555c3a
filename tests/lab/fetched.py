# SPDX-License-Identifier: Apache-2.0
"""Debian packages that few tests want: installed on a lab host where one of these asks for them.

In the root file systems they would make each of them larger for everybody. They are fetched once
for each root file system, and kept beside it.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.errors import LabError, tail
from tests.lab.inside import Inside
from tests.lab.rootfs import build, cache_directory, locked

_NO_SERVICE_STARTS = "/usr/sbin/policy-rc.d"


def packages(suite: str, kind: str, names: Sequence[str]) -> list[Path]:
    """What the root file system of `suite` lacks of these packages, fetched if need be.

    `kind` is the one name that stands for them in the cache. Raises LabError when the mirror does
    not give them.
    """
    root = build(suite)
    cache = cache_directory()
    target = cache / f"{root.name}.{kind}"
    with locked(cache / f"{suite}.{kind}.lock"):
        if not target.is_dir():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _fetch(root, partial, names)
            partial.rename(target)
    return sorted(target.glob("archives/*.deb"))


def install_unstarted(host: Inside, fetched: Sequence[Path]) -> None:
    """Install packages on a host; none of their services is started."""
    host.write(_NO_SERVICE_STARTS, "#!/bin/sh\nexit 101\n", 0o755)
    host.install(*fetched)
    host.run(["rm", _NO_SERVICE_STARTS])


def _fetch(root: Path, target: Path, names: Sequence[str]) -> None:
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
