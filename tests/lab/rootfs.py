# SPDX-License-Identifier: Apache-2.0
"""Building and caching the root file system of each Debian suite.

A root file system is built once by mmdebstrap (about half a minute and 400 MB) and then only ever
read: hosts boot from an overlay on top of it. It lives outside the repository, in
``$PODWATCH_LAB_CACHE`` or ``/var/cache/podwatch-lab``, under a name that holds a digest of
everything that goes into it, so that a change of the recipe builds anew and nothing stale is used.
It is built under another name and renamed when it is whole; a file lock keeps two runs from
building at once.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.errors import LabError, tail
from tests.lab.mirror import find_mirror
from tests.lab.needs import require_needs

SUITES = ("bookworm", "trixie", "forky", "experimental")
CACHE_VARIABLE = "PODWATCH_LAB_CACHE"
DEFAULT_CACHE = Path("/var/cache/podwatch-lab")
BUSYBOX_IMAGE = "/usr/share/podwatch-lab/busybox.tar"
"""Where, inside a host, the archive lies that ``podman import`` makes the containers' image of."""

# catatonit: podman builds the pause image of a pod from it. dnsmasq-base: a LAN with DHCP. uidmap,
# slirp4netns, passt: rootless containers. The python3-* packages are the runtime dependencies of
# podwatch, so that its package installs offline. prometheus: promtool, and a server that scrapes.
PACKAGES = (
    "systemd systemd-sysv dbus dbus-user-session polkitd firewalld podman netavark aardvark-dns "
    "nftables iptables iproute2 curl busybox-static python3 python3-nftables python3-pystemd "
    "python3-structlog python3-dbus-next crun uidmap slirp4netns passt catatonit dnsmasq-base "
    "ufw jq prometheus"
).split()
SUITE_PACKAGES = {"bookworm": ["containernetworking-plugins"], "trixie": ["network-manager"]}
EXPERIMENTAL = "experimental"
"""No suite to boot: these packages of it, on top of unstable."""
OF_EXPERIMENTAL = {"podman": 6, "netavark": 2}
"""Each package taken from it, and the oldest major version that is worth a suite of its own."""

# There is no pids controller where the tests run, and podman refuses a limit it cannot set.
_CONTAINERS_CONF = "[containers]\npids_limit = 0\n"
# bookworm: crun 1.8.1 wants to raise RLIMIT_MEMLOCK and cannot; its podman 4.3.1 does without
# cgroups altogether.
_CONTAINERS_CONF_BOOKWORM = (
    '[containers]\npids_limit = 0\ncgroups = "disabled"\n'
    'default_ulimits = ["memlock=8388608:8388608", "nofile=20000:20000", "nproc=9000:9000"]\n'
    '[engine]\ncgroup_manager = "cgroupfs"\n'
)

# What would start work of its own in the middle of a measurement, on a host without a network to
# work on.
_QUIET_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "logrotate.timer",
    "prometheus.service",
)
# Whoever manages links is started by the tests that are about it.
_SUITE_QUIET_UNITS = {
    "trixie": (
        "NetworkManager.service",
        "NetworkManager-dispatcher.service",
        "NetworkManager-wait-online.service",
    )
}
# There are no modules to load in a container: the unit would fail, and every host would be
# `degraded`.
_MASKED_UNITS = ("systemd-modules-load.service",)
_FILES = {
    "/etc/hostname": "lab\n",
    "/etc/hosts": "127.0.0.1 localhost\n127.0.1.1 lab\n::1 localhost\n",
    # The client's address: a query goes out, and nobody answers it.
    "/etc/resolv.conf": "nameserver 192.0.2.2\noptions timeout:1 attempts:1\n",
    # Newer than anything in /usr, or systemd would rebuild ldconfig's and the journal catalog's
    # caches at each boot.
    "/etc/.updated": "",
    "/var/.updated": "",
}
_RECIPE = 1
"""Raise this when the build changes in a way the digest below does not see."""


def containers_conf(suite: str, *, network_backend: str | None = None) -> str:
    """Return the containers.conf that lets podman of ``suite`` run inside a lab host.

    Args:
        suite: one of SUITES. network_backend: ``"cni"`` for the CNI plugins (bookworm only),
        ``None`` for podman's own choice.
    """
    text = _CONTAINERS_CONF_BOOKWORM if suite == "bookworm" else _CONTAINERS_CONF
    return (
        text
        if network_backend is None
        else f'{text}[network]\nnetwork_backend = "{network_backend}"\n'
    )


def cache_directory() -> Path:
    """Return the directory of root file systems and running hosts; it is made if need be."""
    path = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)
    path.mkdir(parents=True, exist_ok=True)
    return path


def packages_of(suite: str) -> list[str]:
    """Return the Debian packages asked for in the root file system of ``suite``."""
    return [*PACKAGES, *SUITE_PACKAGES.get(suite, [])]


