# SPDX-License-Identifier: Apache-2.0
"""In which order links are put right, and what is said of it."""

from ipaddress import ip_address, ip_network

import pytest

from podwatch.adapters.links import Orders
from podwatch.daemon.wires import Wires
from podwatch.daemon.wiring_repair import mend, put_right
from podwatch.words.errors import Outdated, RestoreFailed
from podwatch.words.links import Link, Links
from podwatch.words.network import Endpoint, FirewallDriver, Interface, Network, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind, State, Verdict


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
    """A bridge before its ports and addresses, its settings before it is up."""
    orders = Written()
    said = mend(
        LOSSES,
        {"br": "02::1", "other": "02::2"},
        lambda name: {f"net/{name}/accept_ra": "0"},
        made=lambda: orders,
        write=lambda path, value: orders.done.append(f"{path}={value}"),
    )
    assert orders.done == [
        "make br 02::1 1400",
        "net/br/accept_ra=0",
        "up br",
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
    mend([loss(MissingKind.BRIDGE, "br")], {}, lambda _: {}, made=lambda: orders)
    assert orders.done == ["make br  0", "up br"]


def test_what_fails_keeps_nothing_else_from_being_put_right() -> None:
    """The first failure is told when all was tried."""
    orders = Written()
    bad = [loss(MissingKind.LINK, "bad"), loss(MissingKind.BRIDGE, "red", reloadable=False)]
    with pytest.raises(RestoreFailed, match="red is in a VRF or has a VLAN") as raised:
        mend([*bad, *LOSSES], {}, lambda _: {"a": "0"}, made=lambda: orders, write=refuse)
    assert raised.value.hint.startswith("podman network reload")
    assert len(orders.done) == len(LOSSES) + 1, "a bridge is made, and then set up"


def refuse(path: str, value: str) -> None:
    """A setting that this kernel does not have."""
    raise RestoreFailed(f"cannot write {path}={value}")


DOWN = Links({"podman1": Link("podman1", 3, is_up=False, kind="bridge")})
UP = Links({"podman1": Link("podman1", 3, kind="bridge")})


def test_what_is_whole_by_now_is_left_alone() -> None:
    """The links are compared once more right before."""
    subnet = ip_network("10.89.0.0/24")
    setup = Setup(
        FirewallDriver.NONE,
        {"n1": Network("n1", "podman1", (subnet,))},
        (Endpoint("c1", "n1", "app", ((ip_address("10.89.0.2"), subnet),)),),
    )
    snapshot = Snapshot(setup, None, None, links=DOWN)
    verdict = Verdict(State.LOST, setup=setup)
    with pytest.raises(Outdated, match="the links were changed"):
        put_right([loss(MissingKind.LINK, "podman1")], snapshot, verdict, Wires(None, lambda: UP))
