# SPDX-License-Identifier: Apache-2.0
"""Reading the configuration: which file wins, and what each mistake is told as."""

import os
from pathlib import Path

import pytest

from podwatch.daemon.config import Config, load
from podwatch.words.errors import ConfigError

SECONDS = 'a number of seconds, or a text like "300ms", "5s", "10m", "1h"; '


def written(tmp_path: Path, text: str | bytes) -> Path:
    """A configuration file with this content."""
    file = tmp_path / "podwatch.conf"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_no_file_at_all_is_the_defaults(tmp_path: Path) -> None:
    """Files that do not exist are no error, and the defaults hold."""
    assert load([tmp_path / "none.conf", tmp_path / "none.conf.d"]) == Config()


def test_the_later_file_wins_setting_by_setting(tmp_path: Path) -> None:
    """Of each setting the last value counts; *.conf in a directory are read sorted by name."""
    main = written(tmp_path, "[restore]\nlimit = 3\nwindow = 60\nquiet = 1\n")
    extra = tmp_path / "podwatch.conf.d"
    extra.mkdir()
    (extra / "20-last.conf").write_text("[restore]\nlimit = 5\n")
    (extra / "10-first.conf").write_text("[restore]\nlimit = 4\nwindow = '2m'\n")
    (extra / "30-not-read.conf.bak").write_text("nonsense")

    config = load([main, extra])

    assert (config.restore.limit, config.restore.window, config.restore.quiet) == (5, 120, 1)
    assert config.origins == {
        "restore.limit": str(extra / "20-last.conf"),
        "restore.window": str(extra / "10-first.conf"),
        "restore.quiet": str(main),
    }


