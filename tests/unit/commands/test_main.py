# SPDX-License-Identifier: Apache-2.0
"""The command line: exit codes, and what goes where. `status` runs for real, as a process."""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog

from podwatch import __version__
from podwatch.adapters.paths import Paths
from podwatch.commands import explain, once, whose
from podwatch.commands import release as released
from podwatch.commands.main import main
from podwatch.daemon import serve
from podwatch.report import logging
from podwatch.report.history import History
from podwatch.report.incident import Incident
from podwatch.words.cause import NO_CAUSE
from podwatch.words.errors import ConfigError, PodwatchError
from podwatch.words.network import Container
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import State
from podwatch.words.way import Hop, Mark, Way, WayKind

ROOT = Path(__file__).parents[3]


def podwatch(run_dir: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "podwatch.commands.main", *arguments],
        env={**os.environ, "PODWATCH_RUN_DIR": str(run_dir), "PYTHONPATH": str(ROOT), **more},
        cwd=run_dir,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def publish(run_dir: Path, pid: int, **fields: Any) -> None:
    """A status document of a daemon with this pid."""
    document = {
        "schema": 1,
        "pid": pid,
        "heartbeat_every": 20.0,
        "summary": "all is well",
        **fields,
    }
    (run_dir / "status.json").write_text(json.dumps(document))


