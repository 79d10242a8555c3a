# SPDX-License-Identifier: Apache-2.0
"""What this process may do, and as whom it runs."""

import os
import pwd

import pytest

from podwatch.adapters import rights


@pytest.mark.parametrize(
    ("line", "may"),
    [("CapEff:\t0000000000001000", True), ("CapEff:\t000001ffffffffff", True)]
    + [(line, False) for line in ("CapEff:\t0000000000000000", "CapEff:\t000001ffffffefff", "")],
)
def test_the_one_capability_counts(
    monkeypatch: pytest.MonkeyPatch, line: str, *, may: bool
) -> None:
    """CAP_NET_ADMIN among those in effect, and no other."""
    text = f"Name:\tpodwatch\nCapPrm:\t0000000000001000\n{line}\nCapBnd:\t0000000000001000\n"
    monkeypatch.setattr(rights, "read_proc", lambda _path: text.encode())

    assert rights.may_change_networks() is may


def test_processes_that_do_not_show_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one runs everywhere, and is root's."""
    assert rights.sees_processes()

    def hide(path: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(rights, "read_proc", hide)
    assert not rights.sees_processes()


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose passwd does not know it."""
    assert rights.user() == pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(os, "geteuid", lambda: 4242424)
    assert rights.user() == "uid 4242424"
