# SPDX-License-Identifier: Apache-2.0
"""The ways of packets: each broken hop is named, first things first, and notes stop nothing."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from podwatch.commands.drawing import draw
from podwatch.commands.explain import as_json, as_text, chosen, state_of
from podwatch.decide.explain import explain
from podwatch.drivers import nftables
from podwatch.words.errors import PodwatchError
from podwatch.words.network import (
    Address,
    Container,
    ContainerClass,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from podwatch.words.verdict import State
from podwatch.words.way import BaseChain, Hop, Inside, Kernel, Link, Mark, Policy, Way, WayKind
from tests.unit.drivers.installed import chains_of

WEB, NET = "a" * 64, "b" * 64
SUBNET = IPv4Network("10.88.0.0/16")
SUBNET_V6 = IPv6Network("fd10::/64")
NETWORK = Network(NET, "podman0", (SUBNET, SUBNET_V6), Isolation.NORMAL)
ENDPOINT = Endpoint(
    WEB,
    NET,
    "podman",
    ((IPv4Address("10.88.0.2"), SUBNET), (IPv6Address("fd10::2"), SUBNET_V6)),
    (PortMapping(8080, 80, "tcp"), PortMapping(9000, 9000, "tcp", count=3)),
)
SETUP = Setup(FirewallDriver.NFTABLES, {NET: NETWORK}, (ENDPOINT,))
EXPECTED = nftables.expected_rules(SETUP, Ruleset(present=True))


def installed(setup: Setup) -> Ruleset:
    """Every rule that a setup needs."""
    rules = nftables.expected_rules(setup, Ruleset(present=True))
    return Ruleset(present=True, chains=chains_of(rules))


def ruleset(without: RuleKind | None = None, chain: str = "") -> Ruleset:
    """Every expected rule, but those of one kind, or of one chain."""
    chains = {rule.chain: Chain("", ()) for rule in EXPECTED}
    kept = (
        rule
        for rule in EXPECTED
        if rule.kind is RuleKind.HOOK or (rule.kind is not without and rule.chain != chain)
    )
    return Ruleset(present=True, chains=chains | chains_of(kept))


TRUSTED = Firewalld(running=True, sources={str(SUBNET): "trusted", str(SUBNET_V6): "trusted"})
HEALTHY = Snapshot(SETUP, ruleset(), TRUSTED, {WEB: Container(WEB, "web")})
LISTENS = frozenset((port, "tcp") for port in (80, 9000, 9001, 9002))
KERNEL = Kernel(
    forwarding={4: True, 6: True},
    links={"podman0": Link("podman0", is_up=True), "veth0": Link("veth0", True, "podman0")},  # noqa: FBT003
    routed={4: "eth0", 6: "eth0"},
    held={(8080, "tcp"): "conmon (pid 7)", **{(9000 + n, "tcp"): "" for n in range(3)}},
    inside={WEB: Inside(LISTENS, ("veth0",))},
)


def site(*rules: str, around: tuple[str, ...] = (), policy: str = "drop") -> Kernel:
    """A host with a forward chain of somebody else's."""
    chain = BaseChain("inet site", "passing", "forward", policy, rules, (*rules, *around))
    return replace(KERNEL, others=(chain,))


def broken(ways: list[Way], kind: WayKind) -> set[str]:
    """The first broken hop of each broken way of a kind."""
    return {hop.place for each in ways if each.kind is kind and (hop := each.first_broken)}


def test_a_healthy_host_is_open_everywhere() -> None:
    """Each mapping and address has a way in, each address a way out, each network its isolation."""
    ways = explain(HEALTHY, KERNEL)

    assert {each.mark for each in ways} == {Mark.OPEN}
    assert [each.kind for each in ways].count(WayKind.IN) == 4
    assert [each.kind for each in ways].count(WayKind.OUT) == 2
    assert [each.kind for each in ways].count(WayKind.ISOLATION) == 1
    assert state_of(ways) is State.OK


WIRE = KERNEL.links
PAUSED = {WEB: Container(WEB, "web", ContainerState.PAUSED)}
STOPPED = {WEB: Container(WEB, "web", ContainerState.ENDED)}


