# SPDX-License-Identifier: Apache-2.0
"""Podman's network configurations, netavark's and CNI's: what kind of network each is. Pure."""

import json
from typing import Any

from podwatch.words.errors import StateUnreadable
from podwatch.words.network import ContainerClass

_DRIVERS = {
    each.value: each
    for each in (ContainerClass.BRIDGE, ContainerClass.MACVLAN, ContainerClass.IPVLAN)
}


def netavark_kind(text: str) -> tuple[str, ContainerClass]:
    """(name, class) of a file of /etc/containers/networks.

    Its format is that of `podman network inspect`. Raises StateUnreadable for anything else.
    """
    data = _named(text)
    kind = _DRIVERS.get(str(data.get("driver")), ContainerClass.UNKNOWN)
    options = data.get("options")
    if kind is ContainerClass.BRIDGE:
        if isinstance(options, dict) and options.get("mode") == "unmanaged":
            kind = ContainerClass.UNMANAGED
        elif data.get("internal") is True:
            kind = ContainerClass.INTERNAL
    return data["name"], kind


def cni_kind(text: str) -> tuple[str, ContainerClass]:
    """(name, class) of a file of /etc/cni/net.d: the first plugin that makes an interface decides.

    Podman's internal networks are bridges that neither are a gateway nor masquerade (podman
    libpod/network/cni, 3 and 4). Raises StateUnreadable for anything else.
    """
    data = _named(text)
    plugins = data.get("plugins")
    for each in plugins if isinstance(plugins, list) else [data]:
        kind = _DRIVERS.get(str(each.get("type"))) if isinstance(each, dict) else None
        if kind is ContainerClass.BRIDGE and not (each.get("isGateway") or each.get("ipMasq")):
            kind = ContainerClass.INTERNAL
        if kind is not None:
            return data["name"], kind
    return data["name"], ContainerClass.UNKNOWN


def _named(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise StateUnreadable("not a network with a name")
    return data
