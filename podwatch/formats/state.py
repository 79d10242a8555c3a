# SPDX-License-Identifier: Apache-2.0
"""netavark's state files, read as text and turned into words.

netavark 1.9 and later keep what they set up under `/run/containers/networks/firewall/`:
`firewall-driver`, `networks/<network id>` and `ports/<network id>_<container id>` (netavark
src/firewall/state.rs). The format is netavark's own and has grown over time: unknown keys are
ignored and missing ones have netavark's defaults, but a value of the wrong kind is an error, since
a guess here would become a repair.
"""

import json
import re
from ipaddress import ip_address, ip_network
from typing import Any

from podwatch.words.errors import StateUnreadable
from podwatch.words.network import (
    Address,
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Subnet,
)

LIMIT_BYTES = 4 * 1024 * 1024
"""A state file larger than this is not one: the largest seen are some tens of kilobytes."""

_ISOLATION = {
    "never": Isolation.NEVER,
    "normal": Isolation.NORMAL,
    "strict": Isolation.STRICT,
}
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,127}")


def is_id(text: str) -> bool:
    """Whether a text can be the id of a container.

    podman's are 64 hexadecimal digits; a container that `podman build` works in is called
    buildah-buildah and a number (seen: podman 5.4.2).
    """
    return _ID.fullmatch(text) is not None


def parse_driver(text: str) -> FirewallDriver:
    """The word in the file `firewall-driver`.

    Raises StateUnreadable for anything that is not one of netavark's drivers.
    """
    try:
        return FirewallDriver(text.strip())
    except ValueError:
        raise StateUnreadable(
            f"unknown firewall driver {text.strip()[:40]!r}",
            hint="a newer netavark? podwatch knows nftables, iptables, firewalld and none",
        ) from None


def parse_network(text: str, *, network_id: str = "") -> Network:
    """One file of `networks/`; `network_id` is its name, used where the content has none.

    Raises StateUnreadable, naming the key and the value, for anything that is not such a file.
    """
    data = _object(text)
    return Network(
        id=_text(data, "network_id") or network_id,
        bridge=_name(data, "bridge_name"),
        subnets=tuple(_subnet(subnet, "subnets") for subnet in _list(data, "subnets")),
        isolation=_isolation(data),
        dns_port=_number(data, "dns_port", 53, high=65535),
        internal=_truth(data, "internal"),
        outbound=tuple(
            _address(data[key], key)
            for key in ("outbound_addr4", "outbound_addr6")
            if data.get(key) is not None
        ),
        hash_name=_text(data, "network_hash_name"),
    )


def parse_endpoint(text: str, *, network_id: str = "", container_id: str = "") -> Endpoint:
    """One file of `ports/`; the ids are those of its name, used where the content has none.

    Raises StateUnreadable, naming the key and the value, for anything that is not such a file.
    """
    data = _object(text)
    addresses: list[tuple[Address, Subnet]] = []
    for family in ("v4", "v6"):
        address, subnet = data.get(f"container_ip_{family}"), data.get(f"subnet_{family}")
        if address is not None and subnet is not None:
            addresses.append(
                (_address(address, f"container_ip_{family}"), _subnet(subnet, f"subnet_{family}"))
            )
    mappings = data.get("port_mappings")
    container = _text(data, "container_id") or container_id
    if not is_id(container):
        raise StateUnreadable(f"container_id is {container[:80]!r}, not a container's id")
    return Endpoint(
        container_id=container,
        network_id=_text(data, "network_id") or network_id,
        network_name=_text(data, "network_name"),
        addresses=tuple(addresses),
        port_mappings=None
        if mappings is None
        else tuple(_mapping(mapping) for mapping in _list(data, "port_mappings")),
        dns_port=_number(data, "dns_port", 53, high=65535),
        dns_servers=tuple(
            _address(server, "dns_server_ips") for server in _list(data, "dns_server_ips")
        ),
        internal=_truth(data, "internal"),
    )


def _mapping(value: object) -> PortMapping:
    if not isinstance(value, dict):
        raise _wrong("port_mappings", value, "a list of objects")
    protocol = _text(value, "protocol")
    if protocol not in _PROTOCOLS:
        raise _wrong("protocol", protocol, "tcp, udp or sctp")
    host_ip = _text(value, "host_ip")
    count = max(_number(value, "range", 1, high=65535), 1)
    host_port = _number(value, "host_port", 0, high=65535)
    container_port = _number(value, "container_port", 0, high=65535)
    if max(host_port, container_port) + count - 1 > 65535:
        raise _wrong("range", count, "a range that ends at port 65535 or before")
    return PortMapping(
        host_port=host_port,
        container_port=container_port,
        protocol=protocol,
        count=count,
        host_ip=_address(host_ip, "host_ip") if host_ip else None,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, dict):
        raise StateUnreadable(f"not a JSON object but {type(data).__name__}")
    return data


def _wrong(key: str, value: object, wanted: str) -> StateUnreadable:
    return StateUnreadable(f"{key} is {str(value)[:80]!r}, not {wanted}")


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(key, value, "a list")
    return value


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise _wrong(key, value, "a printable string")
    return value


def _name(data: dict[str, Any], key: str) -> str:
    """An interface's name: short, and with nothing in it that a rule's text could trip over."""
    value = _text(data, key)
    if not 0 < len(value) < 16 or any(c in '"\\/{};' or c.isspace() for c in value):
        raise _wrong(key, value, "an interface's name")
    return value


def _truth(data: dict[str, Any], key: str) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def _number(data: dict[str, Any], key: str, default: int, *, high: int) -> int:
    value = data.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise _wrong(key, value, f"a number from 0 to {high}")
    return value


def _address(value: object, key: str) -> Address:
    try:
        if isinstance(value, str):
            return ip_address(value)
    except ValueError:
        pass
    raise _wrong(key, value, "an IP address")


def _subnet(value: object, key: str) -> Subnet:
    try:
        if isinstance(value, str):
            return ip_network(value, strict=False)
    except ValueError:
        pass
    raise _wrong(key, value, "a subnet")


def _isolation(data: dict[str, Any]) -> Isolation:
    value = data.get("isolation", "Never")
    if isinstance(value, str) and value.lower() in _ISOLATION:
        return _ISOLATION[value.lower()]
    raise _wrong("isolation", value, "Never, Normal or Strict")
