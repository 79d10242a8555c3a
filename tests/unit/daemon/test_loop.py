# SPDX-License-Identifier: Apache-2.0
"""The real loop on a made-up host: what it does about a loss, when it looks, what it reports."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from podwatch.adapters.netlink import Change
from podwatch.daemon.config import Config
from podwatch.daemon.pause import Pause
from podwatch.daemon.reporting import reporting
from podwatch.daemon.settings import Look, Restore
from podwatch.words.cause import Writer
from podwatch.words.errors import StateUnreadable
from podwatch.words.firewalld_event import FirewalldEvent
from podwatch.words.means import Method, Outcome
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.daemon.fakes import BEGAN_S, OK, TABLE, FakeHost, lost, now, run

INTERVAL_S = Look().interval
ABSENT = "by while podwatch was not running"
WEB = lost("web")
NFT = Writer("nft", 7)


def flush(host: FakeHost, *, writer: Writer = NFT, missing: str = "") -> Callable[[], None]:
    """Somebody deletes something of the networks' table, so that this is missing."""

    def act() -> None:
        tables = frozenset({TABLE})
        host.hints.on_change(Change(1, writer, tables, tables))
        if missing:
            host.verdict = lost(missing)

    return act


def test_an_idle_host_is_looked_at_now_and_then() -> None:
    """Nothing is missing and nobody says anything: one look at each interval, and a copy."""
    host = FakeHost(OK)
    assert host.drive(2.5 * INTERVAL_S) == [
        *("look", f"report nothing {ABSENT}"),
        *("look", "report nothing by nobody") * 2,
    ]
    assert host.looks_at == [BEGAN_S, BEGAN_S + INTERVAL_S, BEGAN_S + 2 * INTERVAL_S]
    assert host.copies == [True] * 3


def test_a_loss_is_replayed_from_the_copy() -> None:
    """Within the moment it is heard of, with its cause; a look proves that it is back."""
    host = FakeHost(OK, {"replay": OK})
    host.drive(10, {5: flush(host, missing="web")})
    assert host.done[2:] == [
        *("look", "replay", "report web by nft (pid 7)", "report replay done"),
        *("look", "report nothing by nobody"),
    ]
    assert host.looks_at[1] == BEGAN_S + 5
    assert host.copies[1:] == [True], "nothing is copied while it is put back"


def test_without_a_copy_what_is_lost_is_reloaded() -> None:
    """Once nobody has changed anything for a while; the loss is reported before it begins."""
    host = FakeHost(OK, {"reload": OK}, covered=False)
    host.drive(10, {5: flush(host, missing="web")})
    assert host.done[2:] == [
        "look",
        *("look", "reload web", "report web by nft (pid 7)", "report reload done"),
        *("look", "report nothing by nobody"),
    ]
    assert BEGAN_S + 5.3 <= host.looks_at[2] < BEGAN_S + 5.4


def test_what_a_reload_leaves_missing_is_escalated() -> None:
    """All containers are reloaded then; what nothing helps is tried at growing intervals."""
    host = FakeHost(WEB, covered=False)
    done = host.drive(3600)
    tried = [what for what in done if what.startswith(("re", "es")) and "report" not in what]
    assert tried[:2] == ["reload web", "escalate web other"]
    assert 5 < len(tried) < 60


def test_each_means_has_its_turn() -> None:
    """A copy that does not help is tried again after a reload; what that leaves is escalated."""
    host = FakeHost(WEB, {"escalate": OK})
    done = host.drive(30)
    tried = [what.split()[0] for what in done if what.startswith(("replay", "reload", "escalate"))]
    assert tried == ["replay", "reload", "replay", "escalate"]
    assert done[-1].startswith("report nothing")


