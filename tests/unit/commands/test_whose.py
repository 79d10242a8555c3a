# SPDX-License-Identifier: Apache-2.0
"""Whose containers a command is about: chosen by who types it, or by --user and --host."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.paths import Paths
from podwatch.commands import explain, once, whose
from podwatch.commands.main import main
from podwatch.daemon import serve
from podwatch.report import logging
from podwatch.words.errors import PodwatchError
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user who is not root, and who has used podman; `run` in it is /run/user/UID."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid or 1000)
    if tmp_path.stat().st_uid == 0:
        os.chown(tmp_path, 1000, 1000)
    runtime = tmp_path / "run"
    (tmp_path / ".local/share/containers/storage").mkdir(parents=True)
    runtime.mkdir(mode=0o700)
    os.chown(runtime, os.geteuid(), -1)
    for name in list(os.environ):
        if name.startswith(("XDG_", "PODWATCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


class Work:
    """What a command does: it keeps whose host it was called for, and answers."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.paths = Paths()

    async def __call__(self, *given: Any, **_: Any) -> Any:
        """Do nothing."""
        (self.paths,) = (each for each in given if isinstance(each, Paths))
        return self.answer


def test_who_is_not_root_means_his_own(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that looks or repairs is about the user who types it, with the same codes."""
    monkeypatch.setattr(logging, "configure", lambda _level: None)  # it is the process' own
    document = {"state": "lost", "summary": "pasta has ended"}
    for command, place, name, answer, code in (
        ("run", serve, "serve", None, 0),
        ("check", once, "check", document, 2),
        ("restore", once, "restore", State.DEGRADED, 1),
        ("explain", explain, "look", explain.Seen([]), 0),
    ):
        work = Work(answer)
        monkeypatch.setattr(place, name, work)
        assert main([command]) == code
        assert work.paths.run == user / "run/podwatch"
        assert work.paths.rootless is not None


def test_root_means_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root needs no option."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("PODWATCH_RUN_DIR", raising=False)

    assert whose.chosen_paths(None).run == Path("/run/podwatch")
    assert whose.chosen_paths(whose.HOST).rootless is None


def test_host_shows_a_user_what_roots_podwatch_says(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`status --host` reads the host's status document; the last of two options counts."""
    document = {
        "schema": 1,
        "pid": os.getpid(),
        "heartbeat_every": 20.0,
        "state": "ok",
        "summary": "fine",
    }
    (user / "status.json").write_text(json.dumps(document))
    monkeypatch.setattr(Paths, "of", lambda: Paths(run=user))
    monkeypatch.setattr("podwatch.report.status.why_not_running", lambda *_: "")

    assert main(["status", "--user", "--host"]) == 0
    assert capsys.readouterr().out.startswith("● podwatch: ok, fine\n")


def test_a_user_without_podwatch_is_told_how_to_begin(
    user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown, exit code 3, and what to type; that podman has kept nothing yet is told, too."""
    assert main(["status"]) == 3
    told = capsys.readouterr().out
    assert f"{user}/run/podwatch/status.json does not exist" in told
    assert "→ systemctl --user enable --now podwatch.service " in told
    assert "→ podwatch status --host " in told
    assert "podman has kept nothing" not in told

    (user / ".local/share/containers/storage").rmdir()
    assert main(["status"]) == 3
    assert "podman has kept nothing of yours yet" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["pause", "resume", "restore", "explain", "history"])
def test_who_has_no_containers_is_told_of_roots(
    user: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """On a server of root's containers he meant those; nothing is guessed, and nothing done."""
    (user / ".local/share/containers/storage").rmdir()

    assert main([command]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        f"podwatch: {command} is about your own containers, and podman has kept nothing of yours; "
        f"--host means root's\n  → podwatch {command} --host\n"
    )
    assert not (user / "run/podwatch").exists()
    if command == "pause":
        assert main([command, "--user"]) == 0  # he said it


def test_a_user_pauses_his_own(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The pause is in the user's runtime directory, and needs no root."""
    assert main(["pause", "--for", "10m"]) == 0
    assert (user / "run/podwatch/pause/pause.json").exists()
    assert main(["resume"]) == 0
    assert "the pause has ended" in capsys.readouterr().out


def test_a_users_history_is_his_own(user: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was written down yet there were no incidents; root is not asked for."""
    assert main(["history"]) == 0
    assert capsys.readouterr().out == "no incidents\n"


def test_a_users_configuration_comes_after_the_hosts(
    user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`podwatch config` reads ~/.config/podwatch, too, and names it."""
    own = user / ".config/podwatch/podwatch.conf"
    own.parent.mkdir(parents=True)
    own.write_text("[restore]\nlimit = 7\n")

    assert main(["config"]) == 0
    assert f"limit = 7  # {own}\n" in capsys.readouterr().out


def test_firewalld_is_the_hosts(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`explain firewalld` and `release` say that they are about the host alone."""
    seen = explain.Seen([], snapshot=Snapshot(None, None, None))
    monkeypatch.setattr(explain, "look", Work(seen))

    assert main(["explain", "firewalld"]) == 3
    assert "the host's containers alone" in capsys.readouterr().err
    assert main(["release"]) == 3
    assert "release needs root" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["", "/run/user/0"])
def test_root_has_no_containers_of_a_user(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """--user is refused to root, whose containers are the host's."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", named)

    with pytest.raises(PodwatchError, match="root's containers are the host's"):
        whose.chosen_paths(whose.USER)


def test_a_runtime_directory_of_somebody_else_is_refused(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `su` without a dash leaves behind is not taken for one's own."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)

    with pytest.raises(PodwatchError, match=r"belongs to uid \d+, not to you \(uid 4242\)"):
        whose.chosen_paths(None)


def test_a_runtime_directory_that_is_not_named_is_found(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron names none: the user's own counts, and what podwatch starts is told of it."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(whose, "_RUNTIMES", user)
    (user / "run").rename(user / str(os.geteuid()))

    assert whose.chosen_paths(None).run == user / str(os.geteuid()) / "podwatch"
    assert os.environ["XDG_RUNTIME_DIR"] == str(user / str(os.geteuid()))


def test_without_any_runtime_directory_it_says_so(
    user: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, and how to get one."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(whose, "_RUNTIMES", user / "nowhere")

    assert main(["status"]) == 3
    assert "XDG_RUNTIME_DIR is not set" in capsys.readouterr().err
