# SPDX-License-Identifier: Apache-2.0
"""Putting right bridges, addresses, routes and ports over rtnetlink: each takes about 1 ms.

The order is that of need: a route wants its address, an address a link that is up, a port its
bridge.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_interface

from podwatch.adapters import sysctl
from podwatch.adapters.links import Orders
from podwatch.daemon.wires import Wires
from podwatch.decide.links import missing_links
from podwatch.decide.wiring import wiring
from podwatch.drivers import sysctls
from podwatch.words.errors import Outdated, RestoreFailed
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import listed
from podwatch.words.verdict import Missing, MissingKind, Verdict

_ORDER = (
    MissingKind.BRIDGE,
    MissingKind.LINK,
    MissingKind.MASTER,
    MissingKind.ADDRESS,
    MissingKind.ROUTE,
    MissingKind.ISOLATED,
)


def put_right(losses: Sequence[Missing], snapshot: Snapshot, verdict: Verdict, wires: Wires) -> str:
    """Put right what is still missing of the links; what was done, in words.

    `losses` are of the `verdict` on `snapshot`. Raises Outdated where nothing of it is missing any
    more, RestoreFailed as `mend`.
    """
    setup, seen = verdict.setup, snapshot
    links = wires.read([])
    if links is not snapshot.links and setup is not None:
        seen = replace(snapshot, links=links)
        still = {loss.thing for loss in missing_links(setup, seen)}
        losses = [loss for loss in losses if loss.thing in still]
        if not losses:
            raise Outdated("the links were changed since the look")
    bridges = {} if setup is None else wiring(setup, seen).bridges

    def settings(name: str) -> Mapping[str, str]:
        internal = name in bridges and bridges[name].internal
        return sysctls.of_new_bridge(name, internal=internal, seen=snapshot.sysctls_seen)

    return mend(losses, wires.macs, settings)


def mend(
    losses: Sequence[Missing],
    macs: Mapping[str, str],
    settings: Callable[[str], Mapping[str, str]],
    *,
    made: Callable[[], Orders] = Orders,
    write: Callable[[str, str], None] = sysctl.write,
) -> str:
    """Put right what is lost of the links; what was done, in words.

    `macs` are those that bridges had, by name, `settings` the sysctls of one that is made anew.
    `made` makes what carries orders out, `write` sets a sysctl. What cannot be put right keeps
    nothing else from it. Raises RestoreFailed for the first such thing when all was tried.
    """
    done: list[str] = []
    failed: list[RestoreFailed] = []
    with made() as orders:
        for loss in sorted(losses, key=lambda loss: _ORDER.index(MissingKind(loss.kind))):
            try:
                if loss.kind == MissingKind.BRIDGE:
                    done.append(_make(orders, loss, macs))
                    for path, value in settings(loss.place).items():
                        with suppress(RestoreFailed):  # a kernel without IPv6 has not all of them
                            write(path, value)
                    orders.set_up(loss.place)
                else:
                    done.append(_MENDERS[loss.kind](orders, loss))
            except RestoreFailed as exc:
                failed.append(exc)
    if failed:
        raise failed[0]
    return listed(done, 4)


def _make(orders: Orders, loss: Missing, macs: Mapping[str, str]) -> str:
    if not loss.reloadable:
        raise RestoreFailed(
            f"the bridge {loss.place} is in a VRF or has a VLAN, and is not made anew by podwatch",
            hint="podman network reload, of all containers of its network in one command",
        )
    orders.make_bridge(loss.place, macs.get(loss.place, ""), int(loss.value or 0))
    return f"bridge {loss.place} made anew"


def _set_up(orders: Orders, loss: Missing) -> str:
    orders.set_up(loss.place)
    return f"{loss.place} set up"


def _join(orders: Orders, loss: Missing) -> str:
    orders.join(loss.place, loss.value)
    return f"{loss.place} put on {loss.value}"


def _add_address(orders: Orders, loss: Missing) -> str:
    orders.add_address(loss.place, ip_interface(loss.value))
    return f"{loss.value} added to {loss.place}"


def _add_route(orders: Orders, loss: Missing) -> str:
    address = ip_interface(loss.value)
    orders.add_route(loss.place, address)
    return f"route to {address.network} by {loss.place} added"


def _unisolate(orders: Orders, loss: Missing) -> str:
    orders.unisolate(loss.place)
    return f"{loss.place} isolated no more"


_MENDERS: Mapping[str, Callable[[Orders, Missing], str]] = {
    MissingKind.LINK: _set_up,
    MissingKind.MASTER: _join,
    MissingKind.ADDRESS: _add_address,
    MissingKind.ROUTE: _add_route,
    MissingKind.ISOLATED: _unisolate,
}
