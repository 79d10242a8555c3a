# SPDX-License-Identifier: Apache-2.0
"""What a look shows beside rules and firewalld, as ways are told from it. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from podwatch.words.network import Address
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import Kernel, Wire


def facts(snapshot: Snapshot) -> Kernel:
    """All that the daemon can see. Who listens on a port, it cannot."""
    firewalld = snapshot.firewalld
    return Kernel(
        forwarding={
            path: value != "0"
            for path, value in snapshot.sysctls.items()
            if path.endswith(("/forwarding", "/ip_forward"))
        },
        links=None if snapshot.links is None else snapshot.links.by_name,
        wires=_wires(snapshot),
        routed=snapshot.routed,
        others=tuple(chain for chain in snapshot.drops if chain.hook == "forward"),
        policies=() if firewalld is None else firewalld.between,
    )


def with_sockets(seen: Kernel, sockets: Kernel) -> Kernel:
    """The same with what only shows outside of the daemon's sandbox: who keeps ports, and listens.

    All of that is told by notes: the ways are no worse for it.
    """
    return replace(seen, held=sockets.held, bound=sockets.bound, listens=sockets.listens)


def _wires(snapshot: Snapshot) -> Mapping[Address, tuple[Wire, ...]] | None:
    """By which links addresses are reached; None where not every namespace is known."""
    if snapshot.links is None or snapshot.namespaces is None:
        return None
    by_index = {link.index: link for link in snapshot.links.by_name.values()}
    behind = {link.netns_id for link in by_index.values() if (link.netns_id or 0) >= 0} - {None}
    if not behind <= snapshot.namespaces.keys():
        return None
    found: dict[Address, tuple[Wire, ...]] = {}
    for inners in snapshot.namespaces.values():
        for inner in inners:
            wire = Wire(by_index.get(inner.peer), inner.is_up)
            for address in inner.addresses:
                found[address.ip] = (*found.get(address.ip, ()), wire)
    return found
