# SPDX-License-Identifier: Apache-2.0
"""In which order links are put right, and what is said of it."""

import pytest

from podwatch.adapters.links import Orders
from podwatch.daemon.wiring_repair import mend
from podwatch.words.errors import RestoreFailed
from podwatch.words.network import Interface
from podwatch.words.verdict import Missing, MissingKind


class Written(Orders):
    """Orders that are written down; that for a link called "bad" is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def _write(self, name: str, what: str) -> None:
        if name == "bad":
            raise RestoreFailed("cannot: no")
        self.done.append(what)

    def make_bridge(self, name: str, mac: str = "", mtu: int = 0) -> None:
        """A bridge."""
        self._write(name, f"make {name} {mac} {mtu}")

    def set_up(self, name: str) -> None:
        """A link."""
        self._write(name, f"up {name}")

    def add_address(self, name: str, address: Interface) -> None:
        """An address."""
        self._write(name, f"address {address} {name}")

    def add_route(self, name: str, address: Interface) -> None:
        """A route."""
        self._write(name, f"route {address} {name}")

    def join(self, name: str, bridge: str) -> None:
        """A port."""
        self._write(name, f"join {name} {bridge}")

    def unisolate(self, name: str) -> None:
        """A port that is isolated."""
        self._write(name, f"unisolate {name}")


def loss(kind: MissingKind, place: str, value: str = "", *, reloadable: bool = True) -> Missing:
    """Something that is missing of this link."""
    return Missing(kind, "what", "detail", place=place, value=value, reloadable=reloadable)


LOSSES = (
    loss(MissingKind.ISOLATED, "veth0"),
    loss(MissingKind.ROUTE, "br", "10.89.0.1/24"),
    loss(MissingKind.ADDRESS, "br", "fd89::1/64"),
    loss(MissingKind.MASTER, "veth0", "br"),
    loss(MissingKind.LINK, "veth0"),
    loss(MissingKind.BRIDGE, "br", "1400"),
)


def test_the_order_is_that_of_need() -> None:
    """A bridge before its ports and addresses, an address before its route."""
    orders = Written()
    said = mend(LOSSES, {"br": "02::1", "other": "02::2"}, lambda: orders)
    assert orders.done == [
        "make br 02::1 1400",
        "up veth0",
        "join veth0 br",
        "address fd89::1/64 br",
        "route 10.89.0.1/24 br",
        "unisolate veth0",
    ]
    assert said == (
        "bridge br made anew; veth0 set up; veth0 put on br; fd89::1/64 added to br; and 2 more"
    )


def test_a_bridge_of_which_nothing_is_known_gets_what_the_kernel_chooses() -> None:
    """Neither MAC nor MTU."""
    orders = Written()
    mend([loss(MissingKind.BRIDGE, "br")], {}, lambda: orders)
    assert orders.done == ["make br  0"]


def test_what_fails_keeps_nothing_else_from_being_put_right() -> None:
    """The first failure is told when all was tried."""
    orders = Written()
    bad = [loss(MissingKind.LINK, "bad"), loss(MissingKind.BRIDGE, "red", reloadable=False)]
    with pytest.raises(RestoreFailed, match="red is in a VRF or has a VLAN") as raised:
        mend([*bad, *LOSSES], {}, lambda: orders)
    assert raised.value.hint.startswith("podman network reload")
    assert len(orders.done) == len(LOSSES)