@pytest.mark.parametrize("yields", [True, False])
def test_a_repair_that_fails_is_reported_behind_its_loss(*, yields: bool) -> None:
    """Also where it fails at once, as while another podwatch holds the lock."""
    failed = Outcome(Method.REPLAY, done=False, detail="another podwatch repairs")
    host = FakeHost(WEB, outcome=failed, in_repairs=[lambda: None] * 9 * yields)
    assert host.drive(0.1)[:4] == [
        *("look", "replay"),
        *(f"report web {ABSENT}", "report replay another podwatch repairs"),
    ]


@pytest.mark.parametrize(
    ("repair_s", "covered", "reported_s"),
    [(0.05, True, 0.05), (0.5, True, 0.1), (0.5, False, 0.0)],
    ids=["quick", "slower than it ought to be", "a reload"],
)
def test_a_loss_is_reported_when_its_quick_repair_is_over(
    repair_s: float, reported_s: float, *, covered: bool
) -> None:
    """A tenth of a second later at most; a repair by podman takes its time, so before it."""
    host = FakeHost(WEB, {"replay": OK, "reload": OK}, covered=covered, repairs_s=repair_s)
    host.drive(5)
    repaired_look = host.looks_at[-2]
    assert host.reports_at[-2] - repaired_look == pytest.approx(reported_s, abs=0.001)


def test_an_outdated_repair_is_no_failure() -> None:
    """Somebody was faster: podwatch looks again at once, and reports the loss alone."""
    outdated = Outcome(Method.REPLAY, done=False, detail="", outdated=True)
    host = FakeHost(WEB, outcome=outdated)

    def faster() -> None:
        host.verdict = OK

    host.in_repairs = [faster]
    done = host.drive(1)
    assert done == ["look", "replay", f"report web {ABSENT}", "look", "report nothing by nobody"]
    assert host.looks_at == [BEGAN_S] * 2


def test_a_hint_in_the_middle_of_a_look_is_for_the_next_one() -> None:
    """The look that goes on reports what it saw; the next one what was done, and by whom."""
    host = FakeHost(OK, {"replay": OK})
    host.in_looks = [lambda: None, flush(host, missing="web")]
    done = host.drive(10, {5: host.hints.on_sysctl})
    assert done[2:] == [
        *("look", "report nothing by nft (pid 7)"),
        *("look", "replay", "report web by nft (pid 7)", "report replay done"),
        *("look", "report nothing by nobody"),
    ]


def test_what_a_look_goes_by_stays_until_it_is_over() -> None:
    """Containers are doubted and the rules of others are noted before the step, not during it."""
    host = FakeHost(OK)
    seen: list[tuple[list[float], list[frozenset[str]]]] = []

    def ring() -> None:
        flush(host)()
        host.hints.on_change(Change(2, NFT, frozenset({"ip x"}), frozenset({"ip x"})))
        seen.append(([*host.doubted], [*host.others]))

    host.in_looks = [ring]
    host.drive(1)
    assert seen == [([], [])]
    assert host.doubted == [BEGAN_S]
    assert host.others == [frozenset({"ip x"})]


def test_the_rules_of_others_are_looked_at_when_they_are_due() -> None:
    """Not before; and once."""
    host = FakeHost(OK)

    def others() -> None:
        host.due_at = now() + 5
        host.hints.on_change(Change(2, NFT, frozenset({"ip x"})))

    host.drive(100, {10: others})
    assert host.looks_at == [BEGAN_S, BEGAN_S + 15]


def test_while_somebody_is_at_it_no_reload_begins() -> None:
    """Each change begins the wait for quiet anew, also one in the middle of a look."""
    host = FakeHost(WEB, covered=False)
    host.drive(2, {at / 10: flush(host) for at in range(1, 15)})
    reload = host.done.index("reload web")
    assert host.looks_at[host.done[:reload].count("look") - 1] >= BEGAN_S + 1.4 + 0.3


