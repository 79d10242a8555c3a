# SPDX-License-Identifier: Apache-2.0
"""The network namespace of a user's bridges, as the judge sees it."""

from dataclasses import replace

import pytest

from podwatch.decide.netns import lost_netns, netns_notices
from podwatch.words.netns import Netns
from podwatch.words.network import Endpoint, FirewallDriver, Held, Setup
from podwatch.words.snapshot import Snapshot

PATH = "/run/user/1000/containers/networks/rootless-netns/rootless-netns"
SETUP = Setup(
    FirewallDriver.NFTABLES,
    endpoints=(Endpoint("c" * 64, "n" * 64, "n1", ()), Endpoint("c" * 64, "m" * 64, "m1", ())),
)
SNAPSHOT = Snapshot(setup=SETUP, rules=None, firewalld=None)


def test_a_namespace_with_its_file_is_whole() -> None:
    """podman finds what is mounted on the file: nothing is missing."""
    whole = replace(SNAPSHOT, netns=Netns(PATH, 7, 7, has_file=True))

    assert list(lost_netns(SETUP, whole, ())) == []


def test_a_namespace_that_cannot_be_entered_is_not_lost() -> None:
    """podman finds it: that podwatch may not is no reason to stop anybody's containers."""
    closed = replace(SNAPSHOT, netns=Netns(PATH, 0, 7, has_file=True))

    assert list(lost_netns(SETUP, closed, ())) == []


@pytest.mark.parametrize(
    ("netns", "says", "reloadable"),
    [
        (Netns(PATH, 7, 0, has_file=True), "nothing is mounted", True),
        (Netns(PATH, 7, 0), "was removed", False),
        (Netns(PATH, 7, 8, has_file=True), "second network namespace", False),
        (Netns(PATH, 0, 0), "is not to be found", False),
    ],
)
def test_a_namespace_that_podman_loses_is_missing(
    netns: Netns,
    says: str,
    reloadable: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Each of these is one loss for every container; only a lost file can be put back."""
    (loss,) = lost_netns(SETUP, replace(SNAPSHOT, netns=netns), ())

    assert says in loss.what
    assert loss.container_ids == ("c" * 64,)
    assert loss.reloadable is reloadable


def test_without_bridges_there_is_no_namespace_to_lose() -> None:
    """A user whose containers have no bridge, and root's host, have none."""
    nobody = replace(SETUP, endpoints=())

    assert list(lost_netns(nobody, replace(SNAPSHOT, netns=Netns()), ())) == []
    assert list(lost_netns(SETUP, SNAPSHOT, ())) == []


def test_a_count_that_is_lost_is_told_with_the_right_one() -> None:
    """Not while podman is at work, which writes it; one that is there says nothing."""
    lost = Netns(PATH, 7, 7, has_file=True, is_uncounted=True)
    held: Held = {"n1": {"c" * 64: ()}, "m1": {"c" * 64: ()}}
    seen = replace(SNAPSHOT, netns=lost, held=held)

    (notice,) = netns_notices(SETUP, seen)
    assert notice.advice == f"printf %s 2 > {PATH.rpartition('/')[0]}/ref-count"
    assert list(netns_notices(SETUP, replace(seen, busy="podman is at it"))) == []
    assert list(netns_notices(SETUP, replace(seen, netns=replace(lost, is_uncounted=False)))) == []
    assert list(netns_notices(replace(SETUP, endpoints=()), seen)) == []
