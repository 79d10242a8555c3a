# SPDX-License-Identifier: Apache-2.0
"""containers.conf(5): what Podman's networks are made with. Pure."""

import tomllib
from dataclasses import dataclass

from podwatch.words.dhcp import Backend
from podwatch.words.errors import StateUnreadable
from podwatch.words.text import clean


@dataclass(frozen=True, slots=True)
class ContainersConf:
    """The section [network] of one file; empty and None for what it does not set.

    `helpers` are the directories of Podman's own programs, of the section [engine].
    `directory` is where the networks' files are. `dns_port` is that of aardvark-dns; 0 stands for
    netavark's own, 53.
    """

    backend: str = ""
    directory: str = ""
    dns_port: int | None = None
    helpers: tuple[str, ...] = ()


def parse_containers_conf(text: str) -> ContainersConf:
    """What one containers.conf sets. Raises StateUnreadable for what is not TOML."""
    try:
        whole = tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # ValueError: or a number of 5000 digits
        raise StateUnreadable(f"not TOML: {exc}") from exc
    given, engine = (
        section if isinstance(section := whole.get(name), dict) else {}
        for name in ("network", "engine")
    )
    helpers = engine.get("helper_binaries_dir")
    backend, directory, port = (
        given.get(key) for key in ("network_backend", "network_config_dir", "dns_bind_port")
    )
    return ContainersConf(
        clean(backend) if isinstance(backend, str) else "",
        clean(directory) if isinstance(directory, str) else "",
        port if isinstance(port, int) and not isinstance(port, bool) else None,
        tuple(map(str, helpers)) if isinstance(helpers, list) else (),
    )


def choose_backend(named: str, *, netavark: bool, cni: bool) -> Backend:
    """The backend in use: the one that is named, or else what Podman takes where none is.

    Podman 3 knows no other than CNI and writes nowhere that it uses it; Podman 6 none but netavark
    (common libnetwork/network/interface.go). `netavark` says whether that program is installed,
    `cni` whether CNI has a network.
    """
    if not named:
        return Backend.CNI if cni and not netavark else Backend.NETAVARK
    return Backend.CNI if named == Backend.CNI else Backend.NETAVARK
