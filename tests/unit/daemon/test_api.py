# SPDX-License-Identifier: Apache-2.0
"""The API's methods on the real loop: what each gives, has the loop do, and refuses."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.daemon import api as api_module
from podwatch.daemon.api import Api
from podwatch.daemon.audience import Audience
from podwatch.daemon.config import Config
from podwatch.daemon.pause import MAX_PAUSE_S, Pause, PauseWatch
from podwatch.daemon.settings import Restore
from podwatch.report.history import History
from podwatch.report.incident import Incident
from podwatch.report.listener import Looked
from podwatch.words.api import ACTIONS, FOREVER, METHODS, PROPERTIES, Action, Call, Refused, method
from podwatch.words.cause import Cause, Process, Writer, by_writer
from podwatch.words.errors import PodwatchError, StateUnreadable
from podwatch.words.means import Method, Outcome
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Blocked, BlockedKind, State, Verdict
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.daemon.fakes import DONE, FakeHost, lost, now, run

SETUP = Setup(FirewallDriver.NFTABLES)
DRY, REAL = (True,), (False,)
FINE = Verdict(State.OK, setup=SETUP)
WEB = lost("web")
HOPS = (Hop("table", "there", Mark.OPEN), Hop("dnat", "gone", Mark.BROKEN, "podwatch restore"))
WAY = Way(WayKind.IN, "8080/tcp → web", "web", "w" * 64, "podman", HOPS, (8080, "tcp"))


@dataclass
class ApiHost(FakeHost):
    """The host of the loop's tests, with podwatch's publisher and an API before it.

    `answered` is what was emitted; `permitted` the actions that polkit permits, all to begin with.
    """

    directory: Path = Path("/nonexistent")
    emitted: list[tuple[str, Sequence[Any]]] = field(default_factory=list)
    permitted: tuple[Action, ...] = ACTIONS
    asked: list[str] = field(default_factory=list)
    listing_s: float = 0.0
    is_dry: bool = False

    def __post_init__(self) -> None:
        self.audience = Audience(
            lambda: self.done.append("changed"), lambda *each: self.emitted.append(each)
        )
        self.document: dict[str, Any] = {}
        self.paths = Paths(run=self.directory, state=self.directory)
        self.watch = PauseWatch(self.paths.pause, lambda: None)

    @property
    def text(self) -> str:
        """The document, as a publisher gives it."""
        return f"JSON of {self.document['state']}"

    def judged(self, snapshot: Snapshot) -> tuple[Snapshot, Verdict]:
        """What it saw; a pause blocks."""
        _, verdict = super().judged(snapshot)
        if snapshot.paused:
            verdict = replace(verdict, blocked=(Blocked(BlockedKind.PAUSED, snapshot.paused),))
        return snapshot, verdict

    def looked(
        self,
        snapshot: Any,
        verdict: Verdict,
        *more: Any,
        cause: Cause,
        took_s: float,
        at: float,
    ) -> None:
        """A look is reported: the document tells of it, and then the audience."""
        super().looked(snapshot, verdict, *more, cause=cause, took_s=took_s, at=at)
        self.document = {
            "state": verdict.state,
            "summary": "a sentence",
            "since": 7.5,
            "counters": {"incidents": 3},
            "guard": {"table": "podwatch-guard-0001"},
        }
        self.audience.looked(Looked(at - took_s, at, snapshot, verdict, more[0]))

    def acted(self, outcome: Outcome, *, took_s: float) -> None:
        """What came of a repair is reported, too."""
        super().acted(outcome, took_s=took_s)
        self.audience.acted(outcome)

    async def permit(self, call: Call, action: Action) -> None:
        """Polkit."""
        self.asked.append(action.name)
        if action not in self.permitted:
            raise Refused("NotAllowed", f"{call.sender} may not")

    async def list_networks(self) -> tuple[Setup, tuple[str, ...]]:
        """What podman says; it takes its time."""
        self.done.append("podman is asked")
        await asyncio.sleep(self.listing_s)
        return SETUP, ()

    def driven(self, body: Callable[["Caller"], Coroutine[Any, Any, None]]) -> None:
        """Run the loop, and this beside it."""
        run(self._beside(body))

    async def _beside(self, body: Callable[["Caller"], Coroutine[Any, Any, None]]) -> None:
        loop = self.loop(dry_run=self.is_dry)
        host: Any = loop.host
        host.installed = SimpleNamespace(podman=self)
        host.nft = self
        loop.pause = lambda: self.pause or self.watch.now()
        publisher: Any = self
        api = Api(loop, publisher, self.audience, self.paths, self.permit, clock=now)
        running = asyncio.ensure_future(loop.run())
        try:
            await body(Caller(api))
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@dataclass
class Caller:
    """Somebody who calls."""

    api: Api

    async def __call__(self, name: str, *values: Any) -> Any:
        """The one result of a method, or None."""
        called = method(name)
        assert called is not None
        given = await self.api.answer(Call(called, values, ":1.7", 0))
        assert len(given) == len(called.gives)
        return given[0] if given else None


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that jumps waits for time and for itself alone."""

    async def at_once(do: Callable[..., Any], *values: Any, **more: Any) -> Any:
        return do(*values, **more)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


