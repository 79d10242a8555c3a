# SPDX-License-Identifier: Apache-2.0
"""Networks that firewalld lets too little in from, and what lets it in."""

from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.decide.shut_zones import shut, shut_notices
from podwatch.words.network import ContainerClass, FirewallDriver
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot, Zone
from podwatch.words.verdict import MissingKind, State, WarningKind
from podwatch.words.way import Mark, Policy, WayKind
from tests.unit.decide.test_agreement import agree
from tests.unit.decide.whole_host import (
    BACK,
    BACK_GATEWAY,
    LINKS,
    SUBNETS,
    WHOLE,
    of_firewalld,
    with_back,
)

TRUST = "firewall-cmd --permanent --zone=trusted --add-source=10.89.7.0/24; firewall-cmd --reload"
RICH = (
    "firewall-cmd --permanent --zone=public --add-rich-rule='rule family=ipv4 source "
    "address=10.89.7.0/24 service name=dns accept'; firewall-cmd --reload"
)

MAY_LET_IN = (
    'rule family="ipv4" source address="10.89.7.0/24" service name="dns" accept',
    'rule family="ipv4" source address="10.89.7.2" accept',
    'rule family="ipv4" source NOT address="192.0.2.0/24" accept',
    'rule source ipset="site" accept',
    'rule source address="what" accept',
    'rule service name="dns" accept',
)
"""Rich rules that accept something from the network, or of which that is not known."""


def host(*, bridged: bool = True, **firewalld: Any) -> Snapshot:
    """A host whose two containers are on an internal network, too; firewalld is otherwise so."""
    said = WHOLE.firewalld
    assert said is not None
    back = with_back()
    return replace(
        back,
        around=replace(back.around, bridged=frozenset({4} if bridged else ())),
        firewalld=replace(said, **({"zones": {"public": Zone()}} | firewalld)),
    )


def told(snapshot: Snapshot) -> list[tuple[str, str]]:
    """What is told, and the advice."""
    assert snapshot.setup is not None
    return [(notice.what, notice.advice) for notice in shut_notices(snapshot.setup, snapshot)]


def test_an_internal_network_is_in_the_default_zone() -> None:
    """That lets no question for a name in, and nothing pass between ports of a bridge."""
    found = host()
    what = (
        "network back: 10.89.7.0/24 is in firewalld's zone public, which rejects what its "
        "containers ask aardvark-dns and send each other"
    )
    assert told(found) == [(what, TRUST)]
    verdict = judge(found)
    assert [notice.kind for notice in verdict.warnings] == [WarningKind.SHUT_OUT]
    assert (verdict.state, verdict.missing) == (State.LOST, ())
    broken = [way for way in explain(found) if way.mark is Mark.BROKEN]
    assert {way.network for way in broken} == {"back"}
    assert {hop.advice for way in broken for hop in way.hops if hop.advice} == {TRUST}


@pytest.mark.parametrize("bridged", [True, False])
@pytest.mark.parametrize("zone", [Zone(), Zone(hears_names=True)])
def test_status_and_explain_agree(zone: Zone, *, bridged: bool) -> None:
    """Whatever it is that the zone lets in."""
    is_shut = bridged or not zone.hears_names
    found = host(bridged=bridged, zones={"public": zone})
    assert agree(found) is (State.LOST if is_shut else State.OK)


def test_names_alone_take_one_rule_alone() -> None:
    """Where bridges hand nothing to the firewall, containers reach each other."""
    ((what, advice),) = told(host(bridged=False))
    assert what.endswith("which rejects what its containers ask aardvark-dns")
    assert advice == RICH


def test_neighbours_count_where_the_zone_hears_names() -> None:
    """And only names that somebody serves."""
    ((what, advice),) = told(host(zones={"public": Zone(hears_names=True)}))
    assert (what.endswith("which rejects what its containers send each other"), advice) == (
        True,
        TRUST,
    )
    silent = host(bridged=False)
    assert told(replace(silent, names=None)) == []


@pytest.mark.parametrize(
    "firewalld",
    [
        {"zones": {}},
        {"zones": {"public": Zone(accepts=True)}},
        *({"zones": {"public": Zone(rules=(rule,))}} for rule in MAY_LET_IN),
        {"panic": True},
        {"in_kernel": False},
        {"sources": {"10.0.0.0/8": "trusted"}, "zones": {"trusted": Zone(accepts=True)}},
        {"sources": {"ipset:site": "trusted"}},
        {"interfaces": {"podman7": "site"}, "zones": {"site": Zone(accepts=True)}},
        {"zones": {"public": Zone(hears_names=True)}, "interfaces": {"podman7": "public"}},
        {
            "zones": {"public": Zone(hears_names=True)},
            "between": (Policy("site", ("ANY",), ("ANY",), "ACCEPT"),),
        },
    ],
)
def test_what_may_be_let_in_is_not_called_rejected(firewalld: dict[str, Any]) -> None:
    """By another zone or policy, or by what is not looked into."""
    assert told(host(**firewalld)) == []