def _quiet_units(suite: str) -> tuple[str, ...]:
    return (*_QUIET_UNITS, *_SUITE_QUIET_UNITS.get(suite, ()))


def build(suite: str) -> Path:
    """Return the root file system of ``suite``, building it if the cache does not have it.

    Args:
        suite: one of SUITES.

    Raises:
        LabError: the suite is not known, this machine lacks a program, or the build failed; then
        the message holds the last
            lines of the build's log and the log's path.
    """
    if suite not in SUITES:
        raise LabError(f"no lab for the suite {suite!r}; there is one for {', '.join(SUITES)}")
    require_needs()
    parts = [
        _RECIPE,
        packages_of(suite),
        containers_conf(suite),
        _FILES,
        _quiet_units(suite),
        _MASKED_UNITS,
        *([OF_EXPERIMENTAL] if suite == EXPERIMENTAL else []),
    ]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
    cache = cache_directory()
    rootfs = cache / f"{suite}-{digest}"
    if rootfs.is_dir():
        return rootfs
    with locked(cache / f"{suite}.lock"):
        if not rootfs.is_dir():  # another run may have built it while this one waited for the lock
            partial = cache / f"{rootfs.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _bootstrap(suite, partial, cache / f"{rootfs.name}.log")
            _settle(suite, partial)
            partial.rename(rootfs)
    return rootfs


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive flock(2) on ``path``, waiting for it as long as it takes."""
    with path.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _bootstrap(suite: str, target: Path, log: Path) -> None:
    """Run mmdebstrap for ``suite`` into ``target``, with its output in ``log``."""
    mirror = find_mirror()
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        # The Release file of a suite in development can be past its date.
        '--aptopt=Acquire::Check-Valid-Until "false"',
        f"--include={','.join(packages_of(suite))}",
        *(_from_experimental(mirror) if suite == EXPERIMENTAL else ()),
        "unstable" if suite == EXPERIMENTAL else suite,
        str(target),
        mirror,
    ]
    with log.open("wb") as output:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code != 0:
        shutil.rmtree(target, ignore_errors=True)
        said = tail(log.read_text(encoding="utf-8", errors="replace"))
        raise LabError(
            f"mmdebstrap of {suite} failed with status {code}; its log {log} ends:\n{said}"
        )
    if suite == EXPERIMENTAL:
        require_new(target)


def _from_experimental(mirror: str) -> Iterator[str]:
    """The options of mmdebstrap that take a few packages from experimental.

    Once one of them is in unstable too, apt takes the newer of the two.
    """
    names = " ".join(OF_EXPERIMENTAL)
    install = f"apt-get install --yes --no-install-recommends --target-release experimental {names}"
    sources = '"$1/etc/apt/sources.list.d/experimental.list"'
    yield f"--customize-hook=echo 'deb {mirror} experimental main' > {sources}"
    yield f"--customize-hook=chroot \"$1\" sh -ec 'apt-get update; {install}'"


def require_new(root: Path) -> None:
    """Raise LabError, naming what is too old, unless experimental gave what its suite is for.

    Args:
        root: the root file system.
    """
    for name, oldest in OF_EXPERIMENTAL.items():
        query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "-f", "${Version}"]
        done = subprocess.run([*query, name], capture_output=True, text=True, check=True)
        version = done.stdout.rpartition(":")[2]
        if int(version.partition(".")[0]) < oldest:
            raise LabError(
                f"Debian experimental has no {name} {oldest} now, only {version} is to be had: "
                "run the tests of this suite when it is back, or take the suite out of SUITES"
            )


def _settle(suite: str, root: Path) -> None:
    """Write into a fresh root file system what makes it a lab host."""
    for name, text in {**_FILES, "/etc/containers/containers.conf": containers_conf(suite)}.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
    quiet = _quiet_units(suite)
    present = [unit for unit in quiet if (root / "usr/lib/systemd/system" / unit).exists()]
    present += [
        unit
        for unit in quiet
        if unit not in present and (root / "lib/systemd/system" / unit).exists()
    ]
    for verb, units in (("disable", present), ("mask", list(_MASKED_UNITS))):
        subprocess.run(
            ["systemctl", f"--root={root}", "--quiet", verb, *units],
            check=True,
            capture_output=True,
        )
    image = root / BUSYBOX_IMAGE.lstrip("/")
    image.parent.mkdir(parents=True, exist_ok=True)
    busybox = next(
        path for path in (root / "usr/bin/busybox", root / "bin/busybox") if path.exists()
    )
    with tarfile.open(image, "w") as archive:
        archive.add(busybox, "busybox")
        # The host's own /usr, mounted over the empty one, makes its python3 run in the container
        # too.
        for name in ("usr", "tmp", "etc"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, to in (("lib", "usr/lib"), ("lib64", "usr/lib64"), ("bin", "usr/bin")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, to
            archive.addfile(member)
