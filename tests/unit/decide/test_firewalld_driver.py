# SPDX-License-Identifier: Apache-2.0
"""The judge and explain where firewalld makes all the rules, as on a host with netavark 1.14.0."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.drivers.sysctls import FORWARDING
from podwatch.words.network import (
    Container,
    Endpoint,
    FirewallDriver,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Snapshot
from podwatch.words.verdict import MissingKind, State, Verdict
from podwatch.words.way import Hop, Kernel, Mark, Way, WayKind
from tests.unit.decide.wired import wired

WEB, DUAL = "aa" * 32, "bb" * 32
ONE = Network("1" * 64, "podman0", (ip_network("10.88.0.0/16"),))
TWO = Network("2" * 64, "podman1", (ip_network("10.89.10.0/24"), ip_network("fd10:89:10::/64")))
SETUP = Setup(
    FirewallDriver.FIREWALLD,
    {ONE.id: ONE, TWO.id: TWO},
    (
        Endpoint(
            WEB,
            ONE.id,
            "podman",
            ((ip_address("10.88.0.2"), ONE.subnets[0]),),
            (PortMapping(8081, 80, "tcp"),),
        ),
        Endpoint(
            DUAL,
            TWO.id,
            "dual",
            (
                (ip_address("10.89.10.2"), TWO.subnets[0]),
                (ip_address("fd10:89:10::2"), TWO.subnets[1]),
            ),
            (
                PortMapping(8083, 80, "tcp"),
                PortMapping(8084, 81, "tcp", host_ip=ip_address("192.0.2.1")),
            ),
            dns_port=1153,
            dns_servers=(ip_address("10.89.10.1"), ip_address("fd10:89:10::1")),
        ),
    ),
)
_RICH = (
    'rule family="ipv4" destination address="{}" forward-port port="{}" protocol="{}" '
    'to-port="{}" to-addr="{}"'
)
WEB_PORT = "forward-port port=8081:proto=tcp:toport=80:toaddr=10.88.0.2"
WEB_FROM_HOST = _RICH.format("127.0.0.1", 8081, "tcp", 80, "10.88.0.2")
OF_AN_ADDRESS = _RICH.format("192.0.2.1", 8084, "tcp", 81, "10.89.10.2")
DNS = _RICH.format("10.89.10.1", 53, "udp", 1153, "10.89.10.1")
IPV6_MASQUERADE = 'rule family="ipv6" masquerade'
POLICIES = {
    "netavark_policy": ("masquerade",),
    "netavark_zone_acc": ("masquerade",),
    "netavark_portfwd": (
        WEB_PORT,
        "forward-port port=8083:proto=tcp:toport=80:toaddr=fd10:89:10::2",
        "forward-port port=8083:proto=tcp:toport=80:toaddr=10.89.10.2",
        DNS,
        OF_AN_ADDRESS,
        'rule family="ipv6" destination address="fd10:89:10::1" forward-port port="53" '
        'protocol="udp" to-port="1153" to-addr="fd10:89:10::1"',
    ),
    "netavark_host_fwd": (
        WEB_FROM_HOST,
        _RICH.format("127.0.0.1", 8083, "tcp", 80, "10.89.10.2"),
    ),
}
WHOLE = Firewalld(
    running=True,
    sources={str(each): "netavark_zone" for net in (ONE, TWO) for each in net.subnets},
    interfaces={"eth0": "public"},
    default_zone="public",
    policies={name: Chain(name, texts) for name, texts in POLICIES.items()},
)
TO_ITSELF = "forward-port port=8084:proto=tcp:toport=81:toaddr=192.0.2.1"
OLD = {
    "netavark_policy": WHOLE.policies["netavark_policy"],
    "netavark_portfwd": Chain(
        "netavark_portfwd",
        tuple(
            TO_ITSELF if text == OF_AN_ADDRESS else text for text in POLICIES["netavark_portfwd"]
        ),
    ),
}
"""What netavark 1.13 makes of the same containers."""

CONTAINERS = {WEB: Container(WEB, "web"), DUAL: Container(DUAL, "dual")}


def without(policy: str, text: str = "") -> Firewalld:
    """firewalld after a text was removed from a policy, or the policy itself."""
    kept = tuple(each for each in POLICIES[policy] if each != text)
    assert not text or kept != POLICIES[policy]
    policies = {**WHOLE.policies, policy: Chain(policy, kept)}
    if not text:
        del policies[policy]
    return replace(WHOLE, policies=policies)


def judged(firewalld: Firewalld) -> Verdict:
    """The verdict with this firewalld."""
    return judge(Snapshot(SETUP, None, firewalld, CONTAINERS))


def ways(firewalld: Firewalld, setup: Setup = SETUP) -> list[Way]:
    """Every way with this firewalld, on a host that is well apart from it."""
    endpoints = {each.container_id: each for each in setup.endpoints}
    listens = frozenset((port, "tcp") for port in range(1, 10000))
    kernel = Kernel(
        forwarding=dict.fromkeys(FORWARDING.values(), True),
        routed={4: "eth0", 6: "eth0"},
        held=dict.fromkeys(listens, "conmon (pid 7)"),
        listens=dict.fromkeys(endpoints, listens),
    )
    return explain(wired(Snapshot(setup, None, firewalld, CONTAINERS)), kernel)


def broken(told: list[Way], mark: Mark = Mark.BROKEN) -> dict[str, Hop]:
    """The hop where each broken way stops, by the way's title."""
    return {each.title: hop for each in told if (hop := each.first(mark))}


