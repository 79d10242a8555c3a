# SPDX-License-Identifier: Apache-2.0
"""What is told of the host around Podman's networks, notice by notice."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.decide.surroundings import (
    astray,
    neighbours,
    parted,
    shut_out,
    unforwarded,
    without_events,
)
from podwatch.drivers.iptables_save import ELSEWHERE, LEGACY
from podwatch.words.links import NETWORK_MANAGER, NETWORKD, Around, Routed
from podwatch.words.names import Entry
from podwatch.words.network import ContainerClass, Network
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State, WarningKind
from podwatch.words.way import BaseChain, Mark
from tests.unit.decide.test_agreement import agree
from tests.unit.decide.test_judge import LONE, SETUP, WEB, snapshot
from tests.unit.decide.whole_host import LINKS, NAMES, SERVED, WHOLE, with_back

ADDRESS = WEB.addresses[0][0]


@pytest.mark.parametrize(
    ("traits", "kind", "advice"),
    [
        ((), None, ""),
        ((LEGACY,), WarningKind.NO_EVENTS, "/usr/sbin/iptables-nft, then restart"),
        (
            (ELSEWHERE,),
            WarningKind.OTHER_VARIANT,
            "/usr/sbin/iptables-nft, likewise",
        ),
        (
            (ELSEWHERE, LEGACY),
            WarningKind.OTHER_VARIANT,
            "/usr/sbin/iptables-legacy, likewise",
        ),
    ],
)
def test_which_iptables_has_the_rules(
    traits: tuple[str, ...], kind: WarningKind | None, advice: str
) -> None:
    """Told where it is silent, or not the one in use: with how to change that."""
    found = list(without_events(Ruleset(present=True, traits=frozenset(traits))))

    assert [notice.kind for notice in found] == ([] if kind is None else [kind])
    assert all(advice in notice.advice for notice in found)


_DEAF = BaseChain("inet site", "incoming", "input", "drop")


def unheard(seen: Snapshot) -> list[str]:
    """Whose questions are dropped, and the cures."""
    assert seen.setup is not None
    found = list(shut_out(seen.setup, replace(seen, drops=(_DEAF,))))
    assert all(notice.what.endswith("get no answer from aardvark-dns") for notice in found)
    return [f"{notice.what.partition(':')[0]}: {notice.advice}" for notice in found]


def test_no_questions_are_asked_on_a_network_without_names() -> None:
    """What drops questions to aardvark-dns is told for the networks whose containers ask some."""
    cure = "nft insert rule inet site incoming iifname podman1 udp dport 53 accept"
    assert unheard(WHOLE) == [f"network app (podman1): {cure}"]
    for names in (
        None,
        replace(NAMES, served=()),
        replace(NAMES, served=(replace(SERVED, network="other"),)),
    ):
        assert unheard(replace(WHOLE, names=names)) == []
    stopped = replace(SERVED, entries=(Entry("f" * 64),))
    assert unheard(replace(WHOLE, names=replace(NAMES, served=(stopped,)))) == []


@pytest.mark.parametrize("kind", [ContainerClass.INTERNAL, ContainerClass.UNMANAGED])
def test_questions_on_a_network_without_state_are_dropped_too(kind: ContainerClass) -> None:
    """Its bridge and subnets say what lets them in; a router's address is not this host."""
    seen = with_back(kind)
    cure = "nft insert rule inet site incoming iifname podman7 udp dport 53 accept"
    assert unheard(seen)[1:] == [f"network back (podman7): {cure}"]
    closed = replace(_DEAF, around=("ip saddr 10.89.7.0/24 udp dport 53 accept",))
    assert seen.setup is not None
    assert len(list(shut_out(seen.setup, replace(seen, drops=(closed,))))) == 1
    broken = [way for way in explain(replace(seen, drops=(_DEAF,))) if way.first_broken]
    assert [way.network for way in broken] == ["app", "back"]
    assert agree(replace(seen, drops=(_DEAF,))) is State.LOST
    away = replace(seen, links=LINKS)
    assert len(unheard(away)) == (1 if kind is ContainerClass.UNMANAGED else 2)


def test_what_shuts_a_network_out_is_told_with_the_network() -> None:
    """A chain that drops what is forwarded, for each network that nothing lets through."""
    closed = BaseChain("inet site", "passing", "forward", "drop")
    found = [notice.what for notice in shut_out(SETUP, snapshot(drops=(closed,)))]

    assert [what.partition(":")[0] for what in found] == [
        "network front (podman1)",
        "network back (podman2)",
    ]
    inside = Network("inn", "podman9", (ip_network("10.89.9.0/24"),), internal=True)
    around = Around(bridged=frozenset({4}), internal=(inside,))
    (notice,) = parted(SETUP, snapshot(drops=(closed,), around=around))
    assert notice.what.startswith("network inn (podman9): chain inet site passing drops")


@pytest.mark.parametrize(
    ("route", "kind", "what"),
    [
        (Routed(WEB.network_id, ADDRESS, "podman1"), None, ""),
        (
            Routed(WEB.network_id, ADDRESS, "tun0"),
            WarningKind.ROUTE,
            "network front: what is sent",
        ),
        (Routed("gone", ADDRESS, "tun0"), None, ""),
        (Routed(WEB.network_id, ADDRESS, "eth0", is_answer=True, uplink="eth0"), None, ""),
        (
            Routed(WEB.network_id, ADDRESS, "podman1", is_answer=True, uplink="eth0"),
            WarningKind.DETOUR,
            "network front: what 10.89.3.2 answers to neighbours on eth0 goes to podman1",
        ),
        (
            Routed(WEB.network_id, ADDRESS, "", is_answer=True, uplink="eth0"),
            WarningKind.ROUTE,
            "network front: what is sent by 10.89.3.2 goes nowhere, though the host has a way",
        ),
    ],
)
def test_which_way_packets_go(route: Routed, kind: WarningKind | None, what: str) -> None:
    """What is sent to a container has to go to its bridge, what it answers to where it came by."""
    found = list(astray(SETUP, snapshot(around=Around((route,)))))

    assert [notice.kind for notice in found] == ([] if kind is None else [kind])
    assert all(notice.what.startswith(what) for notice in found)


