# SPDX-License-Identifier: Apache-2.0
"""The ways of packets: each broken hop is named, first things first, and notes stop nothing."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from podwatch.commands.explain import as_text, state_of
from podwatch.decide.asked import chosen
from podwatch.decide.explain import explain
from podwatch.words.links import Link, Links
from podwatch.words.network import Address, Container, ContainerState, PortMapping
from podwatch.words.rules import RuleKind
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from podwatch.words.verdict import State
from podwatch.words.way import BaseChain, Hop, Kernel, Mark, Policy, Way, WayKind, Wire
from tests.unit.decide.open_host import (
    ENDPOINT,
    FORWARDS,
    HEALTHY,
    KERNEL,
    LISTENS,
    NET,
    NETWORK,
    SETUP,
    SUBNET,
    SUBNET_V6,
    TRUSTED,
    VETH,
    WEB,
    installed,
    ruleset,
)


def site(*rules: str, around: tuple[str, ...] = (), policy: str = "drop") -> Kernel:
    """A host with a forward chain of somebody else's."""
    chain = BaseChain("inet site", "passing", "forward", policy, rules, (*rules, *around))
    return replace(KERNEL, others=(chain,))


def broken(ways: list[Way], kind: WayKind, mark: Mark = Mark.BROKEN) -> set[str]:
    """The first broken hop of each broken way of a kind."""
    return {hop.place for way in ways if way.kind is kind and (hop := way.first(mark))}


def test_a_healthy_host_is_open_everywhere() -> None:
    """Each mapping and address has a way in, each address a way out, each network its isolation."""
    ways = explain(HEALTHY, KERNEL)

    assert {way.mark for way in ways} == {Mark.OPEN}
    assert [way.kind for way in ways].count(WayKind.IN) == 4
    assert [way.kind for way in ways].count(WayKind.OUT) == 2
    assert [way.kind for way in ways].count(WayKind.ISOLATION) == 1
    assert state_of(ways) is State.OK


def wired(end: Link) -> Kernel:
    """A host whose container has this link."""
    addresses = (address for address, _ in ENDPOINT.addresses)
    return replace(KERNEL, wires=dict.fromkeys(addresses, (Wire(end),)))


@pytest.mark.parametrize(
    ("hop", "snapshot", "kernel", "ways_in", "ways_out"),
    [
        (
            "forwarding",
            HEALTHY,
            replace(KERNEL, forwarding=dict.fromkeys(FORWARDS, False)),
            True,
            True,
        ),
        ("firewalld", replace(HEALTHY, firewalld=replace(TRUSTED, panic=True)), KERNEL, True, True),
        (
            "firewalld",
            replace(HEALTHY, firewalld=replace(TRUSTED, strict_forward_ports=True)),
            KERNEL,
            True,
            False,
        ),
        (
            "firewalld",
            replace(HEALTHY, firewalld=replace(TRUSTED, reloading=True)),
            KERNEL,
            True,
            True,
        ),
        (
            "firewalld zone",
            replace(HEALTHY, firewalld=replace(TRUSTED, sources={})),
            KERNEL,
            False,
            True,
        ),
        ("port forward", replace(HEALTHY, rules=ruleset(RuleKind.PORT_DNAT)), KERNEL, True, False),
        ("port forward", replace(HEALTHY, rules=ruleset(RuleKind.PORT_JUMP)), KERNEL, True, False),
        ("port forward", replace(HEALTHY, rules=ruleset(None, "PREROUTING")), KERNEL, True, False),
        ("masquerade", replace(HEALTHY, rules=ruleset(RuleKind.MASQUERADE)), KERNEL, False, True),
        ("masquerade", replace(HEALTHY, rules=ruleset(RuleKind.SUBNET_JUMP)), KERNEL, False, True),
        ("other firewalls", HEALTHY, site(), True, True),
        ("other firewalls", HEALTHY, site("drop", policy="accept"), True, True),
        ("bridge", replace(HEALTHY, links=Links()), KERNEL, True, True),
        (
            "link",
            HEALTHY,
            wired(replace(VETH, master="")),
            True,
            True,
        ),
        (
            "link",
            HEALTHY,
            wired(replace(VETH, is_up=False)),
            True,
            True,
        ),
    ],
)
def test_each_breakage_has_its_hop(
    hop: str,
    snapshot: Snapshot,
    kernel: Kernel,
    ways_in: bool,  # noqa: FBT001
    ways_out: bool,  # noqa: FBT001
) -> None:
    """What is broken is named, with something to do, on the ways that it breaks and on no other."""
    ways = explain(snapshot, kernel)

    assert broken(ways, WayKind.IN) == ({hop} if ways_in else set())
    assert broken(ways, WayKind.OUT) == ({hop} if ways_out else set())
    assert all(way.first_broken.advice for way in ways if way.first_broken)
    assert state_of(ways) is State.LOST


