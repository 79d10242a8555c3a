# SPDX-License-Identifier: Apache-2.0
"""What rootlessport reads from its standard input: what it publishes, for whom. Pure.

podman 4.3 to 5.8 write the same there (pkg/rootlessport/rootlessport_linux.go, Config; filled in
by setupRootlessPortMappingViaRLK of libpod/networking_slirp4netns.go).
"""

import json
from collections.abc import Sequence
from ipaddress import IPv4Network
from itertools import pairwise

from podwatch.formats.relay_commands import END_FD, READY_FD
from podwatch.words.network import Address, Container

_SLIRP_SUBNET = "10.0.2.0/24"
_SLIRP_HOST = 100  # the address of the container in it


def as_config(container: Container, address: Address, scratch: str, *, is_on_bridge: bool) -> str:
    """The text for a container that is reached at this address; `scratch` is podman's directory."""
    mappings = [
        {
            "host_ip": "" if mapping.host_ip is None else str(mapping.host_ip),
            "container_port": mapping.container_port,
            "host_port": mapping.host_port,
            "range": mapping.count,
            "protocol": mapping.protocol,
        }
        for mapping in container.ports
    ]
    return json.dumps(
        {
            "Mappings": mappings,
            "NetNSPath": container.sandbox,
            "ExitFD": END_FD,
            "ReadyFD": READY_FD,
            "TmpDir": scratch,
            "ChildIP": str(address),
            "ContainerID": container.id,
            "RootlessCNI": is_on_bridge,
        }
    )


def bridge_address(addresses: Sequence[Address]) -> Address | None:
    """The address that podman takes of those on networks: the first IPv4 one, or else any."""
    return next((a for a in addresses if a.version == 4), None) or next(iter(addresses), None)


def slirp_address(argv: Sequence[str]) -> Address | None:
    """The address that slirp4netns gave to its container, by its command line.

    None where that is no subnet it could have given one from.
    """
    cidr = _SLIRP_SUBNET
    for word, after in pairwise((*argv, "")):
        if word == "--cidr" or word.startswith("--cidr="):
            cidr = after if word == "--cidr" else word.partition("=")[2]
    try:
        subnet = IPv4Network(cidr, strict=False)
        return subnet[_SLIRP_HOST]
    except (ValueError, IndexError):
        return None