def test_effective_values_name_their_origin(tmp_path: Path) -> None:
    """Every setting is listed with its value as TOML and the file it comes from."""
    file = written(tmp_path, "[restore]\nmethods = ['reload']\n")

    rows = list(load([file]).effective())

    assert ("restore", "methods", '["reload"]', str(file)) in rows
    assert ("look", "interval", '"5m"', "default") in rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[restore]\nlimitt = 3", "restore.limitt: no such setting; is limit meant?"),
        ("[look]\nlevel = 'info'", "look.level: no such setting; is log.level meant?"),
        ("[firewalld]\nzzz = 1", "firewalld.zzz: no such setting; there is sources"),
        ("[restor]\nlimit = 3", "[restor]: no such section; is restore meant?"),
        ("interval = 3", "interval: a setting must stand below its [section] (is look.interval me"),
        ("x = 3", "x: a setting must stand below its [section]\n"),
        ("[restore]\nlimit = false", "restore.limit = false: must be a whole number from 1 to"),
        ("log = 'debug'", "log: must be a section, written [log]"),
        ("[[log]]\nlevel = 'info'", "log: must be a section, written [log]"),
        ("[restore]\nlimit = '3'", 'restore.limit = "3": must be a whole number from 1 to 1000'),
        (f"[restore]\nlimit = {'9' * 5000}", "not TOML: Exceeds the limit (4300 digits)"),
        (f"[restore]\nlimit = 0x{'f' * 5000}", "restore.limit = a number of thousands of digits:"),
        (f"[look]\ninterval = 0x{'f' * 5000}", "look.interval = a number of thousands of digits:"),
        ("[restore]\nlimit = true", "restore.limit = true: must be a whole number from 1 to 1000"),
        ("[restore]\nlimit = 1.0", "restore.limit = 1.0: must be a whole number from 1 to 1000"),
        ("[restore]\nlimit = 0", "restore.limit = 0: must be a whole number from 1 to 1000"),
        ("[restore]\nenabled = 1", "restore.enabled = 1: must be true or false"),
        ("[restore]\nenabled = 'no'", 'restore.enabled = "no": must be true or false'),
        ("[look]\ninterval = true", f"look.interval = true: must be {SECONDS}from 10s to 1d"),
        ("[look]\ninterval = nan", f"look.interval = nan: must be {SECONDS}from 10s to 1d"),
        ("[look]\ninterval = inf", f"look.interval = inf: must be {SECONDS}from 10s to 1d"),
        ("[look]\ninterval = 9", f"look.interval = 9: must be {SECONDS}from 10s to 1d"),
        ("[look]\ninterval = '5x'", f'look.interval = "5x": must be {SECONDS}from 10s to 1d'),
        ("[look]\ninterval = 1979-05-27", "look.interval = 1979-05-27: must be "),
        ("[log]\nlevel = 'loud'", 'log.level = "loud": must be "debug", "info", "warning" or "err'),
        ("[log]\nlevel = ['info']", "log.level = ['info']: must be "),
        ("[restore]\nmethods = 'reload'", 'restore.methods = "reload": must be a list of '),
        ("[restore]\nmethods = []", "restore.methods = []: must be a list of "),
        ("[restore]\nmethods = ['reload', 'reload']", "none twice"),
        ("[restore]\nmethods = [{a = 1}]", "restore.methods = [{'a': 1}]: must be a list of "),
        ("[restore]\nbackoff = 10\nbackoff_max = 5", "restore.backoff_max = 5s: must not be less"),
        ("[restore\nlimit = 3", "not TOML: "),
        ("[log]\nlevel = 'info'\nlevel = 'info'\n", "(at line 3"),
        ("[log]\nx = '\x1b[31m'", "not TOML: "),
        ("[log]\nlevel = '\u202e\u0085'", 'log.level = "\\u202e\\x85": must be '),
        ("a = " + "[" * 5000, "not TOML: "),
        (f"[log]\nlevel = '{'x' * 78}'", f'log.level = "{"x" * 78}": must be '),
        (f"[log]\nlevel = '{'x' * 79}'", f'log.level = "{"x" * 78}…: must be '),
        ("[look]\ninterval = []", "look.interval = []: must be "),
        ("[look]\ninterval = '9999ms'", f'look.interval = "9999ms": must be {SECONDS}from 10s'),
        ("[look]\ninterval = 86400.5", f"look.interval = 86400.5: must be {SECONDS}from 10s"),
        ("[restore]\nlimit = 1001", "restore.limit = 1001: must be a whole number from 1 to 1000"),
        ("[restore]\nmethods = ['replay', 'pray']", "restore.methods = ['replay', 'pray']: must"),
        ("[restore]\nmethods = 'replay'", 'restore.methods = "replay": must be a list of '),
        (b"[log]\n\n# \xff\n", "not UTF-8 (line 3)"),
        (b"#" * (1 << 20) + b"!", "larger than 1048576 bytes"),
    ],
)
def test_a_mistake_is_told_with_file_setting_value_and_what_is_allowed(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    """Each wrong section, key, type and value is refused in words that help."""
    file = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load([file])

    assert f"{caught.value}\n".count(f"{file}: ") == 1
    assert str(file) in str(caught.value)
    assert says in f"{caught.value}\n"
    assert "podwatch config --default" in caught.value.hint


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """A person who has made three mistakes is told of three, not of the first."""
    first = written(tmp_path, "[restore]\nlimit = 0\nwindou = 3\n")
    second = tmp_path / "second.conf"
    second.write_text("[log\n")

    with pytest.raises(ConfigError) as caught:
        load([first, second])

    assert len(str(caught.value).splitlines()) == 3


def test_what_contradicts_nothing_is_taken(tmp_path: Path) -> None:
    """The longest pause may be the first one, too; a file that is a link is read as any other."""
    there = written(tmp_path, "[restore]\nbackoff = 5\nbackoff_max = 5\n")
    link = tmp_path / "link.conf"
    link.symlink_to(there)

    assert load([link]).restore.backoff == 5


def test_a_contradiction_names_the_files_it_stands_in(tmp_path: Path) -> None:
    """Two settings that contradict one another are told with both files."""
    first = written(tmp_path, "[restore]\nbackoff = '10m'\n")
    second = tmp_path / "second.conf"
    second.write_text("[restore]\nbackoff_max = '1m'\n")

    with pytest.raises(ConfigError, match=f"{second}, {first}: restore.backoff_max = 1m: must not"):
        load([first, second])


def test_a_file_named_by_hand_must_exist(tmp_path: Path) -> None:
    """`--config FILE` with a FILE that does not exist is an error, not the defaults."""
    with pytest.raises(ConfigError, match=r"none\.conf: No such file"):
        load([tmp_path / "none.conf"], must_exist=True)


def test_what_is_not_a_file_is_told(tmp_path: Path) -> None:
    """A directory in the place of a file is an error that names it."""
    (tmp_path / "x.conf").mkdir()

    with pytest.raises(ConfigError, match=r"x\.conf: cannot be read: not a regular file"):
        load([tmp_path])


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """A file that may not be read is an error that names file and reason."""
    loop = tmp_path / "loop.conf"
    loop.symlink_to(loop)

    with pytest.raises(ConfigError, match=r"loop\.conf: cannot be read: Too many levels"):
        load([loop])


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    """A named pipe is refused at once, and named; a link to /dev/null is an empty file."""
    (tmp_path / "off.conf").symlink_to(os.devnull)
    assert load([tmp_path]) == Config()

    os.mkfifo(tmp_path / "pipe.conf")
    with pytest.raises(ConfigError, match=r"pipe\.conf: cannot be read: not a regular file"):
        load([tmp_path])
