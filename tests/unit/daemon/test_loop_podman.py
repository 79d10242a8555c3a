# SPDX-License-Identifier: Apache-2.0
"""A look waits for podman where all that was said may be its own doing, and for nothing else."""

from collections.abc import Callable

import pytest

from podwatch.adapters.netlink import Change
from podwatch.daemon.loop import _PODMAN_S, _STOPPED_S
from podwatch.words.cause import Writer
from tests.unit.daemon.fakes import BEGAN_S, OK, TABLE, FakeHost, lost

AT_S = BEGAN_S + 5
NFT = Writer("nft", 7)


def sets_up(host: FakeHost) -> Callable[[], None]:
    """netavark adds a container's rules."""
    return lambda: host.hints.on_change(Change(1, NFT, frozenset({TABLE})))


def test_a_container_that_starts_is_looked_at_once_podman_is_done() -> None:
    """However much is heard of it; netavark's rules and links come one after the other."""
    host = FakeHost(OK, works=[AT_S + 0.2])
    veth = lambda: host.hints.on_link("veth0 was set up", None)  # noqa: E731
    host.drive(10, {5: sets_up(host), 5.1: veth})
    assert len(host.looks_at) == 2
    assert AT_S + 0.2 <= host.looks_at[1] < AT_S + 0.25


def test_a_podman_that_takes_its_time_is_not_waited_for() -> None:
    """It may be waiting for a lease, or hang."""
    host = FakeHost(OK, works=[AT_S + 60])
    host.drive(10, {5: sets_up(host)})
    assert AT_S + _PODMAN_S <= host.looks_at[1] < AT_S + _PODMAN_S + 0.05


@pytest.mark.parametrize("what", ["deleted", "sysctl", "others after", "lost before"])
def test_nothing_else_waits(what: str) -> None:
    """Neither what podman does not do, nor anything while something is lost."""
    host = FakeHost(lost("web") if what == "lost before" else OK, works=[AT_S + 60], covered=False)
    act = sets_up(host)
    if what == "deleted":
        tables = frozenset({TABLE})
        act = lambda: host.hints.on_change(Change(1, NFT, tables, tables))  # noqa: E731
    elif what == "sysctl":
        act = host.hints.on_sysctl
    acts = {5.0: act} | ({5.1: host.hints.on_sysctl} if what == "others after" else {})
    host.drive(5.3, acts, dry_run=True)
    since = [at for at in host.looks_at if at >= AT_S]
    assert since, "it was looked at while podman was at work"
    assert since[0] <= AT_S + (0.15 if what == "others after" else 0.05)


def test_a_container_that_stops_is_looked_at_when_podman_has_said_who_runs() -> None:
    """One look is enough for both."""
    host = FakeHost(OK, works=[AT_S + 0.2], fewer=True)
    host.drive(10, {5: sets_up(host), 5.8: host.hints.on_census})
    assert host.looks_at[1:] == [AT_S + 0.8]
    assert host.worked_out_at[1:] == [AT_S + 0.8]


def test_a_podman_that_says_nothing_after_a_stop_is_not_waited_for() -> None:
    """It may fail."""
    host = FakeHost(OK, works=[AT_S + 0.2], fewer=True)
    host.drive(10, {5: sets_up(host)})
    assert AT_S + _STOPPED_S <= host.looks_at[1] < AT_S + _STOPPED_S + 0.05


def test_who_comes_after_one_that_stopped_is_looked_at() -> None:
    """As soon as podman is done with him: his rules are copied then."""
    host = FakeHost(OK, works=[AT_S + 0.2], fewer=True)

    def comes() -> None:
        host.fewer, host.works = False, [AT_S + 0.6]
        sets_up(host)()

    host.drive(10, {5: sets_up(host), 5.4: comes})
    assert AT_S + 0.6 <= host.looks_at[1] < AT_S + 0.65


def test_a_link_that_goes_while_podman_rests_is_looked_at_at_once() -> None:
    """That one container less is there is podman's doing only where podman was seen at work."""
    host = FakeHost(OK, fewer=True)
    host.drive(10, {5: lambda: host.hints.on_link("veth0 was deleted", None)})
    assert host.looks_at[1] == AT_S


def test_ways_wait_for_podman_to_say_who_runs() -> None:
    """Where it is being asked, and nothing is lost: the look that follows has them."""
    host = FakeHost(OK, is_asking=True)
    host.drive(10, {5: sets_up(host)})
    assert len(host.looks_at) == 2
    assert host.worked_out_at == [BEGAN_S]
    host = FakeHost(OK, is_asking=True)
    host.drive(10, {5: host.hints.on_sysctl})
    assert host.worked_out_at == [BEGAN_S, AT_S]