def looks(host: FakeHost) -> int:
    """How many looks there were."""
    return len(host.looks_at)


# Looking


def test_a_look_gives_the_state_it_found() -> None:
    """One is made for it, and its state is that of the document by then."""
    host = ApiHost(FINE)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        before = looks(host)
        assert await call("Look") == "ok"
        assert looks(host) == before + 1

    host.driven(body)


def test_a_look_waits_for_what_comes_of_it() -> None:
    """What is lost is being put back: the look behind the repair has the answer."""
    host = ApiHost(FINE, {"replay": FINE})

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        host.verdict = WEB
        assert await call("Look") == "ok"
        assert "replay" in host.done

    host.driven(body)


def test_who_calls_at_once_shares_a_look() -> None:
    """A hundred calls, one look; and so does who calls within a second of its end."""
    host = ApiHost(FINE, looks_s=0.125)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        before = looks(host)
        await asyncio.gather(*[call("Look") for _ in range(100)])
        await asyncio.sleep(0.8)
        await call("Look")
        assert looks(host) == before + 1

    host.driven(body)


def test_a_storm_of_looks_makes_one_a_second() -> None:
    """However many call, and however often."""
    host = ApiHost(FINE, looks_s=1 / 64)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        before = looks(host)

        async def caller(after_s: float) -> None:
            await asyncio.sleep(after_s)
            for _ in range(2000):
                await call("Look")
                await asyncio.sleep(0.01)

        await asyncio.gather(*[caller(each / 1000) for each in range(8)])
        assert 15 <= looks(host) - before <= 21, "in 20 seconds"

    host.driven(body)


def test_what_was_said_since_is_looked_at() -> None:
    """A look that ended a moment ago has not seen what the kernel has just told of."""
    host = ApiHost(FINE, looks_s=0.125)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        await call("Look")
        host.pause = Pause(0, time.time() + 100)
        host.verdict = WEB
        host.hints.look_now("a rule was deleted")
        assert await call("Look") == "lost"

    host.driven(body)


def test_what_was_seen_and_is_not_told_yet_is_waited_for() -> None:
    """A loss that may be about to come is kept back for a moment: the look before it is too old."""
    host = ApiHost(FINE, pause=Pause(0, time.time() + 100))

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        assert await call("Look") == "ok"
        host.verdict = WEB
        host.hints.look_now("a rule was deleted")
        await asyncio.sleep(0.05)
        assert host.document["state"] == "ok"
        assert await call("Look") == "lost"

    host.driven(body)


def test_during_a_pause_looking_is_as_ever() -> None:
    """What is lost is told, and stays."""
    host = ApiHost(WEB, pause=Pause(0, time.time() + 100))

    async def body(call: Caller) -> None:
        assert await call("Look") == "lost"
        assert "replay" not in host.done

    host.driven(body)