@pytest.mark.parametrize("works", [True, False])
def test_netavark_s_own_units_have_their_turn_after_firewalld(*, works: bool) -> None:
    """Where there are any; the look hears firewalld, which has just said something."""
    host = FakeHost(OK, covered=False, has_netavarks_units=works)

    def reload() -> None:
        host.verdict = WEB
        host.hints.on_firewalld(FirewalldEvent.RELOADED)

    done = host.drive(10, {5: reload})
    assert done[2] == "look and hear firewalld"
    began = done.index("reload web")
    reloaded = host.looks_at[sum(what.startswith("look") for what in done[:began]) - 1]
    assert reloaded - BEGAN_S - 5 == pytest.approx(1.5 if works else 0.3, abs=0.05)
    assert "report web by firewalld reloaded" in done


def test_netavark_s_own_units_have_no_turn_without_firewalld() -> None:
    """A change of somebody else's is waited for no longer than anywhere."""
    host = FakeHost(OK, covered=False, has_netavarks_units=True)
    done = host.drive(10, {5: flush(host, missing="web")})
    looks = done[: done.index("reload web")].count("look")
    assert host.looks_at[looks - 1] - BEGAN_S - 5 == pytest.approx(0.3, abs=0.05)


def test_one_s_own_transactions_are_no_news() -> None:
    """A replay's are told by their number from those of others, who use the same program."""
    replayed = Outcome(Method.REPLAY, done=True, detail="", transactions=1)
    host = FakeHost(WEB, {"replay": OK}, replayed)

    def commit() -> None:
        host.in_socket = [flush(host, writer=Writer("iptables", 1))]

    host.in_repairs = [commit]
    done = host.drive(1)
    assert host.in_socket == [], "read while podwatch still knows that it is its own"
    assert done[-2:] == ["look", "report nothing by nobody"]
    assert done.count("look") == 2


@pytest.mark.parametrize(("committed", "replays"), [(1, 1), (2, 2)])
def test_whose_transactions_there_were_during_a_replay(committed: int, replays: int) -> None:
    """One beside podwatch's own is somebody's who undid it: it is replayed again. What somebody
    committed before the look counts for nobody's."""
    replayed = Outcome(Method.REPLAY, done=True, detail="", transactions=1)
    host = FakeHost(OK, {"replay": WEB, "reload": OK}, replayed, repairs_s=0.5, looks_s=0.125)

    def commit() -> None:
        host.in_socket = [flush(host, writer=Writer("iptables", 1))] * committed

    host.in_repairs = [commit]
    done = host.drive(10, {5: flush(host), 6: flush(host, missing="web")})
    assert done[: done.index("reload web")].count("replay") == replays


def test_who_undoes_a_replay_is_to_blame_for_the_next_loss() -> None:
    """What is undone during a repair is put back again, though the same means was just tried."""
    host = FakeHost(WEB, {"replay": lost("db")})

    def leave() -> None:
        host.leaves = {"replay": OK}

    host.in_repairs = [flush(host), leave]
    done = host.drive(10)
    assert done[:8] == [
        *("look", "replay", f"report web {ABSENT}", "report replay done"),
        *("look", "replay", "report db by nft (pid 7)", "report replay done"),
    ]


def test_what_netavark_does_in_a_reload_is_nobody_s() -> None:
    """It commits under a name of nft's: nobody is blamed for it."""
    host = FakeHost(WEB, {"reload": OK}, covered=False)
    host.in_repairs = [flush(host)]
    assert host.drive(10)[-2:] == ["look", "report nothing by nobody"]


def test_a_loss_that_may_pass_is_not_reported_at_once() -> None:
    """netavark writes its state before its rules: what is there a moment later was never lost."""
    host = FakeHost(OK, covered=False)

    def set_up() -> None:
        host.verdict = OK
        host.hints.on_sysctl()

    host.drive(10, {5: flush(host, missing="web"), 5.2: set_up})
    assert [what for what in host.done[2:] if what != "look"] == ["report nothing by nft (pid 7)"]


def test_in_a_dry_run_nothing_is_done() -> None:
    """The loss is reported."""
    host = FakeHost(WEB)
    done = host.drive(5, dry_run=True)
    assert "replay" not in done
    assert done[:2] == ["look", f"report web {ABSENT}"]


