# SPDX-License-Identifier: Apache-2.0
"""The census of podman's containers: whom podwatch takes for running, and when it asks again."""

from collections.abc import Collection
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.decide.census import (
    CENSUS_AGAIN_MAX_S,
    CENSUS_AGAIN_S,
    Asked,
    Census,
    by_kernel,
    in_doubt,
    living,
)
from podwatch.words.network import (
    Address,
    Container,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Setup,
)

RUNNING = Container("aa", "web")
ENDED = Container("aa", "web", ContainerState.ENDED)
CREATED = Container("aa", "web", ContainerState.CREATED)
SUBNET = ip_network("10.88.0.0/16")
ADDRESS = ip_address("10.88.0.2")
INSIDE: dict[Address, int] = {ADDRESS: 1}
NOBODY: dict[Address, int] = {}


def setup_of(*ids: str, stamps: dict[str, object] | None = None) -> Setup:
    """A setup in which each of the containers has the same address."""
    endpoints = (Endpoint(key, "nn", "podman", ((ADDRESS, SUBNET),)) for key in ids)
    return Setup(FirewallDriver.NFTABLES, {}, tuple(endpoints), stamps=stamps or {})


STATE = setup_of("aa")


def census(container: Container, before: Census | None = None, now: float = 100.0) -> Census:
    """The census after podman listed one container that lives, with the state stamped `1`."""
    return (before or Census()).next({container.id: container}, Asked(1), ["aa"], (), now)


def found(
    census: Census,
    setup: Setup = STATE,
    *,
    stamp: object = 1,
    inside: dict[Address, int] | None = None,
) -> dict[str, Container]:
    """The containers, by podman's list and by the kernel."""
    seen = census.at(stamp, setup)
    return seen | by_kernel(setup, seen, inside, told=census.asked is not None)


def runs(census: Census, *, stamp: object = 1, inside: dict[Address, int] | None = None) -> bool:
    """Whether rules of the container are expected."""
    seen = found(census, stamp=stamp, inside=inside)
    return bool(living(STATE, seen).endpoints)


def test_who_has_an_address_in_a_namespace_lives() -> None:
    """Ended, only created, or not listed at all: by the kernel's word he lives all the same."""
    for listed in ({"aa": ENDED}, {"aa": CREATED}, {}):
        asked = Census(listed, Asked(1))
        assert runs(asked, inside=INSIDE)
        assert found(asked, inside=INSIDE)["aa"].state is ContainerState.UNLISTED


def test_who_is_neither_listed_nor_inside_is_dead() -> None:
    """podman and the kernel agree: nothing is expected of him, and he counts as not running."""
    for listed in ({"aa": ENDED}, {"aa": CREATED}, {}):
        asked = Census(listed, Asked(1))
        assert not runs(asked, inside=NOBODY)
        gone = ContainerState.ENDED if listed else ContainerState.GONE
        assert found(asked, inside=NOBODY)["aa"].state is gone


def test_whom_podman_lists_as_running_no_kernel_declares_dead() -> None:
    """A container whose link was lost runs: its rules are expected, and nobody asks the kernel."""
    asked = Census({"aa": RUNNING}, Asked(1))
    assert in_doubt(STATE, asked.at(1, STATE)) == frozenset()
    assert runs(asked, inside=NOBODY)
    assert found(asked, inside=NOBODY)["aa"].state is ContainerState.UP


def test_a_kernel_that_does_not_tell_declares_nobody_dead() -> None:
    """Unknown is not dead."""
    assert runs(Census({}, Asked(1)), inside=None)


def test_nobody_is_dead_by_a_list_from_before_his_start() -> None:
    """State written anew since podman was asked is a container's that may just have started."""
    asked = Census({"aa": ENDED}, Asked(1, {"aa": "old"}))
    fresh, same = setup_of("aa", stamps={"aa": "new"}), setup_of("aa", stamps={"aa": "old"})
    assert found(asked, fresh, stamp=2, inside=NOBODY)["aa"].state is ContainerState.PRESUMED
    assert found(asked, same, stamp=2, inside=NOBODY)["aa"].state is ContainerState.ENDED
    unlisted = Census({}, Asked(1, {"aa": "old"}))
    assert "aa" not in found(unlisted, fresh, stamp=2, inside=NOBODY)
    assert found(unlisted, same, stamp=2, inside=NOBODY)["aa"].state is ContainerState.GONE
    assert "aa" not in found(Census({}, Asked(1)), fresh, stamp=2, inside=NOBODY)


