# SPDX-License-Identifier: Apache-2.0
"""Commands about the host of who is not root: what the service is asked, and what is printed."""

import json
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.commands import through_api
from podwatch.commands.main import main
from podwatch.words.api import ASK, Refused
from podwatch.words.errors import BusUnavailable, PodwatchError

Answers = dict[str, Any]

WAYS = [
    ["in", "8080/tcp → web", "web", [["port rule", "forwards", "open", ""]]],
    ["out", "web → outside", "web", [["masquerade", "has no rule", "broken", "podwatch restore"]]],
]


class Service:
    """podwatch.service and polkit: answers by method, an error where the answer is one.

    `asked` is every call, with whether a person could have been asked. Where `password` is what it
    takes, only a call that lets polkit ask gets the answer.
    """

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.asked: list[tuple[Any, ...]] = []
        self.agents: list[str] = []
        self.password = False

    async def call(self, name: str, *values: Any, may_ask: bool = False) -> Any:
        """A method is called."""
        self.asked.append((name, *values, may_ask))
        if self.password and not may_ask:
            raise Refused(ASK, "a password is needed")
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @contextmanager
    def asking_here(self) -> Iterator[None]:
        """An agent is there for the block."""
        self.agents.append("begun")
        yield
        self.agents.append("ended")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Joe types, and what he asks for goes to this service; root's files are not his to read."""
    service = Service()
    monkeypatch.setattr(through_api, "call", service.call)
    monkeypatch.setattr(through_api, "asking_here", service.asking_here)
    monkeypatch.setattr(through_api, "_who", lambda: "joe")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Paths, "of", lambda: Paths(run=tmp_path, state=tmp_path))
    return service