def test_who_hears_no_router_matters_to_ipv6_alone() -> None:
    """Told before its default route is gone, and after; nothing where no container has IPv6."""
    deaf = Around(deaf=("eth0",))
    lost = replace(deaf, has_default_v6=False)
    begin = "eth0 takes no more router advertisements since IPv6 is forwarded, and "

    (before,) = astray(SETUP, snapshot(around=deaf))
    (after,) = astray(SETUP, snapshot(around=lost))
    assert before.what == begin + "goes on without its default route when that expires"
    assert after.what == begin + "has lost its default route"
    assert (before.kind, after.kind) == (WarningKind.DETOUR, WarningKind.ROUTE)
    four = replace(SETUP, endpoints=(LONE,))
    assert list(astray(four, snapshot(around=deaf))) == []


def test_what_nobody_ever_saw_forwarded_is_told() -> None:
    """With the command that has it forwarded: podwatch makes no host a router."""
    closed = {"net/ipv4/ip_forward": "0", "net/ipv4/conf/eth0/forwarding": "0"}
    seen: Snapshot = snapshot(sysctls=closed, uplinks=("eth0",))

    (notice,) = unforwarded(SETUP, seen)
    assert notice.advice == "sysctl -w net.ipv4.ip_forward=1"
    assert notice.what.startswith("net.ipv4.ip_forward is 0: what is sent to containers")
    assert judge(seen).state is State.LOST
    assert list(unforwarded(SETUP, snapshot(sysctls={"net/ipv4/ip_forward": "1"}))) == []


def test_who_configures_podmans_bridges_is_told_before_anything_breaks() -> None:
    """Each with its own remedy, which names bridges that have names of their own."""
    kept = tuple((NETWORK_MANAGER, name) for name in ("podman1", "podman2", "br9", "podman3"))
    snapshot = Snapshot(None, None, None, around=Around(kept=(*kept, (NETWORKD, "podman1"))))
    manager, networkd = neighbours(snapshot)
    assert manager.what.startswith(
        "NetworkManager takes podman1, podman2, br9 and 1 more for its own to configure: "
    )
    assert manager.advice == (
        "let /etc/NetworkManager/conf.d/podman.conf have [keyfile] unmanaged-devices="
        "interface-name:podman*;interface-name:veth*;interface-name:br9, then: "
        "systemctl reload NetworkManager"
    )
    assert networkd.what.startswith("systemd-networkd takes podman1 for its own to configure: ")
    assert "[Match] Name=podman* veth* and [Link] Unmanaged=yes" in networkd.advice
    assert judge(snapshot).state is State.OK


def test_an_interface_that_forwards_no_more_is_told_and_left() -> None:
    """Beside that of the default route: its neighbours reach no port, and it may be meant so."""
    path = "net/ipv4/conf/eth1/forwarding"
    off = replace(
        WHOLE,
        beside=("eth1",),
        sysctls={**WHOLE.sysctls, path: "0"},
        sysctls_seen=frozenset({path}),
    )
    assert off.setup is not None
    (notice,) = unforwarded(off.setup, off)
    assert notice.kind is WarningKind.DETOUR
    assert notice.what.startswith("net.ipv4.conf.eth1.forwarding is 0: what comes in by eth1 ")
    assert notice.advice == "sysctl -w net.ipv4.conf.eth1.forwarding=1"
    assert judge(off).state is State.DEGRADED
    told = [hop for way in explain(off) for hop in way.hops if "by eth1" in hop.what]
    assert {hop.mark for hop in told} == {Mark.NOTE}
    assert len(told) > 1
    for other in (
        replace(off, sysctls_seen=frozenset()),
        replace(off, beside=()),
        replace(off, sysctls={**off.sysctls, path: "1"}),
        replace(off, sysctls={**off.sysctls, "net/ipv4/ip_forward": "0"}),
    ):
        assert not any("eth1" in found.what for found in unforwarded(off.setup, other))
    six = tuple(
        replace(one, addresses=tuple(pair for pair in one.addresses if pair[0].version == 6))
        for one in off.setup.endpoints
    )
    assert list(unforwarded(replace(off.setup, endpoints=six), off)) == []


def test_several_that_go_astray_are_told_together() -> None:
    """By where they go."""
    addresses = [ip_address(f"10.89.3.{last}") for last in range(2, 7)]
    away = tuple(Routed(WEB.network_id, address, "") for address in addresses)
    (notice,) = astray(SETUP, snapshot(around=Around(away)))
    assert "what is sent to 10.89.3.2, 10.89.3.3, 10.89.3.4 and 2 more goes nowhere" in notice.what


def test_detours_are_told_together() -> None:
    """Of several containers whose answers leave by the same link there is one note."""
    addresses = [ip_address(f"10.89.3.{last}") for last in (2, 3)]
    routes = [
        Routed(WEB.network_id, one, "tun0", is_answer=True, uplink="eth0") for one in addresses
    ]
    (notice,) = astray(SETUP, snapshot(around=Around(tuple(routes))))
    assert "what 10.89.3.2, 10.89.3.3 answers to neighbours on eth0 goes to tun0" in notice.what