@pytest.fixture(scope="module", autouse=True)
def daemon() -> Iterator[int]:
    """The pid of a process that calls itself podwatch, and does nothing."""
    with subprocess.Popen(["podwatch", "infinity"], executable="/usr/bin/sleep") as process:
        yield process.pid
        process.kill()


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`podwatch run` takes ssl out, and logs to a stream that ends with its test: both end here."""
    monkeypatch.setitem(sys.modules, "ssl", ssl)
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "extra"],
        ["run", "--config"],
        ["check", "--json=1"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_exits_with_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the arguments, the exit code is 64 and stdout stays empty."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 64
    output = capsys.readouterr()
    assert output.out == ""
    assert "usage: podwatch" in output.err


@pytest.mark.parametrize(("typed", "seconds"), [("10", 10), ("1.5", 1.5), ("10m", 600)])
def test_a_plain_number_is_a_pause_in_seconds(
    typed: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the configuration; what has a unit is read by it."""
    monkeypatch.setenv("PODWATCH_RUN_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert main(["pause", "--for", typed]) == 0
    pause = json.loads((tmp_path / "pause" / "pause.json").read_text())
    assert pause["until"] - pause["since"] == pytest.approx(seconds)


@pytest.mark.parametrize("typed", ["nan", "inf", "0", "-1", "1e9", "ten"])
def test_a_pause_of_no_length_is_refused(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no duration, or out of range, says what is allowed."""
    assert main(["pause", f"--for={typed}"]) == 64
    assert "must be a number of seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("state", "code"), [("ok", 0), ("degraded", 1), ("lost", 2), ("unknown", 3)]
)
def test_status_exits_with_the_state(tmp_path: Path, daemon: int, state: str, code: int) -> None:
    """The exit code of `podwatch status` is the state's."""
    publish(tmp_path, daemon, state=state)

    result = podwatch(tmp_path, "status", "--host")

    assert (result.returncode, result.stderr) == (code, "")
    assert result.stdout.startswith(f"● podwatch: {state}, all is well\n")


def test_status_as_json_is_the_whole_document(tmp_path: Path, daemon: int) -> None:
    """--json prints what the daemon wrote, unknown fields too, and the exit code is the same."""
    publish(tmp_path, daemon, state="lost", from_the_future=[1])

    result = podwatch(tmp_path, "status", "--host", "--json")

    document = json.loads(result.stdout)
    assert (result.returncode, document["state"], document["from_the_future"]) == (2, "lost", [1])
    assert document["heartbeat"] == (tmp_path / "status.json").stat().st_mtime


def test_status_without_a_daemon_says_what_to_do(tmp_path: Path) -> None:
    """No status file: unknown, exit code 3, and the commands to type."""
    result = podwatch(tmp_path, "status", "--host")

    assert result.returncode == 3
    assert "no word from the daemon" in result.stdout
    assert f"{tmp_path}/status.json does not exist" in result.stdout
    assert "systemctl start podwatch" in result.stdout


def test_status_of_a_daemon_gone_silent_is_unknown(tmp_path: Path, daemon: int) -> None:
    """A heartbeat older than three of its periods is that of a daemon that does not run."""
    publish(tmp_path, daemon, state="ok")
    old = time.time() - 61
    os.utime(tmp_path / "status.json", (old, old))

    result = podwatch(tmp_path, "status", "--host", "--json")

    assert result.returncode == 3
    document = json.loads(result.stdout)
    assert document["state"] == "unknown"
    assert "gave no sign of life for 6" in document["summary"]


def test_status_imports_nothing_heavy() -> None:
    """`podwatch status` has no use for asyncio, structlog, D-Bus or libnftables."""
    code = (
        "import sys; import podwatch.commands.main, podwatch.commands.render; "
        "import podwatch.report.status; print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    loaded = set(result.stdout.split())
    assert "podwatch.report.status" in loaded
    assert not loaded & {"asyncio", "structlog", "dbus_next", "nftables", "pystemd", "tomllib"}


def test_an_ascii_terminal_gets_ascii(tmp_path: Path, daemon: int) -> None:
    """Where stdout knows no dot, a star stands for it, instead of a UnicodeEncodeError."""
    publish(tmp_path, daemon, state="ok")

    result = podwatch(tmp_path, "status", "--host", PYTHONIOENCODING="ascii")

    assert result.stdout.startswith("* podwatch: ok, ")


def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    """`podwatch config --default | head -1` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "podwatch.commands.main", "config", "--default"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        check=False,
    )
    os.close(write)

    assert (result.returncode, result.stderr) == (141, "")


def test_config_tells_value_and_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`podwatch config` prints TOML that sets what is in effect, each with its origin."""
    file = tmp_path / "mine.conf"
    file.write_text("[restore]\nlimit = 7\n")

    assert main(["config", "--config", str(file)]) == 0

    printed = capsys.readouterr().out
    assert f"limit = 7  # {file}\n" in printed
    assert 'window = "5m"  # default\n' in printed
    file.write_text(printed)
    assert main(["config", "--config", str(file)]) == 0
    assert 'window = "5m"  # default' not in capsys.readouterr().out


def test_config_default_is_the_shipped_file(capsys: pytest.CaptureFixture[str]) -> None:
    """`podwatch config --default` prints the documented file."""
    assert main(["config", "--default"]) == 0

    assert capsys.readouterr().out == (ROOT / "packaging/podwatch.conf").read_text()


@pytest.mark.parametrize("command", ["run", "check", "restore", "config"])
def test_a_bad_configuration_is_refused_by_every_command(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command that reads the configuration exits with 64 and names what is wrong."""
    file = tmp_path / "bad.conf"
    file.write_text("[restore]\nlimit = 0\nlimitt = 1\n")

    assert main([command, "--config", str(file)]) == 64

    error = capsys.readouterr().err
    assert f"{file}: restore.limit = 0: must be a whole number" in error
    assert "restore.limitt: no such setting" in error
    assert "podwatch config --default" in error


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """`podwatch version` prints the version."""
    assert main(["version"]) == 0

    assert capsys.readouterr().out == f"podwatch {__version__}\n"


def root_on(run_dir: Path, patch: pytest.MonkeyPatch) -> None:
    """Let commands think that they are root's, on a host whose files are in `run_dir`."""
    patch.setenv("PODWATCH_RUN_DIR", str(run_dir))
    patch.setenv("PODWATCH_STATE_DIR", str(run_dir))
    patch.setattr(os, "geteuid", lambda: 0)


class Answer:
    """A command's work: it keeps what it was called with, and answers."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.given: dict[str, Any] = {}

    async def __call__(self, *_: Any, **given: Any) -> Any:
        """Do nothing."""
        self.given = given
        return self.answer


def test_check_prints_what_a_monitor_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line of a monitoring plugin, or with --json the document; the exit code is the state's."""
    root_on(tmp_path, monkeypatch)
    document = {"state": "degraded", "summary": "1 rule is there twice"}
    monkeypatch.setattr(once, "check", Answer(document))

    assert main(["check"]) == 1
    assert capsys.readouterr().out.startswith("PODWATCH WARNING - 1 rule is there twice | missing=")
    assert main(["check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == document


@pytest.mark.parametrize("json_too", [(), ("--json",)])
def test_check_with_a_bad_configuration_is_unknown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    json_too: tuple[str, ...],
) -> None:
    """A monitor gets a state, not a usage error, for a file that it did not name itself."""
    root_on(tmp_path, monkeypatch)
    bad = tmp_path / "podwatch.conf"
    bad.write_text("[restore]\nlimit = 0\n")
    monkeypatch.setattr(Paths, "of", lambda: Paths(run=tmp_path, configuration=(bad,)))

    assert main(["check", *json_too]) == 3
    printed = capsys.readouterr().out
    assert "restore.limit = 0: must be a whole number" in printed
    assert ("PODWATCH UNKNOWN - the configuration is refused: " in printed) is not bool(json_too)


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ([], {"dry_run": False, "stale": False}),
        (["--dry-run"], {"dry_run": True, "stale": False}),
        (["--stale"], {"dry_run": False, "stale": True}),
    ],
)
def test_restore_exits_with_the_state_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: list[str], given: dict[str, bool]
) -> None:
    """Its options reach the work."""
    root_on(tmp_path, monkeypatch)
    work = Answer(State.LOST)
    monkeypatch.setattr(once, "restore", work)

    assert main(["restore", *typed]) == 2
    assert work.given == given


def test_run_serves_until_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's end is exit code 0, and --dry-run reaches it."""
    root_on(tmp_path, monkeypatch)
    work = Answer(None)
    monkeypatch.setattr(serve, "serve", work)

    assert main(["run", "--dry-run"]) == 0
    assert work.given == {"dry_run": True}


WAY = Way(
    WayKind.IN,
    "8080/tcp → web:80",
    "web",
    "a" * 64,
    "podman",
    hops=(Hop("host", "8080/tcp has no DNAT rule", Mark.BROKEN),),
)


def test_explain_draws_prints_and_exits_with_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text, as JSON, or into a file, which replaces the text."""
    root_on(tmp_path, monkeypatch)
    monkeypatch.setattr(explain, "look", Answer(explain.Seen([WAY])))

    assert main(["explain"]) == 2
    assert "8080/tcp has no DNAT rule" in capsys.readouterr().out
    assert main(["explain", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ways"][0]["container"] == "web"
    assert main(["explain", "--svg", str(tmp_path / "host.svg")]) == 2
    assert capsys.readouterr().out == ""
    assert "8080/tcp" in (tmp_path / "host.svg").read_text()


def test_explain_firewalld_is_about_firewalld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a script or as JSON; a container or a pod that is called so is explained instead."""
    root_on(tmp_path, monkeypatch)
    snapshot = Snapshot(None, None, None)
    monkeypatch.setattr(explain, "look", Answer(explain.Seen([], snapshot=snapshot)))
    assert main(["explain", "firewalld"]) == 0
    assert capsys.readouterr().out.startswith("# firewalld does not run")
    assert main(["explain", "firewalld", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["permanent"] is None

    way = replace(WAY, container="firewalld")
    for known in (Container("a" * 64, "firewalld"), Container("a" * 64, "x", pod="firewalld")):
        seen = explain.Seen([way], {known.id: known}, snapshot=snapshot)
        monkeypatch.setattr(explain, "look", Answer(seen))
        assert main(["explain", "firewalld"]) == 2
        assert "8080/tcp has no DNAT rule" in capsys.readouterr().out


def test_release_says_what_it_took_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence."""
    root_on(tmp_path, monkeypatch)
    monkeypatch.setattr(released, "release", Answer("took away 1 permanent source"))
    assert main(["release"]) == 0
    assert capsys.readouterr().out == "took away 1 permanent source\n"


@pytest.mark.parametrize(
    "command",
    [
        "check --host",
        "release",
    ],
)
def test_what_needs_root_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """With the command to type instead."""
    root_on(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert main(command.split()) == 3
    assert capsys.readouterr().err == (
        f"podwatch: {command} needs root\n  → sudo podwatch {command}\n"
    )


def test_watching_the_host_takes_a_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root's or CAP_NET_ADMIN: who has neither is told what is missing, who has one watches."""
    root_on(tmp_path, monkeypatch)
    monkeypatch.setattr(serve, "serve", Answer(None))
    monkeypatch.setattr(logging, "configure", lambda _level: None)
    monkeypatch.setattr(os, "geteuid", lambda: 4242424)
    monkeypatch.setattr(whose, "may_change_networks", lambda: False)

    assert main(["run", "--host"]) == 3
    assert capsys.readouterr().err == (
        "podwatch: run --host needs root, or CAP_NET_ADMIN: uid 4242424 has neither\n"
        "  → systemctl start podwatch; as a user of its own: "
        "see /usr/share/podwatch/units/nonroot.conf\n"
    )
    monkeypatch.setattr(whose, "may_change_networks", lambda: True)
    assert main(["run", "--host"]) == 0
    monkeypatch.setattr(whose, "sees_processes", lambda: False)
    assert main(["run", "--host"]) == 64
    assert "/proc hides other users' processes from uid 4242424" in capsys.readouterr().err


def test_a_pause_is_ended_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`podwatch resume` says whether there was one, and that no daemon waits for it."""
    root_on(tmp_path, monkeypatch)
    assert main(["pause", "--reason", "upgrade"]) == 0
    assert "upgrade" in capsys.readouterr().out
    for ends in ("the pause has ended", "there is no pause"):
        assert main(["resume"]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(ends)
        assert "podwatch does not run" in printed


def test_history_is_limited_by_number_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last 20 where nothing is asked for, all since a moment, or as many as typed."""
    root_on(tmp_path, monkeypatch)
    history = History(tmp_path / "history.jsonl")
    now = time.time()
    for number in range(30):
        history.note(Incident(now - 3600 + number, NO_CAUSE))

    for typed, told in (([], 20), (["--since", "2h"], 30), (["-n", "3"], 3), (["-n", "0"], 30)):
        assert main(["history", "--json", *typed]) == 0
        assert len(capsys.readouterr().out.splitlines()) == told
    assert main(["history", "--since", "soon"]) == 64
    assert 'write "2h", "3d"' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["history", "-n", "-1"])
    assert "'-1' is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (PodwatchError("nft\x1b:\n not found", hint="install it"), 3, "podwatch: nft�:\n   not"),
        (ConfigError("limit = 0"), 64, "podwatch: limit = 0\n"),
        (KeyboardInterrupt(), 130, ""),
        (ModuleNotFoundError(name="dbus_next"), 3, "podwatch: the Python module dbus_next is"),
    ],
)
def test_errors_are_sentences_and_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    says: str,
) -> None:
    """A traceback is for bugs alone; what is printed holds nothing that a terminal obeys."""

    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(Paths, "of", fail)
    assert main(["status", "--host"]) == code
    assert capsys.readouterr().err.startswith(says)