def test_nothing_is_missing_where_all_is_there() -> None:
    """What such a host has is what is expected; strict forward ports hold nothing back here."""
    verdict = judged(replace(WHOLE, strict_forward_ports=True))
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())
    assert verdict.blocked == ()
    assert verdict.expected_rules == sum(1 + len(each) for each in POLICIES.values())


def test_older_netavark_has_two_policies() -> None:
    """Without the policies of 1.14 what the host sends to itself is not expected."""
    assert judged(replace(WHOLE, policies=OLD)).state is State.OK


@pytest.mark.parametrize(
    ("firewalld", "told", "ids"),
    [
        (
            without("netavark_portfwd", WEB_PORT),
            "web: 8081/tcp → 10.88.0.2:80 is not forwarded in firewalld's policy netavark_portfwd",
            (WEB,),
        ),
        (
            without("netavark_host_fwd", WEB_FROM_HOST),
            "web: 8081/tcp → 10.88.0.2:80 (127.0.0.1) is not forwarded in firewalld's policy "
            "netavark_host_fwd",
            (WEB,),
        ),
        (
            without("netavark_portfwd", OF_AN_ADDRESS),
            "dual: 192.0.2.1:8084/tcp → 10.89.10.2:81 is not forwarded in firewalld's policy "
            "netavark_portfwd",
            (DUAL,),
        ),
        (
            without("netavark_portfwd", DNS),
            "network dual: DNS to 10.89.10.1 is not redirected to aardvark-dns",
            (DUAL,),
        ),
        (without("netavark_zone_acc"), "firewalld's policy netavark_zone_acc is gone", (WEB,)),
    ],
)
def test_what_is_gone_is_named(firewalld: Firewalld, told: str, ids: tuple[str, ...]) -> None:
    """A forward, a redirect, a policy: whose it is, and whose reload sets it up again."""
    verdict = judged(firewalld)
    (missing,) = verdict.missing
    assert (verdict.state, missing.kind, missing.what) == (State.LOST, MissingKind.FORWARD, told)
    assert missing.container_ids == ids
    assert verdict.missing_rules == (missing,)
    assert verdict.warnings == ()


def test_an_internal_network_is_none_of_firewallds() -> None:
    """netavark after 2.1 keeps state of one that has DNS, and makes nothing in firewalld for it."""
    inside = Network("3" * 64, "podman2", (ip_network("10.89.30.0/24"),), internal=True)
    one = Endpoint(
        "cc" * 32,
        inside.id,
        "inside",
        ((ip_address("10.89.30.2"), inside.subnets[0]),),
        dns_port=1153,
        dns_servers=(ip_address("10.89.30.1"),),
        internal=True,
    )
    both = replace(
        SETUP, networks={**SETUP.networks, inside.id: inside}, endpoints=(*SETUP.endpoints, one)
    )
    alone = Setup(FirewallDriver.FIREWALLD, {inside.id: inside}, (one,))

    assert judge(Snapshot(both, None, WHOLE)).state is State.OK
    bare = replace(WHOLE, policies={}, sources={})
    verdict = judge(Snapshot(alone, None, bare))
    assert (verdict.state, verdict.missing, verdict.warnings) == (State.OK, (), ())


def test_an_unknown_driver_has_nothing_in_firewalld() -> None:
    """What it would have there is not known: no source is missing, and none is called strange."""
    setup = replace(SETUP, driver=FirewallDriver.UNKNOWN)
    bare = replace(WHOLE, sources={})
    for firewalld in (WHOLE, bare):
        verdict = judge(Snapshot(setup, None, firewalld, CONTAINERS))
        assert (verdict.missing, verdict.warnings) == ((), ())


def test_policies_that_were_there_are_missed() -> None:
    """Where both policies of netavark 1.14 are gone, it is not taken for an older one."""
    left = {name: WHOLE.policies[name] for name in OLD}
    verdict = judged(replace(WHOLE, policies=left, policies_before=frozenset(WHOLE.policies)))
    assert {each.chain for each in verdict.missing} == {"netavark_host_fwd", "netavark_zone_acc"}


def test_a_policy_that_masquerades_no_more_is_told() -> None:
    """netavark only sets it when it makes the policy: a warning with the command, no loss."""
    verdict = judged(without("netavark_policy", "masquerade"))
    assert (verdict.state, verdict.missing) == (State.LOST, ())
    (warning,) = verdict.warnings
    assert warning.advice == "firewall-cmd --policy=netavark_policy --add-masquerade"


