# SPDX-License-Identifier: Apache-2.0
"""The hops that are no firewall's, one by one: what stops a packet there, and what does not."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.hops import (
    forwarding,
    host_address,
    host_port,
    no_address,
    process,
    route,
    wire,
)
from podwatch.decide.hops import state as state_of
from podwatch.words.network import Container, ContainerState, FirewallDriver, PortMapping, Setup
from podwatch.words.way import Hop, Inside, Kernel, Link, Mark
from tests.unit.decide.one_network import HERE, NETWORK, endpoint

WEB = "0123456789abcdef" * 4
ENDPOINT = endpoint(WEB)
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))
INFRA = Container(WEB, "1234-infra", pod="shop", is_infra=True)
ONE, RANGE = PortMapping(8080, 80, "tcp"), PortMapping(9000, 90, "tcp", 3)
NOBODY = "another program can take it"


@pytest.mark.parametrize(
    ("held", "mapping", "what", "mark"),
    [
        ({8080: "conmon (pid 7)"}, ONE, "is kept by a listening socket of conmon", Mark.OPEN),
        ({8080: ""}, ONE, "is kept by a listening socket", Mark.OPEN),
        ({}, ONE, f"is kept by no socket: {NOBODY}", Mark.NOTE),
        (dict.fromkeys(range(9000, 9003), ""), RANGE, "is kept by a listening socket", Mark.OPEN),
        ({9000: "", 9001: ""}, RANGE, f"is kept by no socket: {NOBODY}", Mark.NOTE),
        ({9001: "", 9002: ""}, RANGE, f"is kept by no socket: {NOBODY}", Mark.NOTE),
    ],
)
def test_a_port_is_kept_if_each_of_its_range_is(
    held: dict[int, str], mapping: PortMapping, what: str, mark: Mark
) -> None:
    """A socket whose owner could not be seen keeps it as well."""
    found = host_port(Kernel(held={(port, "tcp"): who for port, who in held.items()}), mapping)

    told = f"{mapping} {what}" + (" (pid 7)" if "conmon" in what else "")
    assert (found.what, found.mark, found.advice) == (told, mark, "")


@pytest.mark.parametrize(
    ("host", "leads_nowhere"),
    [(None, False), ("::1", True), ("2001:db8::1", False), ("127.0.0.1", False)],
)
def test_nothing_comes_in_from_ipv6s_localhost(host: str | None, *, leads_nowhere: bool) -> None:
    """The kernel routes nothing from ::1, and from 127.0.0.1 where netavark asked for it."""
    mapping = replace(ONE, host_ip=ip_address(host) if host else None)

    assert [hop.mark for hop in host_address(mapping)] == [Mark.BROKEN] * leads_nowhere
    assert no_address(ip_address("::1"), "web").what.startswith("web has no IPv6 address")


@pytest.mark.parametrize(
    ("is_on", "what", "mark", "advice"),
    [
        ({}, "net.ipv4.ip_forward could not be read", Mark.UNKNOWN, ""),
        ({4: True, 6: False}, "net.ipv4.ip_forward = 1", Mark.OPEN, ""),
        (
            {4: False, 6: True},
            "net.ipv4.ip_forward = 0: the host forwards nothing",
            Mark.BROKEN,
            "sysctl -w net.ipv4.ip_forward=1",
        ),
    ],
)
def test_the_host_forwards(is_on: dict[int, bool], what: str, mark: Mark, advice: str) -> None:
    """Each IP version has its own setting, and one that was not read says nothing."""
    assert forwarding(Kernel(forwarding=is_on), HERE) == Hop("forwarding", what, mark, advice)


def test_the_way_out_needs_a_default_route() -> None:
    """One of the other IP version is none; without any only neighbours are reached."""
    assert route(Kernel(routed={4: "eth0"}), HERE).mark is Mark.OPEN
    assert route(Kernel(routed={6: "eth0"}), HERE).mark is Mark.NOTE


BRIDGE = Link("podman0", is_up=True)
DOWN = replace(BRIDGE, is_up=False)
JOINED = Link("veth0", is_up=True, master="podman0")
LOOSE = Link("veth0", is_up=True)
ELSEWHERE = Link("veth1", is_up=True, master="podman1")
RELOAD = "podman network reload 1234-infra"
UP = Hop("bridge", "podman0 is up")
NO_LINK = "pod shop has no link on podman0"
MASTER = "ip link set veth0 master podman0"


@pytest.mark.parametrize(
    ("links", "hops"),
    [
        ([], [Hop("bridge", "podman0 does not exist", Mark.BROKEN, RELOAD)]),
        (
            [DOWN, JOINED],
            [
                Hop("bridge", "podman0 is down", Mark.BROKEN, "ip link set podman0 up"),
                Hop("link", "veth0 joins pod shop to podman0"),
            ],
        ),
        ([BRIDGE, JOINED, ELSEWHERE], [UP, Hop("link", "veth0 joins pod shop to podman0")]),
        (
            [BRIDGE, replace(JOINED, is_up=False)],
            [
                UP,
                Hop(
                    "link",
                    "veth0, pod shop's link to podman0, is down",
                    Mark.BROKEN,
                    "ip link set veth0 up",
                ),
            ],
        ),
        ([BRIDGE, LOOSE, ELSEWHERE], [UP, Hop("link", NO_LINK, Mark.BROKEN, MASTER)]),
        ([BRIDGE, ELSEWHERE], [UP, Hop("link", NO_LINK, Mark.BROKEN, RELOAD)]),
        ([BRIDGE], [UP, Hop("link", NO_LINK, Mark.BROKEN, RELOAD)]),
    ],
    ids=["no bridge", "down", "joined", "link down", "loose", "on another bridge", "gone"],
)
def test_the_wire(links: list[Link], hops: list[Hop]) -> None:
    """A container joins its network by a link that is up, on a bridge that is up."""
    kernel = Kernel(
        links={link.name: link for link in links},
        inside={WEB: Inside(peers=("veth1", "veth0"))},
    )

    assert list(wire(kernel, SETUP, ENDPOINT, INFRA)) == hops


def test_the_wire_as_far_as_it_is_seen() -> None:
    """A container without a name is called by its id; what is not seen of it is not told."""
    links = {"podman0": BRIDGE}
    assert list(wire(Kernel(links=links), SETUP, ENDPOINT, None)) == [UP]
    *_, link = wire(Kernel(links=links, inside={WEB: Inside()}), SETUP, ENDPOINT, None)
    assert link.what == "0123456789ab has no link on podman0"
    assert link.advice == "podman network reload 0123456789ab"
    unread = replace(SETUP, networks={})
    (hop,) = wire(Kernel(links=links), unread, ENDPOINT, INFRA)
    assert hop.mark is Mark.UNKNOWN


@pytest.mark.parametrize(
    ("state", "what", "advice"),
    [
        (ContainerState.PAUSED, "pod shop is paused", "podman unpause 1234-infra"),
        (ContainerState.ENDED, "pod shop is not running", "podman start 1234-infra"),
        (ContainerState.UP, "", ""),
    ],
)
def test_who_does_not_run_answers_nobody(state: ContainerState, what: str, advice: str) -> None:
    """It is the first thing to tell of its ports, too, whoever listens."""
    known = replace(INFRA, state=state)
    hops = [Hop("container", what, Mark.BROKEN, advice)] if what else []

    assert list(state_of(known)) == hops
    kernel = Kernel(inside={WEB: Inside(frozenset([(80, "tcp")]))})
    listening = Hop("container", "a process in it listens on 80/tcp")
    assert process(kernel, ENDPOINT, known, ONE) == (hops or [listening])[0]
    assert list(state_of(None)) == []


SINGLE = PortMapping(9000, 90, "tcp")


@pytest.mark.parametrize(
    ("mapping", "listens", "what", "mark", "advice"),
    [
        (replace(SINGLE, protocol="udp"), {90}, "a process in it listens on 90/udp", Mark.OPEN, ""),
        (RANGE, {90, 91, 92}, "a process in it listens on 90-92/tcp", Mark.OPEN, ""),
        (
            RANGE,
            {90},
            "of 90-92/tcp nothing in it listens on 91; 92",
            Mark.NOTE,
            "",
        ),
        (
            RANGE,
            {89, 93},
            "nothing in it listens on 90-92/tcp for others",
            Mark.BROKEN,
            "podman logs 0123456789ab",
        ),
        (
            replace(SINGLE, protocol="sctp"),
            {90},
            "who listens on 90/sctp could not be seen",
            Mark.NOTE,
            "",
        ),
        (SINGLE, None, "who listens on 90/tcp could not be seen", Mark.UNKNOWN, ""),
    ],
)
def test_who_listens(
    mapping: PortMapping, listens: set[int] | None, what: str, mark: Mark, advice: str
) -> None:
    """A port that nobody listens on answers nobody; of a range that is so if it is true of all."""
    inside = {}
    if listens is not None:
        inside[WEB] = Inside(frozenset((port, mapping.protocol) for port in listens))

    found = process(Kernel(inside=inside), ENDPOINT, None, mapping)
    assert found == Hop("container", what, mark, advice)
    if advice:
        named = process(Kernel(inside=inside), ENDPOINT, INFRA, mapping)
        assert named.advice == "podman logs 1234-infra"
