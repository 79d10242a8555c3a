# SPDX-License-Identifier: Apache-2.0
"""When podman is asked once more who runs, though netavark's state is the same."""

from podwatch.decide.census import CENSUS_AGAIN_MAX_S, CENSUS_AGAIN_S, Asked, Census
from podwatch.words.network import Container, ContainerState


def asked_again(before: Census, asked: Asked, *doubtful: str) -> Census:
    """The census after podman was asked at 100.0, and listed none of those who live."""
    return before.next({}, asked, doubtful, (), 100.0)


def test_the_pause_doubles_while_the_same_are_in_doubt() -> None:
    """Or fewer of them; somebody new in doubt is asked for anew."""
    asked = Asked(1, {"aa": "a", "bb": "b"})
    first = asked_again(Census(), asked, "aa", "bb")
    assert (first.again_at, first.pause) == (100.0 + CENSUS_AGAIN_S, CENSUS_AGAIN_S)

    assert asked_again(first, asked, "aa", "bb").pause == 2 * CENSUS_AGAIN_S
    assert asked_again(first, asked, "aa").pause == 2 * CENSUS_AGAIN_S
    assert asked_again(first, asked, "aa", "cc").pause == CENSUS_AGAIN_S
    third = asked_again(asked_again(first, asked, "aa"), asked, "aa")
    assert third.pause == 4 * CENSUS_AGAIN_S


def test_the_longest_pause_is_the_last() -> None:
    """After it podman is asked by events alone."""
    last = Census({}, Asked(1), frozenset({"aa"}), pause=CENSUS_AGAIN_MAX_S / 2)
    longest = asked_again(last, Asked(1), "aa")
    assert (longest.again_at, longest.pause) == (100.0 + CENSUS_AGAIN_MAX_S, CENSUS_AGAIN_MAX_S)

    over = asked_again(longest, Asked(1), "aa")
    assert (over.again_at, over.pause) == (None, CENSUS_AGAIN_MAX_S)


def test_a_list_of_before_a_restart_makes_nobody_old_in_doubt() -> None:
    """Of whom podman was not asked by this podwatch nothing is the same."""
    inherited = Census({}, None, frozenset({"aa"}), pause=64.0)
    assert asked_again(inherited, Asked(None, {}), "aa").pause == CENSUS_AGAIN_S


def test_a_change_of_the_rules_brings_the_question_on() -> None:
    """It puts none off that comes sooner."""
    doubted = Census({}, Asked(1), frozenset({"aa"}), again_at=101.0)
    assert doubted.doubted(100.0).again_at == 101.0
    assert doubted.doubted(98.0).again_at == 100.0


def test_before_podman_was_asked_there_is_no_stamp() -> None:
    """Which is that of no state."""
    assert Census().stamp is None
    assert Census({}, Asked(7)).stamp == 7


def test_who_is_not_up_does_not_surely_run() -> None:
    """Though a process of its number is there."""
    up, created = (
        Container(state, state, state, pid=7)
        for state in (ContainerState.UP, ContainerState.CREATED)
    )
    seen = Census({"up": up, "created": created}, Asked(1))
    assert seen.running(1, {7}) == {"up"}
