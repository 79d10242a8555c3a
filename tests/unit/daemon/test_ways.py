# SPDX-License-Identifier: Apache-2.0
"""When the daemon works ways out: where something has changed that they are told from."""

from dataclasses import replace

from podwatch.daemon.ways import Ways
from podwatch.decide.judge import judge
from podwatch.words.network import Container, ContainerState
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import Mark
from tests.unit.decide.open_host import HEALTHY, WEB, ruleset


class Asked:
    """The kernel, which says that nobody is in a network namespace; `count` is how often."""

    count = 0

    def with_inside(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with that."""
        self.count += 1
        return replace(snapshot, inside={})


def test_what_has_not_changed_is_not_worked_out_again() -> None:
    """The very same ways come back, although the look is another, of another generation."""
    ways = Ways(Asked().with_inside)
    verdict = judge(HEALTHY)
    first = ways.of(HEALTHY, verdict)
    again = ways.of(replace(HEALTHY, generation=7, changes=3, stamp="new", paused="by me"), verdict)

    assert first is again
    assert {way.mark for way in first} == {Mark.OPEN}
    closed = replace(HEALTHY, rules=Ruleset(present=False))
    assert {way.mark for way in ways.of(closed, judge(closed))} == {Mark.BROKEN}


def test_what_podman_is_at_closes_no_way() -> None:
    """While it works the ways are those of before, of the containers that still run."""
    ways = Ways(Asked().with_inside)
    busy = replace(HEALTHY, busy="podman is at work", rules=Ruleset(present=False))
    assert ways.of(busy, judge(busy)) == ()

    before = ways.of(HEALTHY, judge(HEALTHY))
    assert ways.of(busy, judge(busy)) == before
    gone = replace(busy, containers={WEB: Container(WEB, "web", ContainerState.ENDED)})
    assert {way.container for way in ways.of(gone, judge(gone))} == {""}
    assert ways.of(replace(HEALTHY, setup=None), judge(replace(HEALTHY, setup=None))) == ()


def test_the_kernel_is_asked_where_something_cannot_be_told_without() -> None:
    """A rule that takes a port first may be a container's that podwatch does not know."""
    asked = Asked()
    ways = Ways(asked.with_inside)
    ways.of(HEALTHY, judge(HEALTHY))
    assert asked.count == 0

    rules = ruleset()
    name = "NETAVARK-HOSTPORT-DNAT"
    chain = Chain("", ("tcp dport 8080 dnat ip to 10.88.0.9:80", *rules.chains[name].rules))
    taken = replace(HEALTHY, rules=replace(rules, chains={**rules.chains, name: chain}))
    found = ways.of(taken, judge(taken))
    assert asked.count == 1
    assert Mark.UNKNOWN not in {way.mark for way in found}
    assert Mark.BROKEN in {way.mark for way in found}


def test_ways_are_told_of_whom_the_judge_takes_for_running() -> None:
    """A container that has ended has none, though its state is still there."""
    ended = replace(HEALTHY, containers={WEB: Container(WEB, "web", ContainerState.ENDED)})
    assert ways_of(ended) == []
    assert len(ways_of(HEALTHY)) == 7


def ways_of(snapshot: Snapshot) -> list[str]:
    """The titles of the ways."""
    return [way.title for way in Ways(Asked().with_inside).of(snapshot, judge(snapshot))]