def test_while_it_is_paused_nothing_is_done_until_the_pause_ends() -> None:
    """What was lost meanwhile is put back then."""
    blocked = (Blocked(BlockedKind.PAUSED, "paused"),)
    host = FakeHost(replace(WEB, blocked=blocked), {"replay": OK})
    host.pause = Pause(0.0, 4e9, "new firewall")

    def end() -> None:
        host.pause, host.verdict = None, WEB
        host.hints.look_now("a pause began or ended")

    done = host.drive(60, {30: end})
    first = done.index("replay")
    assert host.looks_at[done[:first].count("look") - 1] == BEGAN_S + 30


def test_a_pause_in_the_middle_of_a_look_makes_it_void() -> None:
    """Whoever paused breaks what it has seen: nothing of it is reported or repaired."""
    host = FakeHost(WEB)

    def pause() -> None:
        host.pause, host.verdict = Pause(0.0, 4e9), OK

    host.in_looks = [pause]
    assert host.drive(1)[:3] == ["look", "look", f"report nothing {ABSENT}"]


def test_a_pause_s_end_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event tells of it."""
    monkeypatch.setattr("podwatch.daemon.pause.time.time", lambda: 100.0)
    host = FakeHost(OK, pause=Pause(0.0, 120.0))
    host.drive(25)
    assert host.looks_at == [BEGAN_S, pytest.approx(BEGAN_S + 20, abs=0.1)]


@pytest.mark.parametrize(("urgent", "times"), [(True, 1), (False, 4)])
def test_who_rings_all_the_time_does_not_keep_a_processor_busy(*, urgent: bool, times: int) -> None:
    """After a look podwatch rests for as long as it took, and longer where nothing is urgent."""
    cost_s = 0.002

    def burn() -> None:
        ends_at = time.process_time() + cost_s
        while time.process_time() < ends_at:
            pass

    host = FakeHost(OK, in_looks=[burn])
    host.drive(1, {0.0001: host.hints.on_sysctl if urgent else host.hints.on_census})
    first, second = host.looks_at
    assert times * cost_s <= second - first < 1


def test_podman_is_asked_after_a_look_and_when_a_container_starts_or_ends() -> None:
    """Where that is due, which is the containers' to say; and once more when they say so."""
    host = FakeHost(OK, again_at=BEGAN_S + 8)
    host.drive(10, {5: host.hints.on_runtime})
    assert host.asked_soon_at == [BEGAN_S, BEGAN_S + 5, BEGAN_S + 8]
    assert host.looks_at == [BEGAN_S, BEGAN_S + 8]


def test_a_new_configuration_counts_from_the_next_step_on() -> None:
    """The interval, and whether anything is repaired."""
    host = FakeHost(WEB)

    async def body() -> None:
        loop = host.loop()
        assert loop.limits.limit == Config().restore.limit
        loop.configure(Config(restore=Restore(limit=3), look=Look(interval=11)))
        assert loop.limits.limit == 3
        assert host.config.look.interval == 11

    run(body())


def test_it_is_alive_while_no_look_is_overdue() -> None:
    """A minute after the interval it is."""
    host = FakeHost(WEB)

    async def body() -> None:
        loop = host.loop()
        assert not loop.is_alive()
        loop.last_look = now()
        assert loop.is_alive()
        loop.last_look = now() - INTERVAL_S - 59
        assert loop.is_alive()
        loop.last_look = now() - INTERVAL_S - 60
        assert not loop.is_alive()

    run(body())


def test_a_repair_that_hangs_is_not_alive() -> None:
    """It gets the time of its reloads and five minutes; a heartbeat meanwhile is no lie."""
    host = FakeHost(WEB)

    async def body() -> None:
        loop = host.loop()
        alive: list[bool] = []
        limit_s = loop.config.restore.timeout + 300

        async def beat() -> None:
            for wait_s in (limit_s - 1, 1):
                await asyncio.sleep(wait_s)
                alive.append(loop.is_alive())

        host.repairs_s = limit_s + 10
        beating = asyncio.ensure_future(beat())
        await loop._once()
        await beating
        assert alive == [True, False]

    run(body())


