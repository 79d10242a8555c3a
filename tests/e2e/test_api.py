# SPDX-License-Identifier: Apache-2.0
"""The API on an installed host: what anybody may ask, what polkit is asked, and that it is no harm.

The clients are busctl and dbus-next; whoever has no rights is the user nobody.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SUITES
from tests.e2e.installed import LOSSES_AT_ONCE, Installed, on_one_suite
from tests.lab import caller

pytestmark = pytest.mark.e2e

SCRIPT = "/usr/local/lib/caller.py"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
MANAGER = "org.podwatch1 /org/podwatch1 org.podwatch1.Manager"
TABLE = "nft list table inet netavark"
MAX_TIMES = 5
"""So many times as long as in the calm a repair may take, on a machine as busy: it takes 1.5."""
MAX_MORE_KB = 1024
"""So much more memory podwatch may have with the API, each method answered, than without."""
AT_IT_S = 10
DRY, REPAIR = ("Restore", "b", True), ("Restore", "b", False)
READING = (("Look",), ("Status",), ("Explain", "s", ""), ("Incidents", "u", 9))
_GRAVEST = ("broken", "unknown", "closed")
_LINKED = "/usr/local/share/dbus-1/system-services"


def argv(*words: str, root: bool = False) -> list[str]:
    """The command of a caller."""
    return [*(() if root else NOBODY), "python3", "-u", SCRIPT, *words]


@pytest.fixture(autouse=True)
def _script(there: Installed) -> None:
    """The caller is on the host."""
    if not there.host.exists(SCRIPT):
        there.host.write(SCRIPT, Path(str(caller.__file__)).read_text())


def called(there: Installed, *words: Any, root: bool = False) -> dict[str, Any]:
    """What came of a call: what was given, or the error."""
    method, *rest = words
    signature, values = (rest[0], json.dumps(rest[1:])) if rest else ("", "[]")
    told = there.host.run(argv("call", method, signature, values, root=root), timeout=120)
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


def given(there: Installed, *words: Any, root: bool = False) -> Any:
    """The one value that a call gave."""
    answer = called(there, *words, root=root)
    assert "given" in answer, answer
    return answer["given"][0] if answer["given"] else None


def prop(there: Installed, name: str) -> str:
    """A property, as busctl prints it."""
    return (
        there.host.run(["busctl", "get-property", *MANAGER.split(), name])
        .stdout.split(" ", 1)[1]
        .strip()
    )


def mark_of(hops: list[list[str]]) -> str:
    """A way's mark, by those of its hops."""
    marks = {hop[2] for hop in hops}
    return next((mark for mark in _GRAVEST if mark in marks), "open")


def agrees(there: Installed) -> set[str]:
    """The marks of all ways, which are those of podwatch explain."""
    ours = sorted((way[0], way[1], mark_of(way[3])) for way in given(there, "Explain", "s", ""))
    told = there.host.run(["podwatch", "explain", "--json"], check=False).stdout
    theirs = sorted((way["kind"], way["title"], way["mark"]) for way in json.loads(told)["ways"])
    assert ours == theirs
    return {mark for _, _, mark in ours}


@contextmanager
def hearing(there: Installed, seconds: int = 60) -> Iterator[list[dict[str, Any]]]:
    """Nobody hears signals during the block; they are in the list after it."""
    heard: list[dict[str, Any]] = []
    log = f"/tmp/heard.{time.monotonic_ns()}"
    script = f"exec timeout {seconds} {' '.join(argv('hear', str(seconds)))} > {log}"
    process = there.host.popen(["sh", "-c", script])
    try:
        there.until(lambda: "hears" in there.host.shell(f"cat {log}", check=False).stdout, "heard")
        yield heard
    finally:
        heard += map(json.loads, there.host.read(log).splitlines())
        process.terminate()
        process.wait(30)