@pytest.mark.parametrize(
    ("hop", "snapshot", "kernel", "ways_in", "ways_out"),
    [
        ("forwarding", HEALTHY, replace(KERNEL, forwarding={4: False, 6: False}), True, True),
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
        ("bridge", HEALTHY, replace(KERNEL, links={}), True, True),
        (
            "bridge",
            HEALTHY,
            replace(KERNEL, links={**WIRE, "podman0": Link("podman0", is_up=False)}),
            True,
            True,
        ),
        (
            "link",
            HEALTHY,
            replace(KERNEL, links={**WIRE, "veth0": Link("veth0", is_up=True)}),
            True,
            True,
        ),
        (
            "link",
            HEALTHY,
            replace(KERNEL, links={**WIRE, "veth0": Link("veth0", is_up=False, master="podman0")}),
            True,
            True,
        ),
        ("container", replace(HEALTHY, containers=PAUSED), KERNEL, True, True),
        ("container", replace(HEALTHY, containers=STOPPED), KERNEL, True, True),
        (
            "container",
            HEALTHY,
            replace(KERNEL, inside={WEB: Inside(frozenset({(90, "tcp")}), ("veth0",))}),
            True,
            False,
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
    assert all(each.first_broken.advice for each in ways if each.first_broken)
    assert state_of(ways) is State.LOST


@pytest.mark.parametrize("state", ContainerState)
def test_who_does_not_run_is_told_in_his_way(state: ContainerState) -> None:
    """The hop says so of the paused and the dead; of one that has just ended nobody knows yet."""
    web = Container(WEB, "web", state)
    ways = explain(replace(HEALTHY, containers={WEB: web}), KERNEL)
    told = [hop for way in ways for hop in way.hops if hop.what.startswith("web is ")]
    assert bool(told) is (web.is_paused or web.is_dead)
    what = "paused" if web.is_paused else "not running"
    assert all(hop.what == f"web is {what}" for hop in told)


def test_what_stops_nothing_is_a_note() -> None:
    """Rules that accept what nobody drops, a missing default route, a port nobody keeps."""
    rules = ruleset(RuleKind.FORWARD_OUT)
    kernel = replace(KERNEL, routed={}, held={})
    ways = explain(replace(HEALTHY, rules=rules), kernel)

    assert {each.mark for each in ways} == {Mark.OPEN}
    notes = {hop.place for each in ways for hop in each.hops if hop.mark is Mark.NOTE}
    assert notes == {"forward", "route", "host port"}


def test_a_firewall_that_names_the_bridge_lets_it_pass() -> None:
    """A chain that drops by default is no obstacle once it accepts the bridge, itself or below."""
    accept = 'iifname "podman0" accept'
    for kernel in (site(accept), site("jump user", around=(accept,))):
        assert state_of(explain(HEALTHY, kernel)) is State.OK


def test_without_firewalld_it_is_no_hop() -> None:
    """Where firewalld does not run nothing is told of it; where it cannot be asked, that is."""
    absent = explain(replace(HEALTHY, firewalld=ABSENT_FIREWALLD), KERNEL)
    assert not [hop for each in absent for hop in each.hops if "firewalld" in hop.place]
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

    hops = [hop for each in ways for hop in each.hops if hop.place == "firewalld zone"]
    assert [each.mark for each in hops] == [mark, mark]
    assert all(advice in each.advice for each in hops)
    assert state_of(ways) is (State.LOST if mark is Mark.BROKEN else State.OK)


def test_what_could_not_be_read_is_unknown() -> None:
    """Rules, chains, sysctls and processes that could not be seen are neither open nor broken."""
    for snapshot, kernel in (
        (replace(HEALTHY, rules=None), KERNEL),
        (HEALTHY, replace(KERNEL, others=None)),
        (HEALTHY, replace(KERNEL, forwarding={})),
        (HEALTHY, replace(KERNEL, inside={})),
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
    return replace(KERNEL, inside={WEB: Inside(listens, ("veth0",))})


def test_a_port_of_a_range_is_told_by_itself() -> None:
    """It has its own rule and its own listener; of the others nothing is told."""
    for port, mark in ((9000, Mark.OPEN), (9001, Mark.BROKEN)):
        ways = explain(HEALTHY, silent(9001, 9002), (port, "tcp"))
        way, *_ = chosen(ways, str(port), {})
        assert (way.title, way.mark) == (f"{port}/tcp → web (10.88.0.2:{port})", mark)
        (hop,) = [each for each in way.hops if each.place == "port forward"]
        assert f": tcp dport {port} " in hop.what
        assert hop.what.endswith(f" dnat ip to 10.88.0.2:{port}")


def test_a_range_is_broken_when_nobody_listens_on_any_of_it() -> None:
    """Ports of it without a listener are a note while there is one."""
    some, none = explain(HEALTHY, silent(9001)), explain(HEALTHY, silent(9000, 9001, 9002))

    (hop,) = {way.hops[-1] for way in some if way.count == 3}
    assert (hop.mark, hop.what) == (Mark.NOTE, "of 9000-9002/tcp nothing in it listens on 9001")
    assert broken(some, WayKind.IN) == set()
    (hop,) = {way.hops[-1] for way in none if way.count == 3}
    assert (hop.mark, hop.what) == (
        Mark.BROKEN,
        "nothing in it listens on 9000-9002/tcp for others",
    )


def published(host_ip: Address) -> Snapshot:
    """A look at a host whose container has one port, on this address of the host."""
    mappings = (PortMapping(7002, 80, "tcp", host_ip=host_ip),)
    setup = replace(SETUP, endpoints=(replace(ENDPOINT, port_mappings=mappings),))
    return replace(HEALTHY, setup=setup, rules=installed(setup))


def test_ipv6s_localhost_leads_nowhere() -> None:
    """A port on ::1 is broken although all its rules are there; one on 127.0.0.1 is open."""
    kernel = replace(KERNEL, held={(7002, "tcp"): "conmon (pid 7)"})
    assert broken(explain(published(IPv6Address("::1")), kernel), WayKind.IN) == {"host address"}
    assert broken(explain(published(IPv4Address("127.0.0.1")), kernel), WayKind.IN) == set()


def test_a_port_of_an_ip_version_its_container_lacks_is_broken() -> None:
    """A mapping that no address of the container serves is told, and can be asked for."""
    snapshot = published(IPv6Address("2001:db8::1"))
    lonely = replace(ENDPOINT, addresses=ENDPOINT.addresses[:1])
    mappings = snapshot.setup.endpoints[0].port_mappings if snapshot.setup else ()
    setup = replace(SETUP, endpoints=(replace(lonely, port_mappings=mappings),))
    (way,) = chosen(explain(replace(snapshot, setup=setup), KERNEL), "7002", {})

    assert way.title == "[2001:db8::1]:7002/tcp → web"
    assert way.first_broken is not None
    assert way.first_broken.what.startswith("web has no IPv6 address: ")


def test_a_port_on_an_internal_network_is_broken() -> None:
    """CNI forwards it all the same, and the container has no way back."""
    inner = replace(SETUP, networks={NET: replace(NETWORK, internal=True)})
    ways = explain(replace(HEALTHY, setup=inner), KERNEL)

    assert broken(ways, WayKind.IN) == {"network"}
    lines = as_text(ways, every_hop=False, colour=False).splitlines()
    assert "– web out by podman: closed on purpose" in lines


def test_an_internal_network_has_no_way_out_by_design() -> None:
    """What is meant to be closed is a note, not broken."""
    inner = replace(ENDPOINT, internal=True, port_mappings=())
    (way, *_) = explain(replace(HEALTHY, setup=replace(SETUP, endpoints=(inner,))), KERNEL)

    assert (way.mark, way.hops[0].mark) == (Mark.OPEN, Mark.NOTE)


def test_a_target_is_a_container_or_a_port() -> None:
    """By name, by the beginning of the id, by port, with or without protocol, within a range."""
    ways = explain(HEALTHY, KERNEL)

    assert len(chosen(ways, "web", {})) == len(chosen(ways, WEB[:12], {})) == 6
    assert len(chosen(ways, "8080", {})) == len(chosen(ways, "9001/tcp", {})) == 2


@pytest.mark.parametrize(
    ("target", "what", "hint"),
    [
        ("8080/udp", "8080/udp: no container publishes it", "published: 8080/tcp, "),
        ("9003", "9003: no container publishes it", "published: 8080/tcp, "),
        ("nobody", "nobody: there is no such container", "with rules: web"),
        ("aa", "aa: there is no such container", "with rules: web"),
        ("lan-web", "lan-web has no rules to explain: macvlan lan", ""),
        ("host-web", "host-web has no rules to explain: the host's network", ""),
        ("e" * 12, "e+ has no rules to explain: on the network of web", "podwatch explain web"),
        ("old", "old is not running", "podman start old"),
        ("new", "new is not running", "podman start new"),
    ],
)
def test_a_target_without_ways_says_why(target: str, what: str, hint: str) -> None:
    """No such container or port, a class without rules, another's network, not running."""
    listed = [
        Container("c" * 64, "lan-web", networks=("lan",), kind=ContainerClass.MACVLAN),
        Container("d" * 64, "host-web", kind=ContainerClass.HOST),
        Container("e" * 64, "sidecar", kind=ContainerClass.SHARED, shares="web"),
        Container("f" * 64, "old", ContainerState.ENDED),
        Container("9" * 64, "new", ContainerState.CREATED, kind=ContainerClass.BRIDGE),
    ]
    with pytest.raises(PodwatchError, match=what) as caught:
        chosen(explain(HEALTHY, KERNEL), target, {each.id: each for each in listed})

    assert caught.value.hint.startswith(hint)


def test_a_member_of_a_pod_has_the_ways_of_its_infra_container() -> None:
    """By name or id it is explained as its pod, and told to share that network; no other is."""
    member, stranger = "c" * 64, "d" * 64
    containers = {
        WEB: Container(WEB, "1234-infra", pod="shop", is_infra=True),
        member: Container(member, "till", pod="shop"),
        stranger: Container(stranger, "alone"),
    }
    ways = explain(replace(HEALTHY, containers=containers), KERNEL)

    for target in ("till", member[:12]):
        mine = chosen(ways, target, {})
        assert [each.hops for each in mine] == [each.hops for each in chosen(ways, "shop", {})]
        assert all(each.title.endswith(", the network of till") for each in mine)
    assert not any("till" in each.title for each in chosen(ways, "shop", {}))
    with pytest.raises(PodwatchError, match="alone"):
        chosen(ways, "alone", {})
    assert '"members": {' in as_json(ways)
    assert chosen(ways, "1234-infra", containers) == chosen(ways, "shop", containers)


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


@pytest.mark.parametrize(
    ("ingress", "egress", "target", "is_closed"),
    [
        ("trusted", "ANY", "REJECT", True),
        ("ANY", "public", "DROP", True),
        ("trusted", "ANY", "CONTINUE", False),
        ("trusted", "HOST", "DROP", False),
        ("public", "ANY", "DROP", False),
        ("trusted", "dmz", "REJECT", False),
    ],
)
def test_a_policy_closes_the_way_out(
    ingress: str, egress: str, target: str, *, is_closed: bool
) -> None:
    """One between the container's zone and the uplink's that drops or rejects; no other."""
    policy = Policy("site", (ingress,), (egress,), target)
    snapshot = replace(HEALTHY, firewalld=replace(TRUSTED, default_zone="public"))
    ways = explain(snapshot, replace(KERNEL, policies=(policy,)))

    assert broken(ways, WayKind.IN) == set()
    assert broken(ways, WayKind.OUT) == ({"firewalld policy"} if is_closed else set())


def test_text_tells_a_broken_hop_and_what_to_do() -> None:
    """Without --all a line for each way, and below it only what is broken."""
    ways = explain(replace(HEALTHY, rules=ruleset(RuleKind.MASQUERADE)), KERNEL)
    lines = as_text(ways, every_hop=False, colour=False).splitlines()

    assert lines[0] == "✓ 8080/tcp → web (10.88.0.2:80): open"
    at = lines.index("✗ web (10.88.0.2) out by podman: BROKEN")
    assert "✗ masquerade" in lines[at + 1]
    assert lines[at + 2].strip() == "→ podwatch restore"
    assert as_text([], every_hop=False, colour=False) == "no container needs rules on this host"


def test_the_picture_shows_what_is_broken_and_escapes_names() -> None:
    """Broken ways are red and dashed, and no name can add anything to the drawing."""
    hostile = replace(HEALTHY, containers={WEB: Container(WEB, "<script>&\x1b")})
    picture = draw(explain(replace(hostile, rules=ruleset(RuleKind.MASQUERADE)), KERNEL))

    assert picture.count('class="broken"') == 2
    assert picture.count('class="open"') == 4
    assert "<script>" not in picture
    assert "\x1b" not in picture
    assert draw([]).startswith("<svg ")