@pytest.mark.parametrize("state", ContainerState)
def test_who_does_not_run_is_told_in_his_way(state: ContainerState) -> None:
    """The ways of the paused, and of who does not run, are closed: that is nobody's loss."""
    web = Container(WEB, "web", state)
    ways = explain(replace(HEALTHY, containers={WEB: web}), KERNEL)
    mine = [way for way in ways if way.container]
    told = [hop for way in mine for hop in way.hops if hop.mark is Mark.CLOSED]
    is_closed = web.is_paused or not web.is_running
    assert {way.mark for way in mine} == {Mark.CLOSED if is_closed else Mark.OPEN}
    assert len(told) == is_closed * len(mine)
    what = {ContainerState.PAUSED: "is paused", ContainerState.JUST_ENDED: "has just ended"}
    assert all(hop.what == f"web {what.get(state, 'is not running')}" for hop in told)
    assert state_of(ways) is State.OK
    if state is ContainerState.GONE:
        assert not any("podman start" in hop.advice for hop in told), "it cannot be started"


def test_what_stops_nothing_is_a_note() -> None:
    """Rules that accept what nobody drops, a missing default route, a port nobody keeps."""
    rules = ruleset(RuleKind.FORWARD_OUT)
    kernel = replace(KERNEL, routed={}, held={})
    ways = explain(replace(HEALTHY, rules=rules), kernel)

    assert {way.mark for way in ways} == {Mark.OPEN}
    notes = {hop.place for way in ways for hop in way.hops if hop.mark is Mark.NOTE}
    assert notes == {"forward", "route", "host port"}


def test_a_firewall_that_names_the_bridge_lets_it_pass() -> None:
    """A chain that drops by default is no obstacle once it accepts the bridge, itself or below."""
    accept = ('iifname "podman0" accept', 'oifname "podman0" accept')
    for kernel in (site(*accept), site("jump user", around=accept)):
        assert state_of(explain(HEALTHY, kernel)) is State.OK


def test_without_firewalld_it_is_no_hop() -> None:
    """Where firewalld does not run nothing is told of it; where it cannot be asked, that is."""
    absent = explain(replace(HEALTHY, firewalld=ABSENT_FIREWALLD), KERNEL)
    assert not [hop for way in absent for hop in way.hops if "firewalld" in hop.place]
    assert state_of(explain(replace(HEALTHY, firewalld=None), KERNEL)) is State.UNKNOWN