def heal_s(there: Installed) -> float:
    """Lose the table; the seconds until it is there again, seen past podwatch and the bus."""

    def chains() -> int:
        return there.host.shell(TABLE, check=False).stdout.count("chain ")

    whole = chains()
    assert whole
    there.lose_the_table()
    began = time.monotonic()
    there.until(lambda: chains() == whole, "the table there again")
    return time.monotonic() - began


def lose_and_heal(there: Installed) -> None:
    """Lose the table; an incident began by that, and is over."""
    before = there.incidents()
    there.lose_the_table()

    def is_over() -> bool:
        told = there.status()
        return told["counters"]["incidents"] > before and bool(told["last_incident"]["restored_at"])

    there.until(is_over, "healed")


@pytest.mark.parametrize("there", [*SUITES, "bookworm"], indirect=True)
def test_anybody_may_look(there: Installed) -> None:
    """Each method that only reads, each property, and what is there to be asked."""
    assert given(there, "Look") == "ok"
    document = json.loads(given(there, "Status"))
    assert (document["state"], document["watchers"]["api"]) == ("ok", "serving org.podwatch1")
    assert document["counters"]["looks"] > 0
    assert abs(document["heartbeat"] - time.time()) < 60
    assert {way[2] for way in given(there, "Explain", "s", "web-a")} >= {"web-a"}
    refused = called(there, "Explain", "s", "nobody")
    assert refused["error"] == "org.podwatch1.Error.NoSuchContainer"
    assert "web-a" in refused["said"][0]
    assert given(there, "Incidents", "u", 200) is not None
    assert prop(there, "State") == '"ok"'
    told = there.host.run([*NOBODY, "busctl", "introspect", *MANAGER.split()]).stdout
    assert ".RemoveLeftovers" in told
    assert ".IncidentBegan" in told


@pytest.mark.usefixtures("whole_afterwards")
def test_a_change_is_for_whom_polkit_permits_it(there: Installed) -> None:
    """Nobody is told what is needed, and nothing is done; root may."""
    changes: tuple[tuple[Any, ...], ...] = (
        ("Pause", "ts", 600, "no"),
        REPAIR,
        ("Resume",),
        ("RemoveLeftovers", "b", True),
        ("RemoveLeftovers", "b", False),
    )
    for words in changes:
        answer = called(there, *words)
        assert answer["error"].endswith(".InteractiveAuthorizationRequired"), answer
        assert "needs administrative rights" in answer["said"][0]
    asked = there.host.run([*NOBODY, "busctl", "call", *MANAGER.split(), "Resume"], check=False)
    assert "needs administrative rights" in asked.stderr
    assert prop(there, "PausedUntil") == "0"
    assert given(there, *DRY, root=True).startswith("ok: nothing is missing")
    assert given(there, *REPAIR, root=True).startswith("ok: nothing is missing")
    for is_dry in (True, False):
        assert "nothing is left over" in given(there, "RemoveLeftovers", "b", is_dry, root=True)


@pytest.mark.usefixtures("whole_afterwards")
def test_a_pause_holds_and_a_resume_heals(there: Installed) -> None:
    """Once it is answered nothing is put back; Explain says what is broken, as podwatch explain."""
    assert agrees(there) == {"open"}
    given(there, "Pause", "ts", 600, "a test", root=True)
    try:
        assert abs(int(prop(there, "PausedUntil")) - time.time() - 600) < 60
        there.lose_the_table()
        assert given(there, "Look") == "lost"
        assert "broken" in agrees(there)
        assert there.host.shell(TABLE, check=False).code != 0
        refused = called(there, *REPAIR, root=True)
        assert refused["error"] == "org.podwatch1.Error.Busy"
        assert "paused by root" in refused["said"][0]
        told = given(there, *DRY, root=True).splitlines()
        assert told[0].startswith("missing: table inet netavark is gone")
        assert told[-1].startswith("would replay")
        assert "a test" in json.loads(given(there, "Status"))["blocked"][0]["what"]
    finally:
        assert given(there, "Resume", root=True) is True
    there.until(lambda: given(there, "Look") == "ok", "healed after the pause")
    assert agrees(there) == {"open"}
    assert given(there, "Resume", root=True) is False


