# SPDX-License-Identifier: Apache-2.0
"""The census of podman's containers: whom podwatch takes for running, and when it asks again."""

from dataclasses import replace

from podwatch.decide.census import CENSUS_AGAIN_MAX_S, CENSUS_AGAIN_S, Census
from podwatch.words.network import Container

RUNNING = Container("aa", "web")
ENDED = Container("aa", "web", running=False)
CREATED = Container("aa", "web", created=True)


def census(container: Container, before: Census | None = None, now: float = 100.0) -> Census:
    """The census after podman listed one container that netavark has state of, stamped `1`."""
    return (before or Census()).next({container.id: container}, 1, {}, [container.id], now)


def runs(found: Census, stamp: object = 1) -> bool:
    """Whether the container counts as running."""
    return found.at(stamp, {})["aa"].running


def test_an_ended_container_may_be_starting_again() -> None:
    """podman still calls a container ended while it sets its network up: it is asked again."""
    found = census(ENDED)
    assert runs(found)
    assert found.again_at == 100.0 + CENSUS_AGAIN_S
    assert runs(census(RUNNING, found))


def test_an_ended_container_is_dead_while_the_state_is_the_same() -> None:
    """That a container has ended, said twice, is believed until netavark's state changes."""
    found = census(ENDED, census(ENDED))
    assert not runs(found)
    assert not runs(census(ENDED, found))
    assert runs(found, stamp=2)
    assert found.again_at is None


def test_a_container_podman_does_not_know_is_dead() -> None:
    """netavark's state of a container that podman has removed is a left-over."""
    assert not Census().next({}, 1, {}, ["aa"], 100.0).containers["aa"].running


def test_a_created_container_may_be_starting() -> None:
    """A container that is only created counts as running, and podman is asked again."""
    found = census(CREATED)
    assert runs(found)
    assert found.again_at == 100.0 + CENSUS_AGAIN_S


def test_a_container_that_stays_created_has_failed_to_start() -> None:
    """Still created when podman is asked again, with the same state: its start has failed."""
    assert not runs(census(CREATED, census(CREATED)))
    changed = census(CREATED).next({"aa": CREATED}, 2, {}, ["aa"], 100.0)
    assert runs(changed, stamp=2)


def test_a_container_that_runs_after_all_is_running() -> None:
    """A slow start is no failed start once podman says that the container runs."""
    found = census(RUNNING, census(CREATED, census(CREATED)))
    assert runs(found)
    assert found.again_at is None


def test_podman_is_not_asked_for_ever() -> None:
    """The pauses grow, and come to an end; a change of the rules makes podwatch ask once more."""
    found, now, pauses = census(CREATED), 100.0, []
    while found.again_at is not None:
        pauses.append(found.again_at - now)
        now = found.again_at
        found = census(CREATED, found, now)
    assert pauses[0] == CENSUS_AGAIN_S
    assert pauses == sorted(pauses)
    assert sum(pauses) < 2 * CENSUS_AGAIN_MAX_S
    doubted = found.doubted(now)
    assert doubted.again_at == now + CENSUS_AGAIN_S
    assert census(CREATED, doubted, now).again_at is None


def test_only_what_is_created_is_doubted() -> None:
    """A change of the rules makes nobody ask podman when every container is known to run."""
    assert census(RUNNING).doubted(100.0).again_at is None


def test_another_container_does_not_bring_a_dead_one_back() -> None:
    """With netavark's state changed, but not of this one, it stays dead; anew written, it lives."""
    found = replace(census(ENDED, census(ENDED)), taken=50.0)
    assert not found.at(2, {"aa": 40.0})["aa"].running
    assert found.at(2, {"aa": 60.0})["aa"].running
    again = found.next({"aa": ENDED}, 2, {"aa": 40.0}, ["aa"], 100.0)
    assert not again.at(2, {"aa": 40.0})["aa"].running


def test_state_older_than_a_list_it_is_not_on_is_nobodys() -> None:
    """So after a restart of podwatch, too, nothing of a removed container is expected."""
    found = Census({"bb": Container("bb", "other")}, taken=50.0)
    assert not found.at(1, {"aa": 40.0})["aa"].running
    assert "aa" not in found.at(1, {"aa": 60.0})


def test_who_surely_runs() -> None:
    """Who was listed up with the state as it is, by a process that is there, with no doubt left."""
    web = replace(RUNNING, pid=7)
    assert census(web).running(1, {7}) == {"aa"}
    assert census(web).running(2, {7}) == census(web).running(1, {8}) == frozenset()
    assert census(replace(CREATED, pid=7)).running(1, {7}) == frozenset()


def test_a_process_that_was_there_and_is_not_has_ended() -> None:
    """One that was not seen alive is nobody's word, nor is one of before a new start."""
    web = replace(RUNNING, pid=7)
    found = replace(census(web), taken=50.0, alive=frozenset({7}))
    assert list(found.ended(1, {}, {8})) == ["aa"]
    assert list(found.ended(1, {}, {7})) == []
    assert list(found.ended(2, {"aa": 60.0}, ())) == []
    assert list(found.ended(2, {"aa": 40.0}, ())) == ["aa"]
    assert list(replace(found, alive=frozenset()).ended(1, {}, ())) == []