def test_a_repair_that_lasts_is_said() -> None:
    """The caller is told to try again, not that all is well."""
    host = ApiHost(WEB, covered=False, repairs_s=120.0)

    async def body(call: Caller) -> None:
        await asyncio.sleep(5)
        with pytest.raises(Refused, match="a repair is under way") as caught:
            await call("Look")
        assert caught.value.name == "org.podwatch1.Error.Busy"

    host.driven(body)


def test_a_look_that_does_not_end_is_unknown() -> None:
    """Nobody waits for longer than a client does."""
    host = ApiHost(FINE)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        host.looks_s = 300
        with pytest.raises(Refused, match="could not be looked at in 20 s") as caught:
            await call("Look")
        assert caught.value.name == "org.podwatch1.Error.Unknown"

    host.driven(body)


def test_the_status_is_what_was_published() -> None:
    """Its text as it is, without a look; before the first there is none."""
    host = ApiHost(FINE)

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match="has not looked yet"):
            await call("Status")
        await asyncio.sleep(10)
        assert await call("Status") == "JSON of ok"
        assert looks(host) == 1

    host.driven(body)


def test_ways_are_told_hop_by_hop() -> None:
    """Those of the last look that is fresh; all, a container's, a network's or a port's."""
    host = ApiHost(Verdict(State.OK, setup=SETUP, all_container_ids=("w" * 64,)), found=(WAY,))
    told = [
        [
            "in",
            "8080/tcp → web",
            "web",
            [["table", "there", "open", ""], ["dnat", "gone", "broken", "podwatch restore"]],
        ]
    ]

    async def body(call: Caller) -> None:
        for target in ("", "web", "8080", "podman", "w" * 12):
            assert await call("Explain", target) == told
        with pytest.raises(Refused, match="nobody: there is no such container") as caught:
            await call("Explain", "nobody")
        assert caught.value.name == "org.podwatch1.Error.NoSuchContainer"
        assert caught.value.hint == "with rules: web"
        with pytest.raises(Refused, match="256 characters"):
            await call("Explain", "x" * 257)

    host.driven(body)


def test_an_answer_holds_so_many_ways() -> None:
    """To make a message of more would keep the loop from its work."""
    host = ApiHost(FINE, found=301 * (Way(WayKind.OUT, "out", "web", "", "podman", ()),))

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match="301 ways are more") as caught:
            await call("Explain", "")
        assert caught.value.name == "org.podwatch1.Error.InvalidArgument"

    host.driven(body)


def test_what_is_not_known_has_no_ways() -> None:
    """The reason is given, never an empty list."""
    unknown = Unknown(Part.SETUP, "the state", "Permission denied", "see the journal")
    host = ApiHost(Verdict(State.UNKNOWN, unknown=(unknown,)))

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match="the state: Permission denied") as caught:
            await call("Explain", "")
        assert caught.value.name == "org.podwatch1.Error.Unknown"

    host.driven(body)


def _incident(began: float) -> Incident:
    process = Process("nft", 7, "nft -f secret", session="4", user="joe")
    parent = Process("sh", 6, "sh secret.sh")
    who = Process("nft", 7, process.command, "", "4", "joe", parent)
    made = Incident(began, by_writer(Writer("nft", 7, who)))
    made.note(WEB)
    return made


def test_incidents_are_told_without_command_lines(tmp_path: Path) -> None:
    """Those of this podwatch and of those before it, the newest first, and no more than asked."""
    host = ApiHost(FINE, directory=tmp_path)
    past, new = _incident(100.0), _incident(200.0)
    past.tried = ["1 chain put right in 12 ms"]
    past.end(100.5, 0.5)
    History(host.paths.history).note(past)
    host.audience.entered(new)

    async def body(call: Caller) -> None:
        told = await call("Incidents", 9)
        assert [each["id"] for each in told] == [("t", 200_000), ("t", 100_000)]
        assert "secret" not in str(told)
        values = {key: value for key, (_, value) in told[1].items()}
        assert values == {
            "id": 100_000,
            "began": 100.0,
            "ended": 100.5,
            "what": "1 rule of 2 containers: web",
            "cause": "nft (pid 7), run by sh (pid 6), session 4, user joe",
            "unit": "session-4.scope",
            "user": "joe",
            "how": ["1 chain put right in 12 ms"],
            "outcome": "restored",
            "took_ms": 500,
            "containers": 2,
            "line": past.line,
        }
        assert await call("Incidents", 1) == told[:1]

    host.driven(body)