def test_a_pause_is_asked_for(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """In whole seconds, and it prints what root's prints, with the command that ends it."""
    assert main(["pause", "--host", "--for", "1.5", "--reason", "up\x1bgrade"]) == 0

    assert service.asked == [("Pause", 2, "up\x1bgrade", False)]
    printed = capsys.readouterr().out
    assert printed.startswith("paused by joe until 20")
    assert printed.endswith(": up�grade\n  → podwatch resume --host\n")


def test_a_pause_is_ended(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """`resume --host` says whether there was one."""
    for was_paused, says in ((True, "the pause has ended\n"), (False, "there is no pause\n")):
        service.answers["Resume"] = was_paused
        assert main(["resume", "--host"]) == 0
        assert capsys.readouterr().out == says


def test_a_pause_too_long_is_wrong_usage(service: Service) -> None:
    """As for root; nobody is asked."""
    assert main(["pause", "--host", "--for", "9d"]) == 64
    assert service.asked == []


def test_a_password_is_asked_for_where_it_is_needed(service: Service) -> None:
    """The first call is without: an agent is there only for the one that polkit wants it for."""
    service.answers["Resume"] = True
    assert main(["resume", "--host"]) == 0
    assert service.agents == []

    service.password = True
    service.asked.clear()
    assert main(["resume", "--host"]) == 0
    assert service.asked == [("Resume", False), ("Resume", True)]
    assert service.agents == ["begun", "ended"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Refused(ASK, "it needs a password"), " (polkit action org.podwatch1.pause): it needs"),
        (Refused("NotAllowed", "no agent"), " (polkit action org.podwatch1.pause): no agent"),
        (Refused("org.freedesktop.DBus.Error.AccessDenied", "by the bus"), ": by the bus"),
    ],
)
def test_what_is_not_permitted_says_which_right_is_missing(
    service: Service, capsys: pytest.CaptureFixture[str], error: Refused, why: str
) -> None:
    """With the command that does it all the same; exit code 3, and nothing on stdout."""
    service.answers["Pause"] = error

    assert main(["pause", "--host"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"podwatch: pause --host is not permitted to joe{why}")
    assert told.err.endswith("\n  → sudo podwatch pause\n")


@pytest.mark.parametrize(
    "typed",
    [
        "restore --dry-run",
        "restore --stale",
        "pause --for 10m --reason 'new cable'",
        "resume",
        "explain web",
    ],
)
def test_what_root_is_to_type_does_no_more(
    service: Service, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    """A dry run that was refused is no advice to repair."""
    service.answers = dict.fromkeys(
        ("Restore", "Pause", "Resume", "Explain"), Refused("NotAllowed", "no")
    )

    assert main([*shlex.split(typed), "--host"]) == 3
    assert capsys.readouterr().err.endswith(f"\n  → sudo podwatch {typed}\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Refused("Busy", "a repair is under way"), "podwatch: a repair is under way\n"),
        (
            PodwatchError("podwatch.service does not run", hint="systemctl status podwatch"),
            "podwatch: podwatch.service does not run\n  → systemctl status podwatch\n",
        ),
        (
            BusUnavailable("no system bus", hint="systemctl status dbus.socket dbus.service"),
            "podwatch: no system bus\n  → sudo podwatch restore\n",
        ),
    ],
)
def test_other_errors_are_sentences(
    service: Service, capsys: pytest.CaptureFixture[str], error: PodwatchError, says: str
) -> None:
    """Unknown, exit code 3; without a bus root can still work on the files."""
    service.answers["Restore"] = error

    assert main(["restore", "--host"]) == 3
    assert capsys.readouterr().err == says


def test_a_restore_ends_with_the_state_it_leaves(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line is printed; --stale is the service's other method, after the first."""
    service.answers = {"Restore": "missing: a\ndone: b\n", "Look": "degraded"}
    assert main(["restore", "--host"]) == 1
    assert capsys.readouterr().out == "missing: a\ndone: b\n"
    assert service.asked == [("Restore", False, False), ("Look", False)]

    service.asked.clear()
    service.answers |= {"RemoveLeftovers": "nothing is left over", "Look": "ok"}
    assert main(["restore", "--host", "--stale"]) == 0
    assert capsys.readouterr().out == "missing: a\ndone: b\nnothing is left over\n"
    assert [name for name, *_ in service.asked] == ["Restore", "RemoveLeftovers", "Look"]

    service.asked.clear()
    assert main(["restore", "--host", "--dry-run"]) == 0
    assert service.asked[0] == ("Restore", True, False)

    service.asked.clear()
    assert main(["restore", "--host", "--stale", "--dry-run"]) == 0
    assert service.asked[:2] == [("Restore", True, False), ("RemoveLeftovers", True, False)]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("restore --host --config FILE", "restore --host --config needs root"),
        ("explain --host --svg FILE", "explain --host --svg needs root"),
        ("history --host --follow", "history --host --follow needs root"),
    ],
)
def test_what_the_service_does_for_nobody_needs_root(
    service: Service, capsys: pytest.CaptureFixture[str], typed: str, says: str
) -> None:
    """It is said before anything is asked or done."""
    assert main(typed.split()) in (3, 64)
    assert says in capsys.readouterr().err
    assert service.asked == []