@pytest.mark.usefixtures("whole_afterwards")
def test_who_listens_hears_of_an_incident(there: Installed) -> None:
    """When it begins, with who did it, and when it ends; properties that are others are told."""
    with hearing(there) as heard:
        lose_and_heal(there)
        there.host.shell("sleep 0.5")  # what was sent last is on its way
    told = {each["signal"]: each["body"] for each in heard if each["signal"] != "hears"}
    began, what, by = told["IncidentBegan"]
    assert "table inet netavark is gone" in what
    assert by.startswith("nft")
    ended, outcome, took_ms = told["IncidentEnded"]
    assert (ended, took_ms > 0) == (began, True)
    assert "put right from the verified copy" in outcome
    changed = {key for each in heard if "Properties" in each["signal"] for key in each["body"][1]}
    assert "IncidentCount" in changed

    newest, *_ = given(there, "Incidents", "u", 1)
    assert (newest["id"], newest["outcome"], newest["took_ms"]) == (began, "restored", took_ms)
    assert newest["cause"].startswith("nft (pid ")
    written = there.history()[-1]
    assert newest["began"] == written["began"]
    assert "nft delete table" in written["cause"]
    assert "nft delete table" not in json.dumps(newest)


@pytest.mark.usefixtures("whole_afterwards")
def test_what_was_written_down_before_is_told(there: Installed) -> None:
    """A podwatch that has just started knows the incidents of the one before, by its history."""
    lose_and_heal(there)
    before = given(there, "Incidents", "u", 200)
    there.start_anew()
    assert given(there, "Incidents", "u", 200) == before


@pytest.mark.usefixtures("whole_afterwards")
def test_a_flood_of_calls_keeps_nothing_from_healing(there: Installed) -> None:
    """960 large calls from eight connections at once, again and again: root's are answered, what is
    lost comes back about as fast as in the calm, and nobody writes into the journal.
    """
    calm = statistics.median(heal_s(there) for _ in range(LOSSES_AT_ONCE - 1))
    there.start_anew()
    pace, process = there.pace_s(), there.main_pid()
    there.until_whole(40)
    cursor = there.host.journal_cursor()
    command = ["nice", "-n", "19", *argv("flood", "300")]
    flood = there.host.popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    took: list[float] = []
    try:
        for _ in range(LOSSES_AT_ONCE - 1):
            time.sleep(1.0)  # its pace, not a wait for anything
            took.append(heal_s(there) * pace / max(pace, there.pace_s()))
            assert given(there, "Look", root=True) == "ok"
            assert flood.poll() is None
    finally:
        told = json.loads(flood.communicate("", timeout=120)[0])
    assert told["answered"] > 960, told
    assert set(told) <= {"answered", "org.podwatch1.Error.Busy"}, told
    assert statistics.median(took) < MAX_TIMES * calm, (calm, took)
    assert there.main_pid() == process
    lines = there.host.journal("podwatch", since_cursor=cursor).splitlines()
    known = (": missing: ", ": restored ", ": the guard ")
    assert not [line for line in lines if not any(word in line for word in known)], lines
    assert given(there, "Look") == "ok"


@on_one_suite
def test_a_storm_of_looks_is_a_look_a_second(there: Installed) -> None:
    """However many callers ask for them without a rest; they are all answered."""
    before, began = there.status()["counters"]["looks"], time.monotonic()
    told = json.loads(there.host.run(argv("look", str(AT_IT_S)), timeout=120).stdout)
    seconds = time.monotonic() - began
    assert told["answered"] > 10, told
    given(there, "Look")
    looks = there.status()["counters"]["looks"] - before
    assert AT_IT_S / 2 <= looks <= seconds + 5


