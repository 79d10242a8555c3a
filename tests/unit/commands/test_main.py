# SPDX-License-Identifier: Apache-2.0
"""The command line: exit codes, and what goes where. `status` runs for real, as a process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podwatch import __version__
from podwatch.commands.main import main

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

    result = podwatch(tmp_path, "status")

    assert (result.returncode, result.stderr) == (code, "")
    assert result.stdout.startswith(f"● podwatch: {state}, all is well\n")


def test_status_as_json_is_the_whole_document(tmp_path: Path, daemon: int) -> None:
    """--json prints what the daemon wrote, unknown fields too, and the exit code is the same."""
    publish(tmp_path, daemon, state="lost", from_the_future=[1])

    result = podwatch(tmp_path, "status", "--json")

    document = json.loads(result.stdout)
    assert (result.returncode, document["state"], document["from_the_future"]) == (2, "lost", [1])
    assert document["heartbeat"] == (tmp_path / "status.json").stat().st_mtime


def test_status_without_a_daemon_says_what_to_do(tmp_path: Path) -> None:
    """No status file: unknown, exit code 3, and the commands to type."""
    result = podwatch(tmp_path, "status")

    assert result.returncode == 3
    assert "no word from the daemon" in result.stdout
    assert f"{tmp_path}/status.json does not exist" in result.stdout
    assert "systemctl start podwatch" in result.stdout


def test_status_of_a_daemon_gone_silent_is_unknown(tmp_path: Path, daemon: int) -> None:
    """A heartbeat older than three of its periods is that of a daemon that does not run."""
    publish(tmp_path, daemon, state="ok")
    old = time.time() - 61
    os.utime(tmp_path / "status.json", (old, old))

    result = podwatch(tmp_path, "status", "--json")

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

    result = podwatch(tmp_path, "status", PYTHONIOENCODING="ascii")

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
