# SPDX-License-Identifier: Apache-2.0
"""State files of the dead, of those podman does not list, and files that make no sense."""

import shlex
from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.judge import judge
from podwatch.words.network import (
    Address,
    BadFile,
    Container,
    ContainerState,
    FirewallDriver,
    Setup,
)
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import Notice, State, WarningKind
from tests.unit.decide.one_network import HERE, NETWORK, STATE_DIR, endpoint

BUILD = "buildah-buildah378019839"
DEAD = Container(BUILD, BUILD, ContainerState.GONE)
FOREIGN = replace(DEAD, state=ContainerState.UNLISTED)
LISTED = replace(DEAD, state=ContainerState.UP)
BAD = BadFile(f"/run/x/ports/{NETWORK.id}_{'c' * 64}", "not JSON", NETWORK.id, "c" * 64)


def look(container: Container, inside: dict[Address, int] | None, *bad: BadFile) -> Snapshot:
    """A look at a network with one container, whose rules are all there: it needs none."""
    return Snapshot(
        Setup(
            FirewallDriver.NONE,
            {NETWORK.id: NETWORK},
            (endpoint(BUILD),),
            bad,
            state_dir=STATE_DIR,
        ),
        Ruleset(present=False),
        ABSENT_FIREWALLD,
        {BUILD: container},
        inside=inside,
    )


def only(snapshot: Snapshot) -> Notice:
    """The one warning."""
    (notice,) = judge(snapshot).warnings
    return notice


def test_who_lives_and_is_not_listed_is_told_by_himself() -> None:
    """The host is as well as without him, his rules count, and nothing is advised to be removed."""
    verdict = judge(look(FOREIGN, {HERE: 1}))
    assert (verdict.state, verdict.unknown) == (State.OK, ())
    assert verdict.all_container_ids == verdict.unlisted == (BUILD,)
    notice = only(look(FOREIGN, {HERE: 1}))
    assert notice.kind is WarningKind.UNLISTED
    assert notice.what.startswith(BUILD)
    assert "rm " not in notice.advice


def test_where_the_kernel_does_not_tell_he_alone_is_unknown() -> None:
    """Unknown by name, with the id for whoever has to leave him out."""
    verdict = judge(look(FOREIGN, None))
    (unknown,) = verdict.unknown
    assert (verdict.state, unknown.container_ids) == (State.UNKNOWN, (BUILD,))


def test_the_dead_ones_file_is_named_exactly() -> None:
    """The advice removes his file alone; the host is as well as without it."""
    notice = only(look(DEAD, {}))
    path = f"{STATE_DIR}/ports/{NETWORK.id}_{BUILD}"
    assert shlex.split(notice.advice) == ["rm", path]
    assert notice.kind is WarningKind.STALE_STATE
    assert judge(look(DEAD, {})).state is State.OK


def test_the_file_of_one_that_podman_can_start_may_be_needed_again() -> None:
    """Who has ended may be started instead of being cleaned up after; who is gone cannot be."""
    ended = replace(DEAD, name="web", state=ContainerState.ENDED)
    assert only(look(ended, {})).advice.startswith("podman start web, or: rm ")


def test_of_one_that_has_just_ended_nothing_is_told() -> None:
    """His network is being taken down: his rules need not be there, and his file is his still."""
    verdict = judge(look(replace(DEAD, state=ContainerState.JUST_ENDED), {}))
    assert (verdict.warnings, verdict.unknown) == ((), ())
    assert verdict.all_container_ids == ()


def test_state_that_outlives_a_reboot_is_not_told() -> None:
    """CNI's cache of the containers of before is no matter: it is no state of netavark's."""
    snapshot = look(DEAD, {})
    assert snapshot.setup is not None
    cni = replace(snapshot, setup=replace(snapshot.setup, driver=FirewallDriver.CNI, state_dir=""))
    assert judge(cni).warnings == ()


def test_a_dead_container_on_a_network_out_of_use_leaves_nothing_unknown() -> None:
    """netavark removed the network's file with its last container: nobody alive misses it."""
    snapshot = look(DEAD, {})
    assert snapshot.setup is not None
    verdict = judge(replace(snapshot, setup=replace(snapshot.setup, networks={})))
    assert (verdict.state, verdict.unknown) == (State.OK, ())


@pytest.mark.parametrize("inside", [{}, {HERE: 1}])
def test_a_file_without_sense_of_nobody_is_not_unknown(inside: dict[Address, int]) -> None:
    """All who have a network namespace are known by the other files: it is a left-over."""
    verdict = judge(look(LISTED, inside, BAD))
    assert (verdict.state, verdict.unknown) == (State.OK, ())
    (notice,) = verdict.warnings
    assert notice.advice == f"rm {BAD.path}"


def test_a_file_without_sense_of_somebody_is_unknown() -> None:
    """He may be the one in a namespace of whom nothing is known, or podman lists him."""
    stranger = look(LISTED, {HERE: 1, ip_address("10.88.0.3"): 1}, BAD)
    listed = look(LISTED, {HERE: 1}, BAD)
    listed = replace(listed, containers={**listed.containers, "c" * 64: Container("c" * 64, "web")})
    twice = look(LISTED, {HERE: 2}, BAD)
    network = look(LISTED, {HERE: 1}, replace(BAD, container_id=""))
    for snapshot in (stranger, listed, twice, network):
        verdict = judge(snapshot)
        assert (verdict.state, len(verdict.unknown)) == (State.UNKNOWN, 1)
        assert verdict.warnings == ()
    assert judge(network).unknown[0].container_ids == (BUILD,)
    assert judge(network).unknown[0].network_id == NETWORK.id


@pytest.mark.parametrize("state", ContainerState)
def test_a_file_without_sense_of_a_dead_one_is_nobodys(state: ContainerState) -> None:
    """It is told as left over; of whoever may live or just did it is unknown."""
    seen = look(LISTED, {HERE: 1}, BAD)
    owner = Container("c" * 64, "web", state)
    verdict = judge(replace(seen, containers={**seen.containers, owner.id: owner}))
    assert bool(verdict.warnings) is owner.is_dead
    assert bool(verdict.unknown) is not owner.is_dead


def test_of_many_files_without_sense_twenty_are_named() -> None:
    """In the order of their paths; how many there are besides is told in one warning."""
    files = [replace(BAD, path=f"/run/x/ports/{number:02}") for number in range(23)]
    *named, more = judge(look(LISTED, {HERE: 1}, *reversed(files))).warnings
    assert [notice.advice for notice in named] == [f"rm {file.path}" for file in files[:20]]
    assert more.what.startswith("3 more files make no sense")
    assert len(judge(look(LISTED, {HERE: 1}, *files[:20])).warnings) == 20


def test_the_kernel_is_asked_who_may_own_it() -> None:
    """Before that the file makes its container unknown."""
    verdict = judge(look(LISTED, None, BAD))
    assert (verdict.state, verdict.asks_inside) == (State.UNKNOWN, True)