@on_one_suite
@pytest.mark.usefixtures("whole_afterwards")
def test_it_serves_again_after_the_bus_was_killed(there: Installed) -> None:
    """Without a restart of podwatch, which repairs meanwhile as ever."""
    process = there.main_pid()
    there.host.shell("systemctl kill --signal=KILL dbus; systemctl restart firewalld", timeout=60)
    heal_s(there)
    there.until(lambda: "given" in called(there, "Look"), "serving again", 40)
    assert there.main_pid() == process


@on_one_suite
@pytest.mark.usefixtures("whole_afterwards")
def test_a_call_starts_what_is_enabled_where_that_is_wanted(there: Installed) -> None:
    """As installed, whoever stopped podwatch has it stopped. With the link it is started, but not
    while it is disabled.
    """
    host = there.host
    call = [*NOBODY, "busctl", "call", *MANAGER.split(), "Look"]
    try:
        host.run(["systemctl", "stop", "podwatch"])
        assert host.run(call, check=False).code != 0
        assert host.unit_state("podwatch") == "inactive"
        host.shell(
            f"mkdir -p {_LINKED}; ln -s /usr/share/podwatch/dbus/org.podwatch1.service {_LINKED}/; "
            "systemctl disable podwatch; busctl call -q org.freedesktop.DBus "
            "/org/freedesktop/DBus org.freedesktop.DBus ReloadConfig"
        )
        assert host.run(call, check=False).code != 0
        assert host.unit_state("podwatch") == "inactive"
        host.run(["systemctl", "enable", "podwatch"])
        assert host.run(call).stdout.strip() in ('s "ok"', 's "degraded"', 's "lost"')
        assert host.unit_state("podwatch") == "active"
    finally:
        host.shell(
            f"rm -rf {_LINKED}; busctl call -q org.freedesktop.DBus /org/freedesktop/DBus "
            "org.freedesktop.DBus ReloadConfig; systemctl enable --now podwatch"
        )


_WITHOUT = """
import sys, types
class Nothing:
    def __init__(self, *_, **__): pass
    def __getattr__(self, _): return lambda *a, **k: None
    def describe(self): return "serving"
for module, name in (
    ("adapters.bus_service", "BusService"), ("adapters.polkit", "Polkit"), ("daemon.api", "Api"),
    ("daemon.served", "Served"), ("daemon.audience", "Audience"),
):
    made = types.ModuleType("podwatch." + module)
    setattr(made, name, Nothing)
    sys.modules["podwatch." + module] = made
sys.argv = ["podwatch", "run"]
from podwatch.commands.main import main
sys.exit(main())
"""
"""podwatch as it is, but that nothing of the API is loaded."""


@on_one_suite
@pytest.mark.usefixtures("whole_afterwards")
def test_the_api_takes_little_memory(there: Installed) -> None:
    """With every method answered, compared to the same podwatch that loads nothing of it."""
    program, dropin = "/usr/local/lib/podwatch-without.py", "/etc/systemd/system/podwatch.service.d"
    there.host.write(program, _WITHOUT)
    there.host.run(["mkdir", "-p", dropin])
    found: dict[str, list[int]] = {"with": [], "without": []}
    try:
        for _ in range(3):
            for name, command in (("with", ""), ("without", f"/usr/bin/python3 {program}")):
                text = f"[Service]\nExecStart=\nExecStart={command}\n" if command else ""
                there.host.write(f"{dropin}/api.conf", text)
                there.host.run(["systemctl", "daemon-reload"])
                there.start_anew()
                heal_s(there)
                there.until_whole(30)
                if name == "with":
                    given(there, *DRY, root=True)
                    for words in (
                        ("Look",),
                        ("Status",),
                        ("Explain", "s", ""),
                        ("Incidents", "u", 9),
                    ):
                        given(there, *words)
                found[name].append(there.rss_kb())
    finally:
        there.host.run(["rm", "-rf", f"{dropin}/api.conf", program])
        there.host.run(["systemctl", "daemon-reload"])
        there.start_anew()
    more = statistics.median(found["with"]) - statistics.median(found["without"])
    assert more <= MAX_MORE_KB, found
