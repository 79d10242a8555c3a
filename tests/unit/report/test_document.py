# SPDX-License-Identifier: Apache-2.0
"""What one look contributes to the status document."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.decide.ways import with_ways
from podwatch.report.document import MAX_ENTRIES, document, summary, with_dhcp, with_refused
from podwatch.report.status import needing_rules
from podwatch.words.network import (
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
from podwatch.words.rules import Rule, RuleKind
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from podwatch.words.way import Hop, Mark, Way, WayKind

WEB, DB = "a" * 64, "b" * 64
NET = "c" * 64
IPV4 = (ip_address("10.88.0.3"), ip_network("10.88.0.0/16"))
IPV6 = (ip_address("fd00::3"), ip_network("fd00::/64"))

SNAPSHOT = Snapshot(
    setup=Setup(
        FirewallDriver.NFTABLES,
        {NET: Network(NET, "podman1", (IPV4[1], IPV6[1]), Isolation.STRICT)},
        (
            Endpoint(
                WEB,
                NET,
                "dual",
                (IPV4, IPV6),
                (
                    PortMapping(8080, 80, "tcp"),
                    PortMapping(9000, 90, "udp", 3, ip_address("192.0.2.1")),
                ),
            ),
            Endpoint(DB, NET, "dual", (IPV4,)),
        ),
    ),
    rules=None,
    firewalld=None,
    containers={WEB: Container(WEB, "web", pod="front")},
)


def test_networks_and_containers_are_told_with_their_ports() -> None:
    """Each network counts its containers; each port says where it leads, by address family."""
    missing = (
        Missing(MissingKind.RULE, "web: x", "x", container="web", container_ids=(WEB,)),
        Missing(MissingKind.RULE, "network dual: y", "y", container_ids=(WEB, DB)),
    )

    found = document(SNAPSHOT, Verdict(State.LOST, missing, all_container_ids=(WEB, DB)))

    assert found["networks"] == [
        {
            "id": NET,
            "name": "dual",
            "bridge": "podman1",
            "subnets": ["10.88.0.0/16", "fd00::/64"],
            "isolation": "strict",
            "containers": 2,
            **{"state": "ok", "hop": "", "why": "", "advice": "", "since": 0.0, "ways": []},
        }
    ]
    db, web = found["containers"]  # by name
    assert (web["name"], web["pod"], web["missing"]) == ("web", "front", 2)
    assert web["networks"] == [{"network": "dual", "addresses": ["10.88.0.3", "fd00::3"]}]
    assert web["ports"] == [
        "8080/tcp → 10.88.0.3:80",
        "8080/tcp → [fd00::3]:80",
        "192.0.2.1:9000-9002/udp → 10.88.0.3:90-92",
    ]
    assert (db["name"], db["ports"], db["missing"]) == ("b" * 12, [], 1)


def test_containers_without_rules_are_listed_behind() -> None:
    """Each other container that is up is told with its class; only those with rules count."""
    lan = Container(
        "d" * 64, "lan", ContainerState.PAUSED, networks=("lan",), kind=ContainerClass.MACVLAN
    )
    guest = Container("e" * 64, "guest", kind=ContainerClass.SHARED, shares="web")
    down = set(ContainerState) - {ContainerState.UP, ContainerState.PAUSED}
    others = [Container(f"f-{state}", "other", state) for state in down]
    containers = {each.id: each for each in (lan, guest, *others)} | dict(SNAPSHOT.containers)

    found = document(
        replace(SNAPSHOT, containers=containers), Verdict(State.OK, all_container_ids=(WEB, DB))
    )

    told = [(each["name"], each["class"], each["needs_rules"]) for each in found["containers"]]
    assert told == [
        ("b" * 12, "bridge", True),
        ("web", "bridge", True),
        ("guest", "shared", False),
        ("lan", "macvlan", False),
    ]
    assert needing_rules(found) == 2
    assert found["containers"][2]["shares"] == "web"
    assert found["containers"][3]["networks"] == [{"network": "lan", "addresses": []}]
    assert found["containers"][3]["paused"]
    assert found["summary"].startswith("2 containers on 1 network")


def test_a_refused_configuration_is_a_warning() -> None:
    """While a refused configuration lies there, all well is degraded, and a loss still a loss."""
    fine = document(SNAPSHOT, Verdict(State.OK, all_container_ids=(WEB, DB)))
    why = "/etc/podwatch/podwatch.conf: restore.limit = 0"

    told = with_refused(fine, why)

    assert (with_refused(fine, ""), with_refused({}, why)) == (fine, {})
    assert told["state"] == State.DEGRADED
    assert told["warnings"][0]["kind"] == "config"
    assert why in told["warnings"][0]["what"]
    assert with_refused({**fine, "state": State.LOST}, why)["state"] == State.LOST


def test_a_container_stands_as_its_ways_do() -> None:
    """Each has its own; what is no container's is its network's; the first broken hop is told."""
    down = Hop("bridge", "podman1 is down", Mark.BROKEN, "ip link set podman1 up")
    ways = (
        Way(WayKind.OUT, "db out", "db", DB, "dual", (Hop("forward", "fine"),)),
        Way(WayKind.IN, "8080/tcp → web", "web", WEB, "dual", (down,), (8080, "tcp")),
        Way(WayKind.ISOLATION, "isolation of dual", "", "", "dual", (down,)),
    )
    verdict = with_ways(Verdict(State.OK, all_container_ids=(WEB, DB)), ways)
    found = document(SNAPSHOT, verdict)

    assert found["summary"] == "a way is closed: podman1 is down"
    db, web = found["containers"]
    assert (db["state"], [way["state"] for way in db["ways"]]) == ("ok", ["open"])
    assert (web["state"], web["hop"], web["why"]) == ("lost", "bridge", "podman1 is down")
    assert [(way["title"], way["advice"]) for way in web["ways"]] == [
        ("8080/tcp → web", "ip link set podman1 up")
    ]
    (network,) = found["networks"]
    assert (network["state"], network["ways"][0]["kind"]) == ("lost", "isolation")


def test_a_way_that_could_not_be_seen_is_named() -> None:
    """Where nothing else is unknown, it is what the summary says."""
    hop = Hop("bridge", "the links could not be listed", Mark.UNKNOWN)
    way = Way(WayKind.OUT, "db out", "db", DB, "dual", (hop,))
    verdict = with_ways(Verdict(State.OK, all_container_ids=(WEB, DB)), [way])
    assert summary(SNAPSHOT, verdict) == "could not see everything: the links could not be listed"


def test_lists_are_bounded_and_the_number_is_told() -> None:
    """However much is missing the document stays bounded, and says how much there is."""
    missing = tuple(Missing(MissingKind.RULE, f"{n}", "") for n in range(MAX_ENTRIES + 7))

    found = document(SNAPSHOT, Verdict(State.LOST, missing))

    assert len(found["missing"]) == MAX_ENTRIES
    assert found["missing_count"] == MAX_ENTRIES + 7


@pytest.mark.parametrize(
    ("snapshot", "verdict", "says"),
    [
        (
            SNAPSHOT,
            Verdict(
                State.OK,
                all_container_ids=(WEB, DB),
                rules=57 * (Rule("INPUT", ("accept",), RuleKind.HOST),),
            ),
            "2 containers on 1 network, 57 rules in place (nftables)",
        ),
        (
            SNAPSHOT,
            Verdict(
                State.LOST,
                (Missing(MissingKind.RULE, "x", ""),),
                all_container_ids=(WEB, DB),
            ),
            "1 thing is missing, 2 containers on 1 network",
        ),
        (
            Snapshot(None, None, None),
            Verdict(State.UNKNOWN, unknown=(Unknown(Part.SETUP, "netavark's state", "gone"),)),
            "could not see everything: netavark's state",
        ),
        (
            Snapshot(Setup(FirewallDriver.UNKNOWN), None, None),
            Verdict(State.OK),
            "no container needs rules on this host",
        ),
    ],
    ids=["ok", "lost", "unknown", "empty"],
)
def test_the_summary_is_one_sentence(snapshot: Snapshot, verdict: Verdict, says: str) -> None:
    """Each state has its sentence."""
    assert summary(snapshot, verdict) == says


def test_what_could_not_be_seen_is_unknown() -> None:
    """Without a setup nothing says which driver there is, and which networks."""
    verdict = Verdict(State.UNKNOWN, unknown=(Unknown(Part.SETUP, "netavark's state", "gone"),))
    found = document(Snapshot(None, None, None), verdict)
    assert (found["driver"], found["networks"], found["containers"]) == ("unknown", [], [])


GRAVITY = ("", "ok", "degraded", "unknown", "lost")
"""DHCP's section has no state where no network wants it."""


@pytest.mark.parametrize("dhcp", GRAVITY)
@pytest.mark.parametrize("rules", GRAVITY[1:])
def test_the_graver_state_counts(rules: str, dhcp: str) -> None:
    """With DHCP the state of the whole is the graver one, and the summary names what it is of."""
    section = {"state": dhcp, "summary": "the socket"}
    whole = with_dhcp({"state": rules, "summary": "57 rules"}, section)

    assert whole["state"] == max(rules, dhcp, key=GRAVITY.index)
    assert ("DHCP: the socket" in whole["summary"]) == (dhcp not in ("", "ok"))
    assert whole["dhcp"] == section