def test_a_module_nobody_packages_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of modules of the distributions it is said how to install them."""

    def fail() -> NoReturn:
        raise ModuleNotFoundError(name="podwatch.nonsense")

    monkeypatch.setattr(Paths, "of", fail)
    with pytest.raises(ModuleNotFoundError):
        main(["status", "--host"])


def test_status_in_process(
    tmp_path: Path,
    daemon: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the daemon, without it, and without it as JSON; a refused configuration is named."""
    bad = tmp_path / "podwatch.conf"
    bad.write_text("[restore]\nlimit = 0\n")
    monkeypatch.setattr(Paths, "of", lambda: Paths(run=tmp_path, configuration=(bad,)))
    assert main(["status", "--host"]) == 3
    assert "the configuration is refused: " in capsys.readouterr().out
    assert main(["status", "--host", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["summary"].startswith("no word from the daemon: ")
    publish(tmp_path, daemon, state="lost")
    assert main(["status", "--host"]) == 2
    assert "podwatch: lost, all is well" in capsys.readouterr().out
    assert main(["status", "--host", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["state"] == "lost"


def test_help_is_in_podwatchs_words(capsys: pytest.CaptureFixture[str]) -> None:
    """--help and --version explain themselves like every other option; each command has them."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "print what can be typed here" in printed
    assert "print the version of podwatch" in printed
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "only the ways of this container, by name or id, or of this port" in printed