def test_a_rule_for_others_lets_nothing_in() -> None:
    """For another subnet, or one that accepts nothing: as what is advised for another network."""
    others = 'rule family="ipv4" source address="192.0.2.0/24" service name="dns" accept'
    of_v6 = 'rule family="ipv6" source address="fd00::/8" accept'
    rejects = 'rule family="ipv4" source address="10.89.7.0/24" reject'
    zone = Zone(rules=(others, of_v6, rejects))
    assert told(host(zones={"public": zone})) == told(host())


def test_a_policy_to_the_host_may_let_names_in() -> None:
    """Not the one that firewalld brings, which is for ICMP."""
    site, own = (Policy(name, ("ANY",), ("HOST",), "CONTINUE") for name in ("s", "allow-host-ipv6"))
    assert told(host(bridged=False, between=(site,))) == []
    assert len(told(host(bridged=False, between=(own,)))) == 1


def test_no_firewalld_rejects_nothing() -> None:
    """Nor one that could not be asked, nor where rules of CNI's have each address as a source."""
    for said in (None, ABSENT_FIREWALLD):
        assert told(replace(host(), firewalld=said)) == []
    found = host()
    assert found.setup is not None
    assert told(replace(found, setup=replace(found.setup, driver=FirewallDriver.CNI))) == []


def test_an_unmanaged_network_is_judged_alike() -> None:
    """Where its gateway is the host; a router's subnet is none to be trusted for containers."""
    found = host()
    files = {**found.files, "back": replace(BACK, kind=ContainerClass.UNMANAGED)}
    ((what, advice),) = told(replace(found, files=files))
    assert what.startswith("network back: 10.89.7.0/24 is in firewalld's zone public, which rej")
    assert advice == TRUST
    assert agree(replace(found, files=files)) is State.LOST
    assert found.links is not None
    for links in (None, replace(found.links, addresses=LINKS.addresses)):
        assert told(replace(found, files=files, links=links)) == []


def ordinary(**firewalld: Any) -> tuple[str, list[str]]:
    """What closes the names of an ordinary network, and all that is told in warnings."""
    found = of_firewalld(**firewalld)(WHOLE)
    (way,) = (way for way in explain(found) if way.kind is WayKind.NAMES)
    hop = way.first_broken
    assert agree(found) is State.LOST
    verdict = judge(found)
    assert not any(one.kind is WarningKind.SHUT_OUT for one in verdict.warnings)
    return "" if hop is None else f"{hop.what}: {hop.advice}", [
        *(notice.kind for notice in verdict.warnings),
        *(loss.kind for loss in verdict.missing),
    ]


def test_a_source_in_another_zone_closes_names_too() -> None:
    """Its loss is told by itself, and once; the cure is that of the ways out."""
    lost = dict.fromkeys(map(str, SUBNETS), "drop")
    broken, kinds = ordinary(sources=lost)
    assert broken.endswith(
        "are in firewalld's zone drop, which rejects questions for names: "
        f"firewall-cmd --zone=trusted --change-source={SUBNETS[1]}"
    )
    assert kinds == [WarningKind.FOREIGN_ZONE] * 2
    broken, kinds = ordinary(sources={})
    assert broken.endswith("zone public, which rejects questions for names: podwatch restore")
    assert kinds == [MissingKind.SOURCE] * 2


def test_a_lost_source_takes_names_from_nobody_who_may_ask() -> None:
    """Where another source around it is trusted, or the driver is not known."""
    found = of_firewalld(sources={"10.0.0.0/8": "trusted", "fd00::/8": "trusted"})(WHOLE)
    lost = of_firewalld(sources={})(WHOLE)
    assert found.setup is not None
    assert list(shut(found.setup, lost)) == ["app"]
    assert shut(found.setup, found) == {}
    assert shut(replace(found.setup, driver=FirewallDriver.NONE), lost) == {}


def test_a_source_of_its_zone_is_forwarded_there() -> None:
    """What containers send each other passes; so names alone are rejected."""
    zones = {"work": Zone(), "public": Zone()}
    ((what, _),) = told(host(sources={"10.89.7.0/24": "work"}, zones=zones))
    assert what.endswith("zone work, which rejects what its containers ask aardvark-dns")


@pytest.mark.parametrize("source", ["10.89.7.2/32", "10.89.0.0/16"])
def test_what_two_zones_have_a_part_of_is_not_judged(source: str) -> None:
    """Nobody knows which of them it is in."""
    zones = {"trusted": Zone(accepts=True), "work": Zone(), "public": Zone()}
    sources = {source: "trusted", "10.89.7.0/24": "work"}
    assert told(host(sources=sources, zones=zones)) == []
    assert told(host(sources={"10.89.7.2/32": "work"}, zones=zones)) == []


def test_a_source_that_is_no_network_counts_for_nobody() -> None:
    """A MAC, or one of the other IP version."""
    others = {"02:00:00:00:00:01": "trusted", "fd89:7::/64": "trusted"}
    found = host(sources=others, zones={"public": Zone(), "trusted": Zone(accepts=True)})
    assert found.setup is not None
    assert "back" in shut(found.setup, found)
    both = replace(BACK, gateways=(BACK_GATEWAY, ip_interface("fd89:7::1/64")))
    split = replace(found, files={**found.files, "back": both})
    assert "back" not in shut(found.setup, split), "one of its subnets is let in"
