# SPDX-License-Identifier: Apache-2.0
"""Advice for a user: what is to be typed has to be typed where their network is."""

from dataclasses import replace

import pytest

from podwatch.decide.explain import explain
from podwatch.decide.judge import judge
from podwatch.decide.user_advice import for_user, notice_for_user, way_for_user
from podwatch.words.netns import Netns
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Notice, WarningKind
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.decide.user_host import FAULTS, NETNS, USER
from tests.unit.decide.whole_host import FAULTS as OF_ROOT

SET = "sysctl -w net.ipv4.ip_forward=1"
PAUSE = "$(cat $XDG_RUNTIME_DIR/libpod/tmp/pause.pid)"
THERE = f"nsenter -t {PAUSE} -U -m --preserve-credentials nsenter --net={NETNS}"


@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        (SET, f"{THERE} {SET}"),
        ("ip link set podman1 up", f"{THERE} ip link set podman1 up"),
        ("nft delete table inet x", f"{THERE} nft delete table inet x"),
        ("ip6tables -F", f"{THERE} ip6tables -F"),
        ("bridge link; ip link", f"{THERE} sh -c 'bridge link; ip link'"),
        ("podman restart web", "podman restart web"),
        ("podman network reload web", "podwatch restore"),
        ("podwatch restore", "podwatch restore"),
        ("ipcs", "ipcs"),
        ("", ""),
    ],
)
def test_what_is_of_the_network_is_typed_in_its_namespace(advice: str, expected: str) -> None:
    """All else is the same for everybody; several commands need one shell there."""
    assert for_user(advice, USER) == expected


def test_on_roots_host_advice_is_as_it_was() -> None:
    """There the network is the host's."""
    assert for_user(SET, replace(USER, netns=None)) == SET


@pytest.mark.parametrize(
    "seen",
    [
        replace(USER, netns=Netns(NETNS, 7, 0, has_file=True)),
        replace(USER, netns=Netns(NETNS, 7, 8, has_file=True)),
        replace(USER, netns=Netns()),
    ],
    ids=["lost", "split", "gone"],
)
def test_nobody_is_sent_into_a_namespace_that_is_not_whole(seen: Snapshot) -> None:
    """Its file leads elsewhere, or nowhere: podwatch comes first."""
    assert for_user(SET, seen) == "podwatch restore"


def test_notices_and_hops_have_the_same_advice() -> None:
    """Of a way without any nothing is made anew."""
    notice = Notice(WarningKind.FORWARDING, "it is 0", SET)
    assert notice_for_user(notice, USER).advice == f"{THERE} {SET}"
    hops = (Hop("link", "well"), Hop("forwarding", "it is 0", Mark.BROKEN, SET))
    way = Way(WayKind.OUT, "web out", "web", "a" * 64, "app", hops)
    assert [hop.advice for hop in way_for_user(way, USER).hops] == ["", f"{THERE} {SET}"]
    assert way_for_user(way, replace(USER, netns=None)) is way
    silent = replace(way, hops=hops[:1])
    assert way_for_user(silent, USER) is silent


@pytest.mark.parametrize("fault", sorted({**OF_ROOT, **FAULTS}))
def test_no_advice_is_for_the_hosts_own_network(fault: str) -> None:
    """Whatever is wrong, a user is told to type nothing that would change root's networks."""
    seen = {**OF_ROOT, **FAULTS}[fault](USER)
    told = [notice.advice for notice in judge(seen).warnings]
    told += [hop.advice for way in explain(seen) for hop in way.hops]
    for advice in told:
        assert not advice.startswith(("ip ", "nft ", "bridge ", "sysctl ", "iptables", "firewall"))


@pytest.mark.parametrize("fault", sorted({**OF_ROOT, **FAULTS}))
def test_nobody_is_told_to_use_podman_unshare(fault: str) -> None:
    """Where podman's own count is wrong, it takes the namespace from running containers."""
    seen = {**OF_ROOT, **FAULTS}[fault](USER)
    told = [notice.advice for notice in judge(seen).warnings]
    told += [hop.advice for way in explain(seen) for hop in way.hops]
    assert not [advice for advice in told if "unshare" in advice]
