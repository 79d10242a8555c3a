# SPDX-License-Identifier: Apache-2.0
"""The hops that are no firewall's, one by one: what stops a packet there, and what does not."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.hops import (
    forwarding,
    host_address,
    host_port,
    inside,
    no_address,
    process,
    route,
)
from podwatch.decide.hops import state as state_of
from podwatch.words.links import Around
from podwatch.words.network import Container, ContainerState, FirewallDriver, PortMapping, Setup
from podwatch.words.way import Hop, Kernel, Mark
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
    (found,) = host_port(Kernel(held={(port, "tcp"): who for port, who in held.items()}), mapping)

    told = f"{mapping} {what}" + (" (pid 7)" if "conmon" in what else "")
    assert (found.what, found.mark, found.advice) == (told, mark, "")


@pytest.mark.parametrize(
    ("host", "leads_nowhere"),
    [(None, False), ("::1", True), ("2001:db8::1", False), ("127.0.0.1", False)],
)
def test_nothing_comes_in_from_ipv6s_localhost(host: str | None, *, leads_nowhere: bool) -> None:
    """The kernel routes nothing from ::1, and from 127.0.0.1 where netavark asked for it."""
    mapping = replace(ONE, host_ip=ip_address(host) if host else None)

    assert [hop.mark for hop in host_address(mapping)] == [Mark.CLOSED] * leads_nowhere
    assert no_address(ip_address("::1"), "web").what.startswith("web has no IPv6 address")


ALL, OF_BRIDGE, OF_UPLINK = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/podman0/forwarding",
    "net/ipv4/conf/eth0/forwarding",
)


@pytest.mark.parametrize(
    ("is_on", "what", "mark", "advice"),
    [
        ({}, "net.ipv4.ip_forward could not be read", Mark.UNKNOWN, ""),
        ({ALL: True}, "net.ipv4.ip_forward = 1", Mark.OPEN, ""),
        (
            {ALL: False},
            "net.ipv4.ip_forward = 0: the host forwards nothing",
            Mark.BROKEN,
            "sysctl -w net.ipv4.ip_forward=1",
        ),
        ({ALL: False, OF_BRIDGE: True, OF_UPLINK: True}, " = 1", Mark.OPEN, ""),
        (
            {ALL: False, OF_BRIDGE: False, OF_UPLINK: True},
            "net.ipv4.ip_forward = 0: the host forwards nothing",
            Mark.BROKEN,
            "sysctl -w net.ipv4.ip_forward=1",
        ),
        (
            {ALL: True, OF_BRIDGE: False, OF_UPLINK: True},
            "net.ipv4.conf.podman0.forwarding = 0: "
            "the host forwards nothing that comes in by podman0",
            Mark.BROKEN,
            "sysctl -w net.ipv4.conf.podman0.forwarding=1",
        ),
    ],
)
def test_the_host_forwards(is_on: dict[str, bool], what: str, mark: Mark, advice: str) -> None:
    """Each interface has its own setting for IPv4, and one that was not read says nothing."""
    found = forwarding(Kernel(forwarding=is_on), HERE, ["eth0", "podman0"])
    assert (found.mark, found.advice) == (mark, advice)
    assert found.what.endswith(what)


@pytest.mark.parametrize("is_on", [True, False])
def test_for_ipv6_one_setting_decides(*, is_on: bool) -> None:
    """What an interface has of its own says whether it is a router's, and forwards nothing."""
    seen = {"net/ipv6/conf/all/forwarding": is_on, "net/ipv6/conf/podman0/forwarding": not is_on}
    found = forwarding(Kernel(forwarding=seen), ip_address("fd10::2"), ["podman0"])
    assert found.mark is (Mark.OPEN if is_on else Mark.BROKEN)


