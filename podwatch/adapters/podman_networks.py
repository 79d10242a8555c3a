# SPDX-License-Identifier: Apache-2.0
"""Podman's network configuration and leases as files have them: kinds of networks, and DHCP.

No program is started for any of it. What is in these directories is somebody else's: a file that
makes no sense is passed over, as podman does.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from podwatch.adapters.files import read_whole
from podwatch.formats import dhcp
from podwatch.formats.network_files import cni_file, dns_bind_port, netavark_file
from podwatch.words.dhcp import PROXIES, Backend, Lease, Proxy
from podwatch.words.errors import StateUnreadable
from podwatch.words.gates import NetworkFile

CONF = (
    Path("/usr/share/containers/containers.conf"),
    Path("/etc/containers/containers.conf"),
    Path("/etc/containers/containers.conf.d"),
)
"""containers.conf(5), in the order podman reads it; the last one wins."""

CHOSEN = Path("/var/lib/containers/storage/defaultNetworkBackend")
"""What podman chose when it first ran (common libnetwork/network/interface.go, Podman 4, 5)."""

DIRECTORIES = {
    Backend.NETAVARK: Path("/etc/containers/networks"),
    Backend.CNI: Path("/etc/cni/net.d"),
}
NETAVARK_PROGRAMS = tuple(
    Path(directory, "netavark")
    for directory in (
        "/usr/local/libexec/podman",
        "/usr/local/lib/podman",
        "/usr/libexec/podman",
        "/usr/lib/podman",
    )
)
"""Where podman looks for netavark (common pkg/config, helper_binaries_dir's default)."""

LEASES = Path("/run/podman/nv-proxy.lease")
CNI_RESULTS = Path("/var/lib/cni/results")

_ENDINGS = {Backend.NETAVARK: (".json",), Backend.CNI: (".conflist", ".conf")}

T = TypeVar("T")

_MOST_FILES = 2000
_LIMIT_BYTES = 4 * 1024 * 1024

Places = dict[str, tuple[str, str, float]]
"""By container id: its MAC and address on a network, and when it had its lease."""


def read_backend() -> tuple[Backend, Path]:
    """The network backend in use, and the directory of its networks' files."""
    name = directory = ""
    for given in _configured(dhcp.parse_backend):
        name, directory = given[0] or name, given[1] or directory
    if not name:
        name = (_parsed(CHOSEN, str) or "").strip()
    installed = any(path.exists() for path in NETAVARK_PROGRAMS)
    cni = any(_files(DIRECTORIES[Backend.CNI], *_ENDINGS[Backend.CNI]))
    backend = dhcp.choose_backend(name, netavark=installed, cni=cni)
    return backend, Path(directory) if directory else DIRECTORIES[backend]


def read_dns_port() -> int:
    """The port on which aardvark-dns is to answer."""
    port = 0
    for given in _configured(dns_bind_port):
        port = given
    return port or 53


def read_networks(backend: Backend, directory: Path) -> tuple[str, ...]:
    """The names of the networks that want DHCP, sorted."""
    parse = dhcp.cni_network if backend is Backend.CNI else dhcp.netavark_network
    found = {_parsed(path, parse) or "" for path in _files(directory, *_ENDINGS[backend])}
    return tuple(sorted(found - {""}))


def read_files() -> dict[str, NetworkFile]:
    """By its name, each network that has a file."""
    backend, directory = read_backend()
    parse = cni_file if backend is Backend.CNI else netavark_file
    found = (_parsed(path, parse) for path in _files(directory, *_ENDINGS[backend]))
    return {each.name: each for each in found if each is not None}


def read_proxy() -> tuple[tuple[str, ...], Proxy]:
    """The networks that want DHCP, and the proxy that asks for their leases."""
    backend, directory = read_backend()
    return read_networks(backend, directory), PROXIES[backend]


def read_leases() -> dict[str, Lease]:
    """What netavark's proxy has leased, by MAC. Raises StateUnreadable, naming the file."""
    try:
        return dhcp.parse_leases(read_whole(LEASES, limit_bytes=_LIMIT_BYTES) or "")
    except StateUnreadable as exc:
        raise StateUnreadable(f"{LEASES}: {exc}") from exc


def leases_changed() -> float:
    """When the proxy last wrote its lease file, in seconds since the epoch; 0 without one."""
    return _changed(LEASES)


def read_cni_places(networks: tuple[str, ...]) -> dict[str, Places]:
    """Who is on these networks, by network, as CNI's plugins answered."""
    found: dict[str, Places] = {name: {} for name in networks}
    for path in _files(CNI_RESULTS):
        if not path.name.startswith(tuple(f"{name}-" for name in networks)):
            continue
        result = _parsed(path, dhcp.parse_cni_result)
        if result is not None and result[1] in found:
            found[result[1]][result[0]] = (result[2], result[3], _changed(path))
    return found


def _configured(parse: Callable[[str], T | None]) -> Iterator[T]:
    """What each containers.conf gives, in their order."""
    for path in CONF:
        for file in _files(path, ".conf") if path.suffix == ".d" else (path,):
            given = _parsed(file, parse)
            if given is not None:
                yield given


def _parsed(path: Path, parse: Callable[[str], T]) -> T | None:
    try:
        text = read_whole(path, limit_bytes=_LIMIT_BYTES)
        return None if text is None else parse(text)
    except StateUnreadable:
        return None


def _files(directory: Path, *endings: str) -> Iterator[Path]:
    try:
        names = sorted(each.name for each in directory.iterdir())[:_MOST_FILES]
    except OSError:
        return
    for name in names:
        if not endings or name.endswith(endings):
            yield directory / name


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
