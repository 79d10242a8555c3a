# SPDX-License-Identifier: Apache-2.0
"""The ways of packets where the rules are iptables': recorded hosts with netavark 1.4 and CNI."""

import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from podwatch.commands.explain import state_of
from podwatch.decide.explain import explain
from podwatch.drivers import cni, iptables
from podwatch.drivers.iptables_save import parse_save
from podwatch.drivers.sysctls import FORWARDING
from podwatch.formats.cni_results import parse_result, setup_of
from podwatch.formats.podman_json import parse_ps
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.network import FirewallDriver, PortMapping, Setup
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from podwatch.words.verdict import State
from podwatch.words.way import BaseChain, Kernel, Mark, Way, WayKind
from tests.unit.decide.wired import wired

DATA = Path(__file__).parents[2] / "data"
NETAVARK = DATA / "bookworm-netavark-standard"
CNI = DATA / "bookworm-cni-standard"
BOTH = pytest.mark.parametrize("data", [NETAVARK, CNI], ids=["netavark", "cni"])
LISTENS = frozenset((port, each) for port in range(1, 10000) for each in ("tcp", "udp"))


def look(data: Path) -> Snapshot:
    """What one look at a recorded host finds."""

    def text(name: str) -> str:
        return (data / name).read_text(encoding="utf-8")

    if data is CNI:
        files = [path.read_text(encoding="utf-8") for path in sorted((data / "cni").iterdir())]
        setup = setup_of(tuple(each for file in files if (each := parse_result(file))))
    else:
        setup, _ = parse_setup(text("networks.json") + text("ps.json") + text("inspect.json"))
    rules = parse_save(
        {"ip": text("iptables.save"), "ip6": text("ip6tables.save")},
        prefixes=cni.PREFIXES if data is CNI else iptables.PREFIXES,
    )
    sources = dict.fromkeys(text("trusted-sources").split(), "trusted")
    firewalld = Firewalld(running=True, sources=sources)
    return wired(Snapshot(setup, rules, firewalld, parse_ps(text("ps.json"))))


def kernel_of(snapshot: Snapshot, *others: BaseChain) -> Kernel:
    """A kernel that lets everything pass that such a host has, but for the chains of others."""
    setup = snapshot.setup or Setup(FirewallDriver.UNKNOWN)
    return Kernel(
        forwarding=dict.fromkeys(FORWARDING.values(), True),
        routed={4: "eth0", 6: "eth0"},
        held=dict.fromkeys(LISTENS, "conmon (pid 7)"),
        listens={each.container_id: LISTENS for each in setup.endpoints},
        others=others,
    )


def without(snapshot: Snapshot, pattern: str) -> Snapshot:
    """The same look, after the rules were deleted that a pattern finds by chain and text."""
    rules = snapshot.rules or Ruleset(present=False)
    chains = {
        name: Chain(
            each.hook, tuple(r for r in each.rules if not re.search(pattern, f"{name} {r}"))
        )
        for name, each in rules.chains.items()
    }
    assert chains != rules.chains
    return replace(snapshot, rules=replace(rules, chains=chains))


def broken(ways: list[Way], container: str) -> set[tuple[str, str]]:
    """(kind of way, first broken hop) of the broken ways of a container."""
    return {
        (each.kind, hop.place)
        for each in ways
        if (hop := each.first_broken) and each.container == container
    }


@BOTH
def test_a_recorded_host_is_open(data: Path) -> None:
    """Each way is open, and tells the rule that takes the packet on."""
    snapshot = look(data)
    ways = explain(snapshot, kernel_of(snapshot))

    assert {each.mark for each in ways} == {Mark.OPEN}
    assert state_of(ways) is State.OK
    told = {
        (hop.place, hop.what) for each in ways for hop in each.hops if each.container == "web-a"
    }
    assert any(place == "port forward" and "10.88.0.2:80: -p tcp" in what for place, what in told)
    assert any(place == "masquerade" and "! -d 224.0.0.0/4" in what for place, what in told)
    assert {each.title for each in ways if each.kind is WayKind.ISOLATION} == {
        "isolation of isolated"
    }


