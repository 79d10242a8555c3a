# SPDX-License-Identifier: Apache-2.0
"""What a look shows beside rules and firewalld, as ways are told from it. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from podwatch.decide.plugged import plugged
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
        wires=_wires(snapshot),
        routed=snapshot.routed,
        others=tuple(chain for chain in snapshot.drops if chain.hook == "forward"),
        policies=() if firewalld is None else firewalld.between,
    )


def with_sockets(seen: Kernel, sockets: Kernel) -> Kernel:
    """The same with what only shows outside of the daemon's sandbox: who keeps ports, and listens.

    All of that is told by notes: the ways are no worse for it.
    """
    return replace(
        seen,
        held=sockets.held,
        bound=sockets.bound,
        listens=sockets.listens,
        routeless=sockets.routeless,
    )


def _wires(snapshot: Snapshot) -> Mapping[Address, tuple[Wire, ...]] | None:
    """By which links each address is reached: those of its namespace, its own first.

    A container may have its address on a bridge of its own, over its link. None where not every
    namespace is known.
    """
    if snapshot.links is None or snapshot.namespaces is None:
        return None
    links = snapshot.links.by_name.values()
    numbers = {link.netns_id for link in links if link.netns_id is not None}
    if any(number >= 0 and not snapshot.namespaces.get(number) for number in numbers):
        return None
    found: dict[Address, tuple[Wire, ...]] = {}
    known = plugged(snapshot.links, snapshot.namespaces)
    for number, inners in snapshot.namespaces.items():
        wires = {one.inner.index: Wire(one.link, one.inner.is_up) for one in known[number]}
        for inner in inners:
            own = wires.get(inner.index)
            others = [wire for index, wire in wires.items() if index != inner.index]
            mine = (*((own,) if own else ()), *others) or (Wire(None),)
            for address in inner.addresses:
                found[address.ip] = (*found.get(address.ip, ()), *mine)
    return found