def test_a_copy_that_cannot_be_kept_is_reported() -> None:
    """The loop goes on; while podman works, or rules are missing in between, none is taken."""
    host = FakeHost(OK)

    def refuse(*_: object, whole: bool) -> None:
        raise StateUnreadable(f"no space: {whole}")

    host.take = refuse  # type: ignore[method-assign]
    assert host.drive(1)[-1] == "complain no space: True"


@pytest.mark.parametrize(("after_s", "before"), [(0.0, True), (3600.0, False)])
def test_a_loss_is_reported_once(after_s: float, *, before: bool) -> None:
    """Whatever the repair takes: when its time has come, when it is over, or where it fails."""

    async def body() -> None:
        reported: list[int] = []
        with reporting(lambda: reported.append(1), after_s=after_s):
            for _ in range(10):
                await asyncio.sleep(0)
            assert bool(reported) is before
        with pytest.raises(KeyError), reporting(lambda: reported.append(2), after_s=after_s):
            raise KeyError
        await asyncio.sleep(0)
        assert reported == [1, 2]

    asyncio.run(body())


CLOSED = Way(
    WayKind.IN, "8080/tcp → web", "web", "web", "podman", (Hop("bridge", "down", Mark.BROKEN),)
)


def test_a_broken_way_is_lost_though_nothing_is_missing() -> None:
    """What the loop reports counts the ways, which are worked out at each look that finds all."""
    host = FakeHost(OK, found=(CLOSED,))
    host.drive(5)
    assert [(told.state, told.ways) for told in host.told] == [(State.LOST, (CLOSED,))]
    assert host.worked_out_at == [BEGAN_S]


def test_ways_wait_until_a_quick_repair_is_over() -> None:
    """The loss is reported with the ways of before; the look that proves the repair has the new."""
    host = FakeHost(OK, {"replay": OK})
    host.drive(10, {5: flush(host, missing="web")})
    assert len(host.told) == len(host.worked_out_at) + 1 == 3
    assert host.done[2:5] == ["look", "replay", "report web by nft (pid 7)"]


def test_a_dry_run_tells_the_ways_of_a_loss() -> None:
    """Nothing is repaired then, so that no later look is worth waiting for."""
    host = FakeHost(WEB, found=(CLOSED,))
    host.drive(0.05, dry_run=True)
    assert [told.ways for told in host.told] == [(CLOSED,)]


def test_ways_are_worked_out_whatever_kinds_of_things_are_lost() -> None:
    """Things of several kinds are reported in another order than the judge has them in."""
    sysctl = Missing(MissingKind.SYSCTL, "sysctl", "net/ipv4/ip_forward=1")
    both = replace(WEB, missing=(*WEB.missing, sysctl))
    host = FakeHost(both, found=(CLOSED,))
    host.drive(0.5, dry_run=True)
    assert len(host.told[-1].missing) == 2
    assert host.told[-1].ways == (CLOSED,)


def test_ways_stay_as_they_were_while_something_is_held_back() -> None:
    """What podman may be about to set up closes no way yet: the report has the ways of before."""
    held = replace(WEB, blocked=(Blocked(BlockedKind.BUSY, "podman is at work"),))
    host = FakeHost(held, covered=False)
    host.drive(0.05)
    assert host.worked_out_at == []


def test_what_is_asked_for_is_done_between_two_looks() -> None:
    """Nobody looks meanwhile, the heartbeat goes on, and what was committed is no news."""
    host = FakeHost(OK)

    async def job() -> None:
        host.done.append("job")
        flush(host, writer=Writer("podwatch", 1))()
        await asyncio.sleep(120)
        host.done.append("job done")

    host.drive(200, {5: lambda: host.hints.ask(job), 20: lambda: host.hints.look_now("heard")})
    assert host.done[2:6] == ["job", "job done", "look", "report nothing by heard"]
    assert host.looks_at[1] == BEGAN_S + 125