@pytest.mark.parametrize(
    ("policies", "kind"), [(WHOLE.policies, MissingKind.SOURCE), ({}, MissingKind.FORWARD)]
)
def test_a_source_alone_is_given_back(policies: dict[str, Chain], kind: MissingKind) -> None:
    """Where netavark's policies are gone its zone may be, too: all is set up again."""
    verdict = judged(replace(WHOLE, sources={}, policies=policies))
    sources = [each for each in verdict.missing if each.detail in WHOLE.sources]
    assert len(sources) == len(WHOLE.sources)
    assert {each.kind for each in sources} == {kind}
    assert all("netavark_zone" in each.what and each.container_ids for each in sources)


def test_the_firewalld_driver_needs_firewalld() -> None:
    """With firewalld stopped nothing is repaired, since setting up again would fail; it is said."""
    verdict = judged(ABSENT_FIREWALLD)
    assert (verdict.state, verdict.missing) == (State.LOST, ())
    assert "firewalld does not run" in verdict.warnings[0].what


def test_every_way_is_told() -> None:
    """All is open but the way out of IPv6: netavark has firewalld masquerade none."""
    told = ways(WHOLE)

    assert {each.kind for each in told} == {WayKind.IN, WayKind.OUT}
    ((title, hop),) = broken(told, Mark.CLOSED).items()
    assert title == "dual (fd10:89:10::2) out by dual"
    assert hop.what == f"missing in netavark_policy: {IPV6_MASQUERADE}"
    assert hop.advice == (
        f"firewall-cmd --policy=netavark_policy --add-rich-rule='{IPV6_MASQUERADE}'"
    )
    assert all(each.mark is not Mark.UNKNOWN for each in told)
    web = next(each for each in told if each.title.startswith("8081/tcp"))
    assert [hop.what for hop in web.hops if hop.place == "port forward"] == [
        f"forwarded to 10.88.0.2:80: {WEB_PORT}",
        f"forwarded to 10.88.0.2:80 from the host itself: {WEB_FROM_HOST}",
    ]
    added = replace(
        WHOLE,
        policies={**WHOLE.policies, "netavark_policy": Chain("", ("masquerade", IPV6_MASQUERADE))},
    )
    assert not broken(ways(added))


@pytest.mark.parametrize(
    ("firewalld", "container", "place", "advice"),
    [
        (without("netavark_portfwd", WEB_PORT), "8081/tcp", "port forward", "podwatch restore"),
        (without("netavark_portfwd"), "8083/tcp", "port forward", "podwatch restore"),
        (
            without("netavark_policy", "masquerade"),
            "web (10.88.0.2)",
            "masquerade",
            "firewall-cmd --policy=netavark_policy --add-masquerade",
        ),
        (replace(WHOLE, sources={}), "web (10.88.0.2)", "firewalld zone", "podwatch restore"),
        (
            replace(WHOLE, sources={"10.88.0.0/16": "home"}),
            "web (10.88.0.2)",
            "firewalld zone",
            "firewall-cmd --zone=netavark_zone --change-source=10.88.0.0/16",
        ),
        (ABSENT_FIREWALLD, "8081/tcp", "firewalld", "systemctl start firewalld"),
    ],
)
def test_where_packets_stop(firewalld: Firewalld, container: str, place: str, advice: str) -> None:
    """The hop that is broken is the one whose cause is gone, and its remedy is told."""
    hops = [hop for title, hop in broken(ways(firewalld)).items() if title.startswith(container)]
    assert {(hop.place, hop.advice) for hop in hops} == {(place, advice)}


def test_what_the_host_sends_to_itself_stops_nobody_else() -> None:
    """Without the rule for 127.0.0.1 a port still answers from outside: a note."""
    told = ways(without("netavark_host_fwd", WEB_FROM_HOST))
    web = next(each for each in told if each.title.startswith("8081/tcp"))
    assert web.mark is Mark.OPEN
    (note,) = [hop for hop in web.hops if hop.mark is Mark.NOTE]
    assert note.what == f"missing in netavark_host_fwd: {WEB_FROM_HOST}"


def test_a_port_of_ipv6s_localhost_is_never_forwarded() -> None:
    """netavark's firewalld driver leaves ::1 out: no loss, but told as closed."""
    lonely = (PortMapping(8095, 80, "tcp", host_ip=ip_address("::1")),)
    setup = replace(SETUP, endpoints=(replace(SETUP.endpoints[1], port_mappings=lonely),))
    (hop,) = [
        hop for title, hop in broken(ways(WHOLE, setup), Mark.CLOSED).items() if "8095" in title
    ]
    assert hop.what == "netavark's firewalld driver has no rule for this address of the host"


def test_an_older_netavark_forwards_no_address_of_the_host() -> None:
    """Up to 1.13 such a forward leads back to the host: no loss, but told as closed."""
    told = broken(ways(replace(WHOLE, policies=OLD)), Mark.CLOSED)
    (hop,) = [hop for title, hop in told.items() if "8084" in title]
    assert hop.what == "netavark's firewalld driver has no rule for this address of the host"