def test_the_way_out_needs_a_default_route() -> None:
    """One of the other IP version is none; without any only neighbours are reached."""
    assert route(Kernel(routed={4: "eth0"}), HERE, Around()).mark is Mark.OPEN
    assert route(Kernel(routed={6: "eth0"}), HERE, Around()).mark is Mark.NOTE


@pytest.mark.parametrize(
    ("address", "around", "mark"),
    [
        ("fd10::2", Around(deaf=("eth0",), has_default_v6=False), Mark.BROKEN),
        ("fd10::2", Around(deaf=("eth0",), has_default_v6=True), Mark.NOTE),
        ("fd10::2", Around(deaf=(), has_default_v6=False), Mark.NOTE),
        ("10.88.0.2", Around(deaf=("eth0",), has_default_v6=False), Mark.NOTE),
    ],
)
def test_a_default_route_that_forwarding_cost(address: str, around: Around, mark: Mark) -> None:
    """A host that had one by a router's advertisements, and takes no more of them, has lost it."""
    hop = route(Kernel(), ip_address(address), around)
    assert hop.mark is mark
    assert ("sysctl -w net.ipv6.conf.eth0.accept_ra=2" in hop.advice) == (mark is Mark.BROKEN)


@pytest.mark.parametrize(
    ("state", "what", "advice"),
    [
        (ContainerState.PAUSED, "pod shop is paused", "podman unpause 1234-infra"),
        (ContainerState.ENDED, "pod shop is not running", "podman start 1234-infra"),
        (ContainerState.JUST_ENDED, "pod shop has just ended", ""),
        (ContainerState.UP, "", ""),
    ],
)
def test_who_does_not_run_answers_nobody(state: ContainerState, what: str, advice: str) -> None:
    """That closes its ways, and breaks none."""
    known = replace(INFRA, state=state)

    assert list(state_of(known)) == ([Hop("container", what, Mark.CLOSED, advice)] if what else [])
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
            "of 90-92/tcp nothing in it listens on 91, 92",
            Mark.NOTE,
            "",
        ),
        (
            RANGE,
            {89, 93},
            "nothing in it listens on 90-92/tcp for others",
            Mark.NOTE,
            "podman logs 0123456789ab",
        ),
        (
            replace(SINGLE, protocol="sctp"),
            {90},
            "who listens on 90/sctp could not be seen",
            Mark.NOTE,
            "",
        ),
    ],
)
def test_who_listens(
    mapping: PortMapping, listens: set[int], what: str, mark: Mark, advice: str
) -> None:
    """A port that nobody listens on answers nobody; of a range that is so if it is true of all."""
    kernel = Kernel(listens={WEB: frozenset((port, mapping.protocol) for port in listens)})

    (found,) = process(kernel, ENDPOINT.container_id, None, mapping)
    assert found == Hop("container", what, mark, advice)
    if advice:
        (named,) = process(kernel, ENDPOINT.container_id, INFRA, mapping)
        assert named.advice == "podman logs 1234-infra"


def test_who_keeps_ports_and_listens_only_root_sees() -> None:
    """Where nobody looked, as the daemon cannot, nothing is told of it."""
    assert list(host_port(Kernel(), ONE)) == []
    assert list(process(Kernel(), ENDPOINT.container_id, None, ONE)) == []


def test_a_container_without_a_way_out_is_told_by_a_note() -> None:
    """To who can look into it; what has no IPv4 has no such route to lack."""
    known = Container("a" * 64, "web")
    kernel = Kernel(routeless=frozenset({known.id}))
    (hop,) = inside(kernel, known, ip_address("10.89.0.2"))
    assert (hop.mark, hop.advice) == (Mark.NOTE, "podman network reload web")
    assert hop.what.startswith("web has no default route for IPv4")
    assert list(inside(kernel, known, ip_address("fd89::2"))) == []
    assert list(inside(Kernel(), known, ip_address("10.89.0.2"))) == []
    assert list(inside(kernel, None, ip_address("10.89.0.2"))) == []