def test_what_cannot_be_read_hides_nothing_newer(tmp_path: Path) -> None:
    """A history that is none is complained of, and what happened since is told all the same."""
    host = ApiHost(FINE, directory=tmp_path)
    host.paths.history.mkdir()
    host.audience.entered(_incident(200.0))

    async def body(call: Caller) -> None:
        assert [each["id"] for each in await call("Incidents", 9)] == [("t", 200_000)]
        assert any(each.startswith("complain cannot read") for each in host.done)

    host.driven(body)


def test_properties_are_those_of_the_document() -> None:
    """Each that is described, before the first look and after it."""
    host = ApiHost(FINE)

    async def body(call: Caller) -> None:
        assert call.api.properties().keys() == {each.name for each in PROPERTIES}
        assert call.api.properties()["State"] == "unknown"
        await asyncio.sleep(1)
        told = call.api.properties()
        assert (told["State"], told["Since"], told["IncidentCount"]) == ("ok", 7, 3)
        assert told["PausedUntil"] == 0
        until = time.time() + 100
        host.pause = Pause(0, until)
        assert call.api.properties()["PausedUntil"] == int(until)
        host.pause = Pause(0, float("inf"))
        assert call.api.properties()["PausedUntil"] == FOREVER

    host.driven(body)


def test_an_incident_is_told_when_it_begins_and_when_it_ends() -> None:
    """What is missing, who did it, and then how it came back and how long that took."""
    host = ApiHost(FINE)
    incident = _incident(200.0)
    host.audience.entered(incident)
    incident.tried = ["replayed"]
    incident.end(200.25, 0.25)
    host.audience.entered(incident)
    host.audience.wrote()
    assert host.emitted == [
        ("IncidentBegan", [200_000, "1 rule of 2 containers: web", "nft, session-4.scope"]),
        ("IncidentEnded", [200_000, "replayed", 250]),
    ]
    assert host.done == ["changed"]


# What is asked of polkit


@pytest.mark.parametrize("called", [each for each in METHODS if each.action], ids=lambda m: m.name)
def test_who_may_not_changes_nothing(tmp_path: Path, called: Any) -> None:
    """Polkit is asked first, of each method that changes something, and the host is not touched."""
    host = ApiHost(WEB, directory=tmp_path, permitted=(), pause=Pause(0, time.time() + 100))
    values = {"Restore": REAL, "RemoveLeftovers": DRY, "Pause": (60, "")}.get(called.name, ())

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match="may not"):
            await call(called.name, *values)
        assert host.asked == [called.action.name]
        assert not host.paths.pause.exists()
        assert host.done == []

    host.driven(body)


def test_whoever_may_look_is_nobody_polkit_knows() -> None:
    """It is not asked about what only reads."""
    host = ApiHost(FINE)

    async def body(call: Caller) -> None:
        await call("Look")
        await call("Status")
        await call("Explain", "")
        assert host.asked == []

    host.driven(body)


def test_a_pause_holds_when_it_is_answered(tmp_path: Path) -> None:
    """By name, with its reason, cut and cleaned; and a resume ends it, once."""
    host = ApiHost(FINE, directory=tmp_path)

    async def body(call: Caller) -> None:
        await call("Pause", 600, "work\n" + 300 * "x")
        pause = host.watch.now()
        assert pause is not None
        assert (pause.by, pause.reason[:6], len(pause.reason)) == ("root", "work�x", 200)
        assert abs(call.api.properties()["PausedUntil"] - time.time() - 600) < 5
        host.verdict = WEB
        host.hints.look_now("lost")
        assert await call("Look") == "lost"
        assert "replay" not in host.done
        assert await call("Resume") is True
        assert await call("Resume") is False

    host.driven(body)


