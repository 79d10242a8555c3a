# SPDX-License-Identifier: Apache-2.0
"""Putting right bridges, addresses, routes and ports over rtnetlink: each takes about 1 ms.

The order is that of need: a route wants its address, an address a link that is up, a port its
bridge.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_interface

from podwatch.adapters.links import Orders
from podwatch.words.errors import RestoreFailed
from podwatch.words.text import listed
from podwatch.words.verdict import Missing, MissingKind

_ORDER = (
    MissingKind.BRIDGE,
    MissingKind.LINK,
    MissingKind.MASTER,
    MissingKind.ADDRESS,
    MissingKind.ROUTE,
    MissingKind.ISOLATED,
)


def mend(
    losses: Sequence[Missing], macs: Mapping[str, str], made: Callable[[], Orders] = Orders
) -> str:
    """Put right what is lost of the links; what was done, in words.

    `macs` are those that bridges had, by name; `made` makes what carries orders out. What cannot be
    put right keeps nothing else from it. Raises RestoreFailed for the first such thing when all was
    tried.
    """
    done: list[str] = []
    failed: list[RestoreFailed] = []
    with made() as orders:
        for loss in sorted(losses, key=lambda loss: _ORDER.index(MissingKind(loss.kind))):
            try:
                done.append(_MENDERS[loss.kind](orders, loss, macs))
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


def _set_up(orders: Orders, loss: Missing, _macs: Mapping[str, str]) -> str:
    orders.set_up(loss.place)
    return f"{loss.place} set up"


def _join(orders: Orders, loss: Missing, _macs: Mapping[str, str]) -> str:
    orders.join(loss.place, loss.value)
    return f"{loss.place} put on {loss.value}"


def _add_address(orders: Orders, loss: Missing, _macs: Mapping[str, str]) -> str:
    orders.add_address(loss.place, ip_interface(loss.value))
    return f"{loss.value} added to {loss.place}"


def _add_route(orders: Orders, loss: Missing, _macs: Mapping[str, str]) -> str:
    address = ip_interface(loss.value)
    orders.add_route(loss.place, address)
    return f"route to {address.network} by {loss.place} added"


def _unisolate(orders: Orders, loss: Missing, _macs: Mapping[str, str]) -> str:
    orders.unisolate(loss.place)
    return f"{loss.place} isolated no more"


_MENDERS: Mapping[str, Callable[[Orders, Missing, Mapping[str, str]], str]] = {
    MissingKind.BRIDGE: _make,
    MissingKind.LINK: _set_up,
    MissingKind.MASTER: _join,
    MissingKind.ADDRESS: _add_address,
    MissingKind.ROUTE: _add_route,
    MissingKind.ISOLATED: _unisolate,
}
