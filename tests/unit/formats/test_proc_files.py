# SPDX-License-Identifier: Apache-2.0
"""Reading /proc/PID: real texts, and what a hostile process may have made of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats import proc_files as proc


def test_a_name_may_hold_anything() -> None:
    """Parentheses and blanks in a name do not shift what follows; control characters are gone."""
    found = proc.parse_stat("12 (a) R 1 (\x1b b) S 7 12 12 0 -1 4194560 1 2\n")

    assert found == proc.Stat("a) R 1 (� b", 7)


@pytest.mark.parametrize("text", ["", "12", "12 (nft", "x (nft) S 1 "])
def test_what_is_no_stat_is_none(text: str) -> None:
    """A process that ended while it was read has none."""
    assert proc.parse_stat(text) is None


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"nft\0flush\0ruleset\0", "nft flush ruleset"),
        (b"", ""),
        (b"\0\0\0", ""),
        (b"sh\0-c\0a\n\tb\0", "sh -c a b"),
        (b"a\xff\x1b[2J\0", "a��[2J"),
        (b"x" * 100, "x" * 100),
        (b"x" * 101, "x" * 99 + "…"),
    ],
)
def test_a_command_line_is_short_and_harmless(data: bytes, line: str) -> None:
    """Nothing of it moves a terminal's cursor, and it is cut."""
    assert proc.command_line(proc.parse_command(data)) == line


@pytest.mark.parametrize(
    ("text", "unit", "session"),
    [
        ("0::/system.slice/nftables.service\n", "nftables.service", ""),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "", "3"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo@1.service\n",
            "app-foo@1.service",
            "",
        ),
        ("1:name=systemd:/system.slice/cron.service\n4:cpu:/\n", "cron.service", ""),
        ("0::/system.slice/ssh.service/inner/leaf\n", "ssh.service", ""),
        ("0::/../../session-9.scope\n", "", ""),
        ("0::/\n", "", ""),
        ("", "", ""),
        ("0::/\x1b[2J.service\n", "", ""),
    ],
)
def test_the_nearest_unit_counts(text: str, unit: str, session: str) -> None:
    """Of a control group's path the unit or session nearest to the process is taken."""
    assert proc.parse_cgroup(text) == (unit, session)


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("1000\n", 1000),
        ("4294967294", 4294967294),
        ("4294967295", None),
        ("10000000000", None),
        ("9" * 5000, None),
        ("-1", None),
        ("", None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_login_that_never_was_is_none(text: str, uid: int | None) -> None:
    """The kernel's "not set" is not a user, nor is what is no number of 32 bits."""
    assert proc.parse_login(text) == uid


def test_users_have_names() -> None:
    """A name comes from passwd(5), and a number stands for itself where it has none."""
    users = "root:x:0:0::/root:/bin/sh\n+::\nalice:x:1000:1000::/home/alice:/bin/bash\n"

    assert proc.user_name(users, 1000) == "alice"
    assert proc.user_name(users, 100) == "uid 100"
    assert proc.user_name("bob:x:7:100::/home/bob:/bin/sh\n+\n", 100) == "uid 100"
    assert proc.user_name("a\x1b[2J:x:7:7::/:/bin/sh", 7) == "a\ufffd[2J"
    assert proc.parse_uid("Name:\tnft\n") is None
    assert proc.parse_uid("Name:\tnft\nUid:\t1000\t0\t0\t0\n") == 1000


@pytest.mark.parametrize(
    ("arguments", "is_wrapper"),
    [
        (("sh", "-c", "nft flush ruleset"), True),
        (("sh", "-ec", "nft flush ruleset"), True),
        (("sh", "-c"), True),
        (("sh", "-e"), False),
        (("bash", "/root/site.sh"), False),
        (("-bash",), False),
        (("sudo", "nft", "flush", "ruleset"), True),
        (("iptables-restore",), True),
        (("python3", "/usr/sbin/ufw", "reload"), False),
    ],
)
def test_wrappers(arguments: tuple[str, ...], is_wrapper: bool) -> None:  # noqa: FBT001
    """A script and a person's shell are somebody; sudo and `sh -c` only run another."""
    assert proc.is_wrapper(arguments[0].lstrip("-"), arguments) == is_wrapper


@given(st.text(), st.binary())
def test_nothing_raises(text: str, data: bytes) -> None:
    """Whatever a process made of its files, reading them goes well."""
    proc.parse_stat(text)
    proc.parse_cgroup(text)
    proc.parse_login(text)
    proc.parse_uid(text)
    assert "\n" not in proc.command_line(proc.parse_command(data))


def test_a_start_is_behind_whatever_name() -> None:
    """The start is field 22, in a name like another line too; what makes no sense is none."""
    fields = " ".join(["S", "1", *map(str, range(5, 22)), "4711"])
    for name in ("sh", "a) S 1 2 (b", ")" * 40):
        assert proc.parse_start(f"77 ({name}) {fields} 9 10".encode()) == 4711
    assert proc.parse_start(f"77 (sh) {fields}".encode()) == 4711
    for text in (b"", b"77 (sh", b"77 (sh) S 1" + b" 1" * 17, b"77 (sh) S" + b" x" * 30):
        assert proc.parse_start(text) is None