@pytest.mark.parametrize("seconds", [0, int(MAX_PAUSE_S) + 1, FOREVER])
def test_a_pause_has_bounds(tmp_path: Path, seconds: int) -> None:
    """A second to a week."""
    host = ApiHost(FINE, directory=tmp_path)

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match="1 to 604800") as caught:
            await call("Pause", seconds, "")
        assert caught.value.name == "org.podwatch1.Error.InvalidArgument"

    host.driven(body)


def test_a_repair_that_outlasts_the_call_is_said(tmp_path: Path) -> None:
    """The pause has begun all the same: what began before it goes on."""
    host = ApiHost(WEB, directory=tmp_path, repairs_s=60.0)

    async def body(call: Caller) -> None:
        while "replay" not in host.done:
            await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="it is paused, but"):
            await call("Pause", 600, "")
        assert host.watch.now() is not None

    host.driven(body)


def test_a_dry_run_says_what_would_be_done() -> None:
    """Whatever was tried before, and during a pause, too."""
    host = ApiHost(WEB, pause=Pause(0, time.time() + 100))

    async def body(call: Caller) -> None:
        told = (await call("Restore", *DRY)).splitlines()
        assert told[0] == "missing: web"
        assert told[1].startswith("would replay: ")
        assert "replay" not in host.done
        host.verdict = FINE
        host.hints.look_now("it is back")
        assert await call("Restore", *DRY) == "ok: nothing is missing that podwatch puts back"

    host.driven(body)


def test_a_repair_does_not_wait_for_a_back_off() -> None:
    """What did not help is tried at growing intervals; who asks has it tried at once."""
    failed = Outcome(Method.REPLAY, done=False, detail="no")
    host = ApiHost(WEB, {"replay": FINE, "reload": FINE}, outcome=failed)

    async def body(call: Caller) -> None:
        await asyncio.sleep(1000)
        host.outcome = DONE
        before = len(host.done)
        told = (await call("Restore", *REAL)).splitlines()
        assert told[0] == "missing: web"
        assert told[1].startswith("replay: ")
        assert told[2:] == ["done: ", "ok: nothing is missing that podwatch puts back"]
        assert host.done[before : before + 2] == ["look", "replay"]

    host.driven(body)


def test_what_cannot_be_put_back_is_said() -> None:
    """The state, and what podwatch waits for; within a minute."""
    host = ApiHost(WEB, outcome=Outcome(Method.REPLAY, done=False, detail="no"))

    async def body(call: Caller) -> None:
        began = now()
        told = (await call("Restore", *REAL)).splitlines()
        assert "failed: no" in told
        assert told[-1].startswith("lost: ")
        assert now() - began <= 61

    host.driven(body)


@pytest.mark.parametrize("why", ["paused", "switched off", "dry run"])
def test_who_forbids_repairs_is_obeyed(why: str) -> None:
    """A pause, the configuration, a dry run: nothing is done, and that is said."""
    host = ApiHost(
        WEB,
        pause=Pause(0, time.time() + 100) if why == "paused" else None,
        config=Config(restore=Restore(enabled=why != "switched off")),
        is_dry=why == "dry run",
    )

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match=why) as caught:
            await call("Restore", *REAL)
        assert caught.value.name == "org.podwatch1.Error.Busy"
        assert "replay" not in host.done

    host.driven(body)


def test_one_change_is_made_at_a_time() -> None:
    """Who comes second is told to try again."""
    host = ApiHost(WEB, covered=False, repairs_s=5.0, leaves={"reload": FINE})

    async def body(call: Caller) -> None:
        first = asyncio.ensure_future(call("Restore", *REAL))
        await asyncio.sleep(1)
        for name, values in (("Restore", REAL), ("RemoveLeftovers", REAL)):
            with pytest.raises(Refused, match="somebody else's call") as caught:
                await call(name, *values)
            assert caught.value.name == "org.podwatch1.Error.Busy"
        assert (await first).endswith("ok: nothing is missing that podwatch puts back")

    host.driven(body)


