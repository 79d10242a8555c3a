# SPDX-License-Identifier: Apache-2.0
"""containers.conf(5): what Podman's networks are made with. Pure."""

import tomllib
from dataclasses import dataclass

from podwatch.words.dhcp import Backend
from podwatch.words.errors import StateUnreadable
from podwatch.words.text import clean


@dataclass(frozen=True, slots=True)
class ContainersConf:
    """The section [network] of one file; "" and None for what it does not set.

    `directory` is where the networks' files are. `dns_port` is that of aardvark-dns; 0 stands for
    netavark's own, 53.
    """

    backend: str = ""
    directory: str = ""
    dns_port: int | None = None


def parse_containers_conf(text: str) -> ContainersConf:
    """What one containers.conf sets. Raises StateUnreadable for what is not TOML."""
    try:
        section = tomllib.loads(text).get("network")
    except (ValueError, RecursionError) as exc:  # ValueError: or a number of 5000 digits
        raise StateUnreadable(f"not TOML: {exc}") from exc
    given = section if isinstance(section, dict) else {}
    backend, directory, port = (
        given.get(key) for key in ("network_backend", "network_config_dir", "dns_bind_port")
    )
    return ContainersConf(
        clean(backend) if isinstance(backend, str) else "",
        clean(directory) if isinstance(directory, str) else "",
        port if isinstance(port, int) and not isinstance(port, bool) else None,
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
