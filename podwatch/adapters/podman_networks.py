# SPDX-License-Identifier: Apache-2.0
"""Podman's network configuration and leases as files have them: kinds of networks, and DHCP.

No program is started for any of it. What is in these directories is somebody else's: a file that
makes no sense is passed over, as podman does.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from podwatch.adapters.files import read_whole
from podwatch.adapters.paths import Paths
from podwatch.formats import dhcp
from podwatch.formats.cni_results import parse_lease
from podwatch.formats.containers_conf import ContainersConf, choose_backend, parse_containers_conf
from podwatch.formats.network_files import cni_file, netavark_file
from podwatch.words.dhcp import PROXIES, Backend, Lease, Proxy
from podwatch.words.errors import StateUnreadable
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass

_HELPERS = (
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
)
"""Where podman looks for its programs (common pkg/config, helper_binaries_dir's default)."""

_NETAVARK_PROGRAMS = tuple(Path(directory, "netavark") for directory in _HELPERS)

_ENDINGS = {Backend.NETAVARK: (".json",), Backend.CNI: (".conflist", ".conf")}

T = TypeVar("T")

MAX_FILES = 2000
MAX_BYTES = 4 * 1024 * 1024

Places = dict[str, tuple[str, str, float]]
"""By container id: its MAC and address on a network, and when it had its lease."""


class PodmanNetworks:
    """The files of one Podman: its configuration, its networks', and its leases'."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._files: tuple[object, dict[str, NetworkFile]] = (None, {})
        self.has_all = False
        """Whether each file could be read at the last `read_files`, and the directory is there."""
        self._backend: tuple[object, tuple[Backend, Path]] | None = None

    def read_backend(self) -> tuple[Backend, Path]:
        """The network backend in use, and the directory of its networks' files."""
        stamp = self._stamp()
        if self._backend is None or self._backend[0] != stamp:
            self._backend = (stamp, self._read_backend())
        return self._backend[1]

    def _stamp(self) -> object:
        """What changes whenever another backend or directory may be in use."""
        of_files = [
            _stamp(path) if path.suffix == ".d" else _of_file(path)
            for path in (*self._paths.containers_conf, self._paths.chosen_backend)
        ]
        programs = [path.exists() for path in _NETAVARK_PROGRAMS]
        return of_files, programs, _stamp(self._paths.cni_networks)

    def _read_backend(self) -> tuple[Backend, Path]:
        name = directory = ""
        for given in self._configured():
            name, directory = given.backend or name, given.directory or directory
        if not name:
            name = (_parsed(self._paths.chosen_backend, str) or "").strip()
        installed = any(path.exists() for path in _NETAVARK_PROGRAMS)
        cni = any(_files(self._paths.cni_networks, *_ENDINGS[Backend.CNI]))
        backend = choose_backend(name, netavark=installed, cni=cni)
        return backend, Path(directory) if directory else self._directory(backend)

    def read_dns_port(self) -> int:
        """The port on which aardvark-dns is to answer."""
        port = 0
        for given in self._configured():
            port = port if given.dns_port is None else given.dns_port
        return port or 53

    def read_program(self, name: str) -> Path | None:
        """Where podman finds this program of its own; None where it is not installed."""
        helpers: tuple[str, ...] = ()
        for given in self._configured():
            helpers = given.helpers or helpers
        paths = (Path(directory, name) for directory in helpers or _HELPERS)
        return next((path for path in paths if path.is_file()), None)

    def read_networks(self, backend: Backend, directory: Path) -> tuple[str, ...]:
        """The names of the networks that want DHCP, sorted."""
        files = _networks(backend, directory)
        return tuple(sorted({one.name for one in files if one is not None and one.wants_dhcp}))

    def internal_bridges(self) -> frozenset[str]:
        """The bridges of internal networks."""
        files = self.read_files().values()
        return frozenset(one.interface for one in files if one.kind is ContainerClass.INTERNAL)

    def read_files(self) -> dict[str, NetworkFile]:
        """By its name, each network that has a file; parsed again only where one has changed."""
        backend, directory = self.read_backend()
        stamp = (backend, directory, _stamp(directory))
        if stamp != self._files[0]:
            each = list(_networks(backend, directory))
            found = {network.name: network for network in each if network is not None}
            self._files = (stamp, found)
            self.has_all = directory.is_dir() and None not in each and len(each) < MAX_FILES
        return self._files[1]

    def read_proxy(self) -> tuple[tuple[str, ...], Proxy]:
        """The networks that want DHCP, and the proxy that asks for their leases."""
        backend, directory = self.read_backend()
        return self.read_networks(backend, directory), PROXIES[backend]

    def read_leases(self) -> dict[str, Lease]:
        """What netavark's proxy has leased, by MAC. Raises StateUnreadable, naming the file."""
        try:
            return dhcp.parse_leases(read_whole(self._paths.leases, limit_bytes=MAX_BYTES) or "")
        except StateUnreadable as exc:
            raise StateUnreadable(f"{self._paths.leases}: {exc}") from exc

    def leases_changed(self) -> float:
        """When the proxy last wrote its lease file, in seconds since the epoch; 0 without one."""
        return _changed(self._paths.leases)

    def read_cni_places(self, networks: tuple[str, ...]) -> dict[str, Places]:
        """Who is on these networks, by network, as CNI's plugins answered."""
        found: dict[str, Places] = {name: {} for name in networks}
        for path in _files(self._paths.cni_results):
            if not path.name.startswith(tuple(f"{name}-" for name in networks)):
                continue
            result = _parsed(path, parse_lease)
            if result is not None and result[1] in found:
                found[result[1]][result[0]] = (result[2], result[3], _changed(path))
        return found

    def _configured(self) -> Iterator[ContainersConf]:
        """What each containers.conf sets, in their order."""
        for path in self._paths.containers_conf:
            for file in _files(path, ".conf") if path.suffix == ".d" else (path,):
                given = _parsed(file, parse_containers_conf)
                if given is not None:
                    yield given

    def _directory(self, backend: Backend) -> Path:
        netavark = backend is Backend.NETAVARK
        return self._paths.netavark_networks if netavark else self._paths.cni_networks


def _networks(backend: Backend, directory: Path) -> Iterator[NetworkFile | None]:
    """What each file is, None for one that cannot be read."""
    parse = cni_file if backend is Backend.CNI else netavark_file
    for path in _files(directory, *_ENDINGS[backend]):
        yield _parsed(path, parse)


def _parsed(path: Path, parse: Callable[[str], T]) -> T | None:
    try:
        text = read_whole(path, limit_bytes=MAX_BYTES)
        return None if text is None else parse(text)
    except StateUnreadable:
        return None


def _files(directory: Path, *endings: str) -> Iterator[Path]:
    try:
        names = sorted(path.name for path in directory.iterdir())[:MAX_FILES]
    except OSError:
        return
    for name in names:
        if not endings or name.endswith(endings):
            yield directory / name


def _stamp(directory: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What changes whenever a file in the directory is written anew."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                found.append((entry.name, info.st_ino, info.st_mtime_ns, info.st_size))
    except OSError:
        pass  # it is not there, or a file of it went away just now
    return tuple(sorted(found))


def _of_file(path: Path) -> tuple[int, int, int]:
    try:
        info = path.stat()
    except OSError:
        return 0, 0, 0
    return info.st_ino, info.st_mtime_ns, info.st_size


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