@pytest.mark.parametrize(
    ("source", "interfaces", "default_zone", "mark", "advice"),
    [
        ("drop", {}, "public", Mark.BROKEN, "firewall-cmd --zone=trusted --change-source="),
        ("block", {"eth0": "public"}, "public", Mark.BROKEN, "--change-source="),
        ("drop", {"eth0": "drop"}, "public", Mark.NOTE, "--change-source="),
        ("custom", {}, "public", Mark.NOTE, "--change-source="),
        (None, {}, "public", Mark.BROKEN, "podwatch restore"),
        (None, {"eth0": "public"}, "public", Mark.NOTE, "podwatch restore"),
        (None, {"eth0": "public", "podman0": "home"}, "public", Mark.BROKEN, "podwatch restore"),
        (None, {}, "trusted", Mark.NOTE, "podwatch restore"),
        ("trusted", {}, "drop", Mark.OPEN, ""),
    ],
)
def test_a_zone_lets_out_into_itself(
    source: str | None, interfaces: dict[str, str], default_zone: str, mark: Mark, advice: str
) -> None:
    """A zone that accepts nothing is broken, unless the way out leaves by one of its interfaces."""
    sources = {} if source is None else {str(SUBNET): source, str(SUBNET_V6): source}
    firewalld = Firewalld(
        running=True, sources=sources, interfaces=interfaces, default_zone=default_zone
    )
    ways = explain(replace(HEALTHY, firewalld=firewalld), KERNEL)

    hops = [hop for way in ways for hop in way.hops if hop.place == "firewalld zone"]
    assert [hop.mark for hop in hops] == [mark, mark]
    assert all(advice in hop.advice for hop in hops)
    assert state_of(ways) is (State.LOST if mark is Mark.BROKEN else State.OK)


def test_what_could_not_be_read_is_unknown() -> None:
    """Rules, links and sysctls that could not be seen are neither open nor broken."""
    for snapshot, kernel in (
        (replace(HEALTHY, rules=None), KERNEL),
        (replace(HEALTHY, links=None), KERNEL),
        (HEALTHY, replace(KERNEL, forwarding={})),
    ):
        assert state_of(explain(snapshot, kernel)) is State.UNKNOWN


def test_isolation_that_is_gone_is_told() -> None:
    """A network that others can reach although it is isolated is broken; its ports are not."""
    ways = explain(replace(HEALTHY, rules=ruleset(RuleKind.ISOLATION)), KERNEL)

    assert broken(ways, WayKind.ISOLATION) == {"isolation"}
    assert broken(ways, WayKind.IN) == set()


def silent(*ports: int) -> Kernel:
    """A host whose container does not listen on these ports."""
    listens = LISTENS - {(port, "tcp") for port in ports}
    return replace(KERNEL, listens={WEB: listens})


def test_a_port_of_a_range_is_told_by_itself() -> None:
    """It has its own rule and its own listener; of the others nothing is told."""
    for port, mark in ((9000, Mark.OPEN), (9001, Mark.NOTE)):
        ways = explain(HEALTHY, silent(9001, 9002), (port, "tcp"))
        way, *_ = chosen(ways, str(port), {})
        assert (way.title, way.mark) == (f"{port}/tcp → web (10.88.0.2:{port})", Mark.OPEN)
        assert way.hops[-1].mark is mark
        (hop,) = [hop for hop in way.hops if hop.place == "port forward"]
        assert f": tcp dport {port} " in hop.what
        assert hop.what.endswith(f" dnat ip to 10.88.0.2:{port}")


def test_that_nobody_listens_is_the_containers_own_matter() -> None:
    """It is a note, with what to do where it is true of a whole range; the way there is open."""
    some, none = explain(HEALTHY, silent(9001)), explain(HEALTHY, silent(9000, 9001, 9002))

    (hop,) = {way.hops[-1] for way in some if way.count == 3}
    assert (hop.mark, hop.what) == (Mark.NOTE, "of 9000-9002/tcp nothing in it listens on 9001")
    assert broken(some, WayKind.IN) == set()
    (hop,) = {way.hops[-1] for way in none if way.count == 3}
    assert (hop.mark, hop.what, hop.advice) == (
        Mark.NOTE,
        "nothing in it listens on 9000-9002/tcp for others",
        "podman logs web",
    )
    assert broken(none, WayKind.IN) == set()
    told = as_text(none, every_hop=False, colour=False)
    assert "✓ 9000-9002/tcp → web (10.88.0.2:9000): open" in told
    assert "→ podman logs web" in told