def _leftovers(host: ApiHost, monkeypatch: pytest.MonkeyPatch, fails: Exception | None) -> None:
    async def copies(_nft: Any, own: str, tell: Callable[[str], None], *, dry_run: bool) -> None:
        host.done.append(f"{'dry: ' * dry_run}copies but for {own}")
        await asyncio.sleep(1)
        tell("a copy")

    async def rules(
        _host: Any, _running: Setup, tell: Callable[[str], None], *, dry_run: bool
    ) -> None:
        host.done.append(f"{'dry: ' * dry_run}rules")
        if fails is not None:
            raise fails
        tell("a rule")

    monkeypatch.setattr(api_module, "take_away_copies", copies)
    monkeypatch.setattr(api_module, "take_away_from", rules)


def test_leftovers_are_taken_away_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """podman is asked beside the loop; then the loop waits, and looks when it is over."""
    host = ApiHost(FINE, listing_s=3.0)
    _leftovers(host, monkeypatch, None)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        host.done.clear()
        asyncio.get_running_loop().call_later(1, host.hints.look_now, "while podman is asked")
        asyncio.get_running_loop().call_later(3.5, host.hints.look_now, "meanwhile")
        assert await call("RemoveLeftovers", *REAL) == "a copy\na rule"
        await asyncio.sleep(1)
        told = [each for each in host.done if not each.startswith("report")]
        assert told == [
            *("podman is asked", "look"),
            *("copies but for podwatch-guard-0001", "rules", "look"),
        ]

    host.driven(body)


@pytest.mark.parametrize("is_dry", [False, True])
def test_what_would_be_taken_away_is_only_told(
    monkeypatch: pytest.MonkeyPatch, *, is_dry: bool
) -> None:
    """polkit is asked all the same, as podman is started; also where nothing may be changed."""
    host = ApiHost(FINE, is_dry=is_dry)
    _leftovers(host, monkeypatch, None)

    async def body(call: Caller) -> None:
        await asyncio.sleep(2)
        assert await call("RemoveLeftovers", *DRY) == "a copy\na rule"
        assert host.asked[-1] == "org.podwatch1.remove-leftovers"
        told = [each for each in host.done if "copies" in each or "rules" in each]
        assert [each.startswith("dry: ") for each in told] == [True, True]

    host.driven(body)


@pytest.mark.parametrize(
    ("fails", "name"),
    [(StateUnreadable("podman hangs"), "Unknown"), (PodwatchError("no"), "Unknown")],
)
def test_a_failure_leaves_the_loop_at_work(
    monkeypatch: pytest.MonkeyPatch, fails: Exception, name: str
) -> None:
    """The caller is told why, and the loop looks again."""
    host = ApiHost(FINE)
    _leftovers(host, monkeypatch, fails)

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match=str(fails)) as caught:
            await call("RemoveLeftovers", *REAL)
        assert caught.value.name == f"org.podwatch1.Error.{name}"
        await asyncio.sleep(2)
        assert await call("Look") == "ok"

    host.driven(body)


def test_a_dry_run_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed by a podwatch that was told to change nothing."""
    host = ApiHost(FINE, is_dry=True)
    _leftovers(host, monkeypatch, None)

    async def body(call: Caller) -> None:
        with pytest.raises(Refused, match="dry run"):
            await call("RemoveLeftovers", *REAL)
        assert "rules" not in host.done

    host.driven(body)


def test_leftovers_wait_for_no_endless_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken away beside one; and later nothing is left of the call."""
    host = ApiHost(WEB, covered=False, repairs_s=120.0, leaves={"reload": FINE})
    _leftovers(host, monkeypatch, None)

    async def body(call: Caller) -> None:
        await asyncio.sleep(5)
        with pytest.raises(Refused, match="a repair is under way"):
            await call("RemoveLeftovers", *REAL)
        await asyncio.sleep(300)
        assert "rules" not in host.done
        assert await call("Look") == "ok"

    host.driven(body)


def test_a_snapshot_is_not_kept_by_who_has_gone() -> None:
    """Who waited and was cancelled hears of nothing any more."""
    host = ApiHost(FINE, looks_s=5.0)

    async def body(call: Caller) -> None:
        await asyncio.sleep(10)
        waiting = asyncio.ensure_future(call("Look"))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not host.audience._queues

    host.driven(body)