IN, OUT = (WayKind.IN, "port forward"), (WayKind.OUT, "masquerade")


@pytest.mark.parametrize(
    ("data", "deleted", "web_a", "dual_web"),
    [
        (NETAVARK, r"--dport 8081 .*-j DNAT", {IN}, set()),
        (NETAVARK, r"HOSTPORT-DNAT .*--dport 8081", {IN}, set()),
        (NETAVARK, r"--dport 9000:9002 -j DNAT", set(), {IN}),
        (NETAVARK, r"^ip nat PREROUTING", {IN}, {IN}),
        (NETAVARK, r"^ip6 nat PREROUTING", set(), {IN}),
        (NETAVARK, r"^ip nat POSTROUTING -s 10\.88", {OUT}, set()),
        (NETAVARK, r"^ip6 nat NETAVARK-52A648766DA40 .*MASQUERADE", set(), {OUT}),
        (NETAVARK, r"SETMARK|HOSTPORT-MASQ|filter NETAVARK_FORWARD", set(), set()),
        (CNI, r"--dport 8081 -j DNAT", {IN}, set()),
        (CNI, r"--dports 8081 ", {IN}, set()),
        (CNI, r"--dport 9001 -j DNAT", set(), {IN}),
        (CNI, r"--dports 8083,9000,9001,9002,8084", set(), {IN}),
        (CNI, r"^ip nat PREROUTING", {IN}, {IN}),
        (CNI, r"^ip nat POSTROUTING -s 10\.88\.0\.2/32", {OUT}, set()),
        (CNI, r"^ip nat POSTROUTING -s 10\.88\.0\.3/32", set(), set()),
        (CNI, r"^ip6 nat .* -j MASQUERADE", set(), {OUT}),
        (CNI, r"SETMARK|HOSTPORT-MASQ ", set(), set()),
    ],
)
def test_a_deleted_rule_breaks_the_ways_that_need_it(
    data: Path, deleted: str, web_a: set[tuple[str, str]], dual_web: set[tuple[str, str]]
) -> None:
    """Only the ways a rule is on are broken by its loss, at its hop, and those of no neighbour."""
    snapshot = look(data)
    ways = explain(without(snapshot, deleted), kernel_of(snapshot))

    assert broken(ways, "web-a") == web_a
    assert broken(ways, "dual-web") == dual_web


@BOTH
def test_of_a_range_or_a_list_only_the_lost_ports_are_broken(data: Path) -> None:
    """netavark forwards a range as a whole, CNI each port by itself."""
    snapshot = look(data)
    ways = explain(without(snapshot, r"--dport 9000(:9002)? -j DNAT"), kernel_of(snapshot))

    lost = {each.title.partition(" ")[0] for each in ways if each.mark is Mark.BROKEN}
    assert lost == {"9000/tcp" if data is CNI else "9000-9002/tcp"}


@BOTH
def test_isolation_is_told(data: Path) -> None:
    """It is gone with its own rules, and with the jump to them."""
    snapshot = look(data)
    for deleted in (r"^ip filter FORWARD .*(ISOLATION_1|STAGE-1)", r"-o \S*podman2 .*-j DROP"):
        ways = explain(without(snapshot, deleted), kernel_of(snapshot))
        assert {each.kind for each in ways if each.mark is Mark.BROKEN} == {WayKind.ISOLATION}


@BOTH
def test_a_zone_without_the_source_rejects_what_is_sent(data: Path) -> None:
    """netavark trusts the subnet, CNI the container's own address."""
    snapshot = look(data)
    firewalld = snapshot.firewalld or ABSENT_FIREWALLD
    left = {each: zone for each, zone in firewalld.sources.items() if not each.startswith("10.88")}
    assert left != firewalld.sources
    ways = explain(
        replace(snapshot, firewalld=replace(firewalld, sources=left)), kernel_of(snapshot)
    )

    assert broken(ways, "web-a") == {(WayKind.OUT, "firewalld zone")}
    assert broken(ways, "dual-web") == set()