def published(host_ip: Address) -> Snapshot:
    """A look at a host whose container has one port, on this address of the host."""
    mappings = (PortMapping(7002, 80, "tcp", host_ip=host_ip),)
    setup = replace(SETUP, endpoints=(replace(ENDPOINT, port_mappings=mappings),))
    return replace(HEALTHY, setup=setup, rules=installed(setup))


def test_ipv6s_localhost_leads_nowhere() -> None:
    """A port on ::1 is closed although all its rules are there; one on 127.0.0.1 is open."""
    kernel = replace(KERNEL, held={(7002, "tcp"): "conmon (pid 7)"})
    closed = explain(published(IPv6Address("::1")), kernel)
    assert broken(closed, WayKind.IN, Mark.CLOSED) == {"host address"}
    assert state_of(closed) is State.OK, "it never was open"
    ways = explain(published(IPv4Address("127.0.0.1")), kernel)
    assert {way.mark for way in ways} == {Mark.OPEN}


def test_a_port_of_an_ip_version_its_container_lacks_is_closed() -> None:
    """A mapping that no address of the container serves is told, and can be asked for."""
    snapshot = published(IPv6Address("2001:db8::1"))
    lonely = replace(ENDPOINT, addresses=ENDPOINT.addresses[:1])
    mappings = snapshot.setup.endpoints[0].port_mappings if snapshot.setup else ()
    setup = replace(SETUP, endpoints=(replace(lonely, port_mappings=mappings),))
    (way,) = chosen(explain(replace(snapshot, setup=setup), KERNEL), "7002", {})

    assert way.title == "[2001:db8::1]:7002/tcp → web"
    assert way.mark is Mark.CLOSED
    assert way.hops[0].what.startswith("web has no IPv6 address: ")


def test_a_port_on_an_internal_network_is_closed() -> None:
    """CNI forwards it all the same, and the container has no way back."""
    inner = replace(SETUP, networks={NET: replace(NETWORK, internal=True)})
    ways = explain(replace(HEALTHY, setup=inner), KERNEL)

    assert broken(ways, WayKind.IN, Mark.CLOSED) == {"network"}
    lines = as_text(ways, every_hop=False, colour=False).splitlines()
    assert "– web out by podman: closed" in lines


def test_an_internal_network_has_no_way_out_by_design() -> None:
    """What is meant to be closed is closed, and not broken."""
    inner = replace(ENDPOINT, internal=True, port_mappings=())
    (way, *_) = explain(replace(HEALTHY, setup=replace(SETUP, endpoints=(inner,))), KERNEL)

    assert (way.mark, way.hops[0].mark) == (Mark.CLOSED, Mark.CLOSED)


def test_a_port_may_be_kept_without_listening() -> None:
    """Podman 6 binds a published port and does not listen: nobody else can take it."""
    kernel = replace(KERNEL, bound=frozenset({(8080, "tcp")}))
    free = replace(KERNEL, held={})

    def host_port(kernel: Kernel) -> Hop:
        return chosen(explain(HEALTHY, kernel), "8080", {})[0].hops[0]

    assert host_port(kernel).what == "8080/tcp is kept by a bound socket of conmon (pid 7)"
    assert host_port(KERNEL).what == "8080/tcp is kept by a listening socket of conmon (pid 7)"
    assert host_port(free).mark is Mark.NOTE
    assert host_port(free).what.endswith("kept by no socket: another program can take it")


def test_a_policy_closes_the_way_out() -> None:
    """One from the container's zone to the uplink's; no other, and it closes no way in."""
    snapshot = replace(HEALTHY, firewalld=replace(TRUSTED, default_zone="public"))
    for zones, places in {
        ("trusted", "public"): {"firewalld policy"},
        ("public", "trusted"): set(),
        ("trusted", "HOST"): set(),
    }.items():
        policy = Policy("site", zones[:1], zones[1:], "REJECT")
        ways = explain(snapshot, replace(KERNEL, policies=(policy,)))
        assert broken(ways, WayKind.IN) == set()
        assert broken(ways, WayKind.OUT) == places
