# SPDX-License-Identifier: Apache-2.0
"""A glance at links and name server: what it is for, and where it gives way to a look."""

from collections.abc import Callable

import pytest

from podwatch.daemon.config import Config
from podwatch.daemon.pause import Pause
from podwatch.daemon.settings import Restore
from podwatch.words.means import Method, Outcome
from podwatch.words.verdict import Missing, MissingKind, State, Verdict
from tests.unit.daemon.fakes import BEGAN_S, OK, FakeHost, lost

DOWN = Verdict(
    State.LOST, (Missing(MissingKind.LINK, "podman1 is down", "podman1", place="podman1"),)
)
MENDED = Outcome(Method.LINKS, done=True, detail="")


def rings(host: FakeHost, told: str = "podman1 was set down") -> Callable[[], None]:
    """A link is changed."""
    return lambda: host.hints.on_link(told, None)


def test_a_link_is_put_right_before_anything_else_is_looked_at() -> None:
    """Then the loss is reported, with its cause, and a look proves that it is back."""
    host = FakeHost(OK, glances=DOWN, outcome=MENDED)
    host.drive(10, {5: rings(host)})
    assert host.done[2:] == [
        *("glance", "links", "report podman1 is down by podman1 was set down"),
        "report links done",
        *("look", "report nothing by nobody"),
    ]
    assert host.looks_at[1] == BEGAN_S + 5
    assert host.copies == [True, True], "a glance saw no rules to copy"


def test_a_name_server_is_started_before_anything_else_is_looked_at() -> None:
    """Its end is heard; nobody's names resolve until it runs again."""
    ended = Missing(MissingKind.NAMES, "aardvark-dns does not run", "")
    started = Outcome(Method.NAMES, done=True, detail="")
    host = FakeHost(OK, glances=Verdict(State.LOST, (ended,)), outcome=started)
    host.drive(10, {5: lambda: host.hints.on_names("aardvark-dns (7) ended")})
    assert host.done[2:5] == [
        *("glance", "names", "report aardvark-dns does not run by aardvark-dns (7) ended"),
    ]


def test_where_a_glance_finds_nothing_there_is_a_look() -> None:
    """What changed may be of another kind."""
    host = FakeHost(OK)
    host.drive(10, {5: rings(host)})
    assert host.done[2:4] == ["glance", "look"]


def test_other_hints_make_looks() -> None:
    """A glance tells nothing of what they are about."""
    host = FakeHost(OK, glances=DOWN)
    host.drive(10, {5: host.hints.on_sysctl})
    assert "glance" not in host.done


@pytest.mark.parametrize("verdict", [lost("web"), DOWN], ids=["rules", "links"])
def test_a_host_that_lacked_something_is_looked_at_whole(verdict: Verdict) -> None:
    """What is known of it is not enough to go by."""
    host = FakeHost(verdict, glances=DOWN, covered=False)
    host.drive(0.05, {0.04: rings(host)})
    assert "glance" not in host.done


def test_nothing_is_put_right_at_a_glance_in_a_dry_run_or_in_another_pause() -> None:
    """What a look said of the pause has to be so still."""
    dry = FakeHost(OK, glances=DOWN)
    dry.drive(10, {5: rings(dry)}, dry_run=True)
    assert "glance" not in dry.done
    paused = FakeHost(OK, glances=DOWN)

    def pause() -> None:
        paused.pause = Pause(0.0, 4e9)
        rings(paused)()

    paused.drive(10, {5: pause})
    assert "glance" not in paused.done


def test_a_repair_that_may_not_be_made_is_left_to_a_look() -> None:
    """With restore.links = false the look tells of the loss."""
    host = FakeHost(OK, glances=DOWN, config=Config(restore=Restore(links=False)))
    host.drive(10, {5: rings(host)})
    assert host.done[2:4] == ["glance", "look"]


def test_where_packets_go_is_asked_once_for_many_changes_of_routes() -> None:
    """A look is taken only where they go another way than before."""
    host = FakeHost(OK)
    host.drive(10, {5: host.hints.on_route, 5.2: host.hints.on_route, 7: host.hints.on_route})
    assert host.asked_routes_at == [BEGAN_S + 5.5, BEGAN_S + 7.5]
    assert len(host.looks_at) == 1
    astray = FakeHost(OK, is_astray=True)
    astray.drive(10, {5: astray.hints.on_route})
    assert astray.looks_at == [BEGAN_S, BEGAN_S + 5.5]


@pytest.mark.parametrize("enough", [True, False])
def test_after_a_census_the_containers_alone_are_looked_at(*, enough: bool) -> None:
    """Where anything else may be another, everything is."""
    host = FakeHost(OK, census_is_enough=enough)
    host.drive(10, {5: host.hints.on_census})
    assert host.done[2] == "containers alone"
    assert host.done[-1].startswith("report nothing")
    assert len(host.looks_at) == (1 if enough else 2)


@pytest.mark.parametrize("comes_first", [True, False])
def test_a_census_beside_another_hint_makes_a_look(*, comes_first: bool) -> None:
    """What the other one is about is not known yet, whichever came first."""
    host = FakeHost(OK, census_is_enough=True)

    def ring_both() -> None:
        first, second = host.hints.on_census, host.hints.on_sysctl
        (first if comes_first else second)()
        (second if comes_first else first)()

    host.drive(10, {5: ring_both})
    assert "containers alone" not in host.done


def test_a_census_in_another_pause_makes_a_look() -> None:
    """What was seen then was seen without it."""
    host = FakeHost(OK, census_is_enough=True)

    def pause() -> None:
        host.pause = Pause(0.0, 4e9)
        host.hints.on_census()

    host.drive(10, {5: pause})
    assert "containers alone" not in host.done