def test_after_a_restart_the_dead_are_not_expected_and_not_told() -> None:
    """Before podman was asked the last list gives names; nobody removes state because of it."""
    names = Census({"bb": Container("bb", "other", ContainerState.ENDED)})
    seen = found(names, setup_of("aa"), inside=NOBODY)
    assert seen["aa"].state is ContainerState.JUST_ENDED
    assert living(setup_of("aa"), seen).endpoints == ()
    assert living(setup_of("aa"), found(names, setup_of("aa"), inside=INSIDE)).endpoints


@pytest.mark.parametrize("listed", [{"aa": ENDED}, {"aa": CREATED}, {}])
def test_before_podman_is_asked_who_is_dead_has_just_ended(listed: dict[str, Container]) -> None:
    """Whatever the last list says of him, and though he is not on it."""
    assert found(Census(listed), inside=NOBODY)["aa"].state is ContainerState.JUST_ENDED


@pytest.mark.parametrize("state", ContainerState)
def test_only_an_end_is_out_of_date_by_a_new_start(state: ContainerState) -> None:
    """Of state written anew since podman was asked; whatever else it said is taken up as it is."""
    asked = Census({"aa": replace(RUNNING, state=state)}, Asked(1, {"aa": "old"}))
    fresh, same = setup_of("aa", stamps={"aa": "new"}), setup_of("aa", stamps={"aa": "old"})
    later = ContainerState.PRESUMED if state is ContainerState.ENDED else state
    assert asked.at(2, fresh)["aa"].state is later
    assert asked.at(2, same)["aa"].state is state


def test_whom_podman_does_not_list_goes_by_the_beginning_of_his_id() -> None:
    """A container's id is shortened as podman does it; a build's, which is a name, is whole."""
    for key, name in (("c" * 64, "c" * 12), ("buildah-buildah378019839",) * 2):
        gone = Census({}, Asked(1)).at(1, setup_of(key))[key]
        assert (gone.name, gone.state) == (name, ContainerState.GONE)


def test_one_namespace_makes_no_two_of_one_address_live() -> None:
    """Who has a dead container's address now does not bring that one back to life."""
    both = setup_of("aa", "bb")
    asked = Census({"bb": replace(RUNNING, id="bb")}, Asked(1))
    assert not found(asked, both, inside={ADDRESS: 1})["aa"].is_running
    assert found(asked, both, inside={ADDRESS: 2})["aa"].is_running


def test_a_container_may_be_starting() -> None:
    """podman calls it ended or created while it sets its network up: it is asked again."""
    for listed in (ENDED, CREATED):
        asked = census(listed)
        assert asked.again_at == 100.0 + CENSUS_AGAIN_S
        assert census(RUNNING, asked).again_at is None


def test_of_the_dead_nobody_is_asked_again() -> None:
    """Who does not live by the kernel is in nobody's doubt."""
    assert Census().next({"aa": ENDED}, Asked(1), (), (), 100.0).again_at is None


def test_podman_is_not_asked_for_ever() -> None:
    """The pauses grow, and come to an end; a change of the rules makes podwatch ask once more."""
    asked, now, pauses = census(CREATED), 100.0, []
    while asked.again_at is not None:
        pauses.append(asked.again_at - now)
        now = asked.again_at
        asked = census(CREATED, asked, now)
    assert pauses[0] == CENSUS_AGAIN_S
    assert pauses == sorted(pauses)
    assert sum(pauses) < 2 * CENSUS_AGAIN_MAX_S
    doubted = asked.doubted(now)
    assert doubted.again_at == now + CENSUS_AGAIN_S
    assert census(CREATED, doubted, now).again_at is None


def test_another_container_does_not_make_podman_be_asked_more_often() -> None:
    """Of whom nothing is new nothing new is asked, however often others start and stop."""
    first = Census().next({}, Asked(1, {"aa": "a"}), ["aa"], (), 100.0)
    second = first.next({}, Asked(2, {"aa": "a", "bb": "b"}), ["aa"], (), 200.0)
    assert second.again_at == 200.0 + 2 * CENSUS_AGAIN_S
    anew = second.next({}, Asked(3, {"aa": "anew"}), ["aa"], (), 300.0)
    assert anew.again_at == 300.0 + CENSUS_AGAIN_S