DROPS = ("ip filter", "FORWARD", "forward", "drop")
ACCEPTS = (
    "ip daddr 10.88.0.0/16 ct state related,established counter packets 0 bytes 0 accept",
    "ip saddr 10.88.0.0/16 counter packets 0 bytes 0 accept",
)


def test_a_policy_that_drops_stops_new_connections_to_ports() -> None:
    """netavark's own rules accept what containers send and its replies, and nothing else."""
    snapshot = look(NETAVARK)
    chain = BaseChain(*DROPS, around=ACCEPTS)
    ways = explain(snapshot, kernel_of(snapshot, chain))

    assert broken(ways, "web-a") == {(WayKind.IN, "other firewalls")}
    assert not [each for each in ways if "fd10" in each.title and each.mark is Mark.BROKEN]
    (advice,) = {
        hop.advice for each in ways if each.container == "web-a" if (hop := each.first_broken)
    }
    assert advice.startswith("iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT")
    gone = explain(without(snapshot, "NETAVARK_FORWARD"), kernel_of(snapshot, chain))
    assert broken(gone, "web-a") == {(WayKind.IN, "forward"), (WayKind.OUT, "forward")}


def test_cni_without_firewalld_has_forward_rules() -> None:
    """They are told where they are, and that one is missing is no harm where nobody drops."""
    snapshot = replace(look(CNI), firewalld=ABSENT_FIREWALLD)
    rules = snapshot.rules or Ruleset(present=False)
    accept = "-s 10.88.0.2/32 -j ACCEPT"
    chains = {**rules.chains, "ip filter CNI-FORWARD": Chain("", (accept,))}
    ways = explain(replace(snapshot, rules=replace(rules, chains=chains)), kernel_of(snapshot))

    assert {each.mark for each in ways} == {Mark.OPEN}
    (told,) = {hop for each in ways for hop in each.hops if hop.place == "forward"}
    assert told.mark is Mark.NOTE
    assert "CNI-FORWARD" in told.what


def test_a_jump_is_on_the_ways_of_both_of_the_hosts_addresses() -> None:
    """netavark writes one jump for a port on two addresses of the host: its loss breaks both."""
    snapshot = look(NETAVARK)
    setup = snapshot.setup or Setup(FirewallDriver.UNKNOWN)
    hosts = (ip_address("192.0.2.1"), ip_address("192.0.2.9"))
    mappings = tuple(PortMapping(8081, 80, "tcp", host_ip=each) for each in hosts)
    endpoint = next(each for each in setup.endpoints if str(each.addresses[0][0]) == "10.88.0.2")
    one = replace(setup, endpoints=(replace(endpoint, port_mappings=mappings),))
    jump = r"HOSTPORT-DNAT .*--dport 8081"
    ways = explain(replace(without(snapshot, jump), setup=one), kernel_of(snapshot))

    missing = [hop.what for each in ways if (hop := each.first_broken)]
    assert len(missing) == 2
    assert all("missing in ip nat NETAVARK-HOSTPORT-DNAT" in each for each in missing)


@BOTH
def test_all_rules_gone(data: Path) -> None:
    """Without any rule of the driver every way is broken, and what is gone is named."""
    snapshot = look(data)
    ways = explain(replace(snapshot, rules=Ruleset(present=False)), kernel_of(snapshot))

    of_network = [each for each in ways if each.kind is WayKind.NEIGHBOURS]
    assert {each.mark for each in of_network} == {Mark.OPEN}, "they need no rules"
    assert {each.mark for each in ways if each not in of_network} == {Mark.BROKEN}
    assert all(
        "put into iptables is gone" in hop.what for each in ways if (hop := each.first_broken)
    )


def test_rules_of_an_unknown_driver_are_unknown() -> None:
    """Where podwatch does not know what has to be there, it does not call it open.

    Where netavark was told to set up no rules, none is missed.
    """
    snapshot = look(NETAVARK)
    for driver, state in ((FirewallDriver.UNKNOWN, State.UNKNOWN), (FirewallDriver.NONE, State.OK)):
        setup = replace(snapshot.setup or Setup(driver), driver=driver)
        ways = explain(replace(snapshot, setup=setup), kernel_of(snapshot))
        assert state_of(ways) is state