def test_ways_are_told_as_to_root(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that matter, or of a target every hop; a broken one is exit code 2."""
    service.answers["Explain"] = WAYS

    assert main(["explain", "--host"]) == 2
    assert capsys.readouterr().out == (
        "✓ 8080/tcp → web: open\n"
        "✗ web → outside: BROKEN\n"
        "    ✗ masquerade      has no rule\n"
        "        → podwatch restore\n"
        "(root sees whose sockets listen: sudo podwatch explain)\n"
    )
    assert main(["explain", "--host", "web"]) == 2
    assert "    ✓ port rule       forwards\n" in capsys.readouterr().out
    assert service.asked == [("Explain", "", False), ("Explain", "web", False)]
    service.answers["Explain"] = WAYS[:1]
    assert main(["explain", "--host"]) == 0


def test_ways_as_json_have_what_is_known(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the API does not tell is not there, rather than empty."""
    service.answers["Explain"] = WAYS[:1]

    assert main(["explain", "--host", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "ways": [
            {
                "kind": "in",
                "title": "8080/tcp → web",
                "container": "web",
                "hops": [{"place": "port rule", "what": "forwards", "mark": "open", "advice": ""}],
                "mark": "open",
            }
        ],
    }


def test_nothing_to_explain(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """What is asked for is not there; firewalld, which is no container, needs root."""
    service.answers["Explain"] = Refused("NoSuchContainer", "db: there is no such container")
    assert main(["explain", "--host", "db"]) == 3
    assert capsys.readouterr().err == "podwatch: db: there is no such container\n"
    assert main(["explain", "--host", "firewalld"]) == 3
    assert "explain firewalld needs root\n  → sudo podw" in capsys.readouterr().err


def test_a_mark_of_a_later_podwatch_is_no_traceback(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is it taken for an open way."""
    service.answers["Explain"] = [["in", "8080", "web", [["place", "what", "sideways", ""]]]]

    assert main(["explain", "--host"]) == 3
    assert "podwatch.service is of another version" in capsys.readouterr().err


def incident(began: float, **fields: Any) -> dict[str, Any]:
    """An incident as the API tells it."""
    return {
        "id": 1,
        "began": began,
        "ended": began + 1,
        "what": "table inet netavark",
        "cause": "nft, run by root",
        "unit": "",
        "user": "root",
        "how": ["replay: put back"],
        "outcome": "restored",
        "took_ms": 22,
        "containers": 3,
        "line": "",
        **fields,
    }


def test_incidents_are_told_the_newest_last(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """As root's history tells them, and below it who sees more."""
    now = time.time()
    service.answers["Incidents"] = [
        incident(now, outcome="open", ended=0.0, cause="", how=[]),
        incident(now - 10, outcome="told", what="8080 is closed"),
        incident(now - 20),
        incident(now - 30, how=[]),
    ]

    assert main(["history", "--host"]) == 0
    told = capsys.readouterr().out
    assert service.asked == [("Incidents", 20, False)]
    assert [line[19:] for line in told.splitlines() if not line.startswith((" ", "("))] == [
        "  restored in 22 ms",
        "  restored in 22 ms",
        "  over after 22 ms",
        "  going on, or nobody saw its end",
    ]
    assert "    how:     by somebody else\n" in told
    assert "    how:     replay: put back\n" in told
    assert "    told:    8080 is closed\n" in told
    assert "    cause:   not known\n" in told
    assert told.endswith("(root sees the commands: sudo podwatch history)\n")


def test_history_is_limited_as_for_root(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a time or a number; that the service tells of no more than 200 is said."""
    now = time.time()
    service.answers["Incidents"] = [incident(now - each) for each in range(200)]

    assert main(["history", "--host", "--since", "100s", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 98 < len(lines) < 102
    assert json.loads(lines[-1])["began"] == now
    assert main(["history", "--host", "-n", "0"]) == 0
    assert "(no more than 200 are told to others than root)\n" in capsys.readouterr().out
    assert {asked[1] for asked in service.asked} == {200}
    assert main(["history", "--host", "--since", "soon"]) == 64


def test_no_incidents(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Are told, too."""
    service.answers["Incidents"] = []
    assert main(["history", "--host"]) == 0
    assert capsys.readouterr().out.startswith("no incidents\n")


def test_a_status_that_may_not_be_read_is_asked_for(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the file is kept from others; where the service does not tell either, both is said."""

    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("podwatch.adapters.files.open_regular", refuse)
    service.answers["Status"] = json.dumps({"schema": 1, "state": "lost", "summary": "a way"})
    assert main(["status", "--host"]) == 2
    assert "podwatch: lost, a way" in capsys.readouterr().out

    service.answers["Status"] = PodwatchError("podwatch.service does not run")
    assert main(["status", "--host"]) == 3
    assert "Permission denied; podwatch.service does not run" in capsys.readouterr().out