def test_only_what_is_created_is_doubted() -> None:
    """A change of the rules makes nobody ask podman when every container is known to run."""
    assert census(RUNNING).doubted(100.0).again_at is None


def test_who_surely_runs() -> None:
    """Who was listed up with the state as it is, by a process that is there, whatever others do."""
    web = replace(RUNNING, pid=7)
    both = Census({"aa": web, "bb": replace(CREATED, id="bb")}, Asked(1), frozenset({"bb"}))
    assert both.running(1, {7}) == {"aa"}
    assert both.running(2, {7}) == both.running(1, {8}) == frozenset()
    assert Census({"aa": web}).running(None, {7}) == frozenset()


def test_a_process_that_was_there_and_is_not_has_ended() -> None:
    """One that was not seen alive is nobody's word, nor is one of before a new start."""
    web = replace(RUNNING, pid=7)
    asked = Census({"aa": web}, Asked(1, {"aa": "old"}), alive=frozenset({7}))
    fresh, same = setup_of("aa", stamps={"aa": "new"}), setup_of("aa", stamps={"aa": "old"})
    assert list(asked.ended(1, STATE, {8})) == ["aa"]
    assert list(asked.ended(1, STATE, {7})) == []
    assert list(asked.ended(2, fresh, ())) == []
    assert list(asked.ended(2, same, ())) == ["aa"]
    assert list(replace(asked, alive=frozenset()).ended(1, STATE, ())) == []


class World:
    """Containers that start and end, in podman's store or another, their state, and what is known.

    Nothing in it has a clock: podman is asked, and netavark's state is read, in any order.
    """

    def __init__(self) -> None:
        self.writes = 0
        self.listed: dict[str, bool] = {}
        self.state: dict[str, int] = {}
        self.alive: set[str] = set()
        self.census = Census()

    def start(self, key: str, *, listed: bool) -> None:
        self.writes += 1
        self.state[key] = self.writes
        self.alive.add(key)
        if listed:
            self.listed[key] = True

    def stop(self, key: str, *, teardown: bool) -> None:
        self.alive.discard(key)
        if key in self.listed:
            self.listed[key] = False
        if teardown:
            self.state.pop(key, None)

    def ask(self, asked: Asked) -> None:
        seen = {
            key: Container(key, key, ContainerState.UP if up else ContainerState.ENDED)
            for key, up in self.listed.items()
        }
        self.census = self.census.next(seen, asked, (), (), 0.0)

    def asked(self) -> Asked:
        return Asked(tuple(sorted(self.state.items())), dict(self.state))

    def expected(self) -> tuple[set[str], set[str]]:
        """Whose rules are expected, and whose state is said to be a dead one's."""
        setup = Setup(
            FirewallDriver.NFTABLES,
            {},
            tuple(
                Endpoint(key, "nn", "podman", ((address_of(key), SUBNET),)) for key in self.state
            ),
            stamps=dict(self.state),
        )
        inside = {address_of(key): 1 for key in self.alive}
        seen = self.census.at(self.asked().stamp, setup)
        seen |= by_kernel(setup, seen, inside, told=self.census.asked is not None)
        dead = {key for key in self.state if key in seen and seen[key].is_dead}
        return {each.container_id for each in living(setup, seen).endpoints}, dead


def address_of(key: str) -> Address:
    """A container's address."""
    return SUBNET[2 + ord(key[0])]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "start elsewhere", "stop", "die", "ask", "answer", "restart"]),
        st.sampled_from("abcd"),
    ),
    max_size=30,
)


@given(STEPS)
def test_whoever_lives_is_expected_and_never_called_dead(
    steps: Collection[tuple[str, str]],
) -> None:
    """Whatever starts, ends and is asked in whatever order, by whatever clock.

    And once podman has answered with the state as it is, nobody but the living is expected.
    """
    world = World()
    asked = world.asked()
    for step, key in steps:
        if step.startswith("start"):
            world.start(key, listed=step == "start" or key in world.listed)
        elif step in ("stop", "die"):
            world.stop(key, teardown=step == "stop")
        elif step == "ask":
            asked = world.asked()
        elif step == "answer":
            world.ask(asked)
        else:
            world.census = Census(world.census.containers)
        wanted, dead = world.expected()
        assert world.alive <= wanted
        assert not dead & world.alive
    world.ask(world.asked())
    wanted, dead = world.expected()
    assert wanted == world.alive
    assert dead == world.state.keys() - world.alive
