# SPDX-License-Identifier: Apache-2.0
"""Who did it, in one sentence: all that is known, and nothing that is not."""

import pytest

from podwatch.words.cause import (
    NO_CAUSE,
    WHILE_ABSENT,
    Process,
    Writer,
    by_firewalld,
    by_writer,
)

SHELL = Process("bash", 90, "-bash")


@pytest.mark.parametrize(
    ("process", "told", "everybody"),
    [
        (None, *["nft (pid 91), ended before it could be asked"] * 2),
        (Process("nft", 91), *["nft (pid 91)"] * 2),
        (Process("nft", 91, "nft"), *["nft (pid 91)"] * 2),
        (Process("nft", 91, parent=Process("sh", 9)), *["nft (pid 91), run by sh (pid 9)"] * 2),
        (
            Process("nft", 91, "nft flush ruleset", "", "3", "alice", SHELL),
            "nft (pid 91), “nft flush ruleset”, run by “-bash” (pid 90), session 3, user alice",
            "nft (pid 91), run by bash (pid 90), session 3, user alice",
        ),
        (
            Process("nft", 91, "nft -f /etc/nftables.conf", "nftables.service"),
            "nft (pid 91), “nft -f /etc/nftables.conf”, unit nftables.service",
            "nft (pid 91), unit nftables.service",
        ),
    ],
)
def test_what_is_known_is_told(process: Process | None, told: str, everybody: str) -> None:
    """The name and pid always; parent, session or unit and user if known; commands to root."""
    cause = by_writer(Writer("nft", 91, process))
    assert (cause.for_root, str(cause)) == (told, everybody)


def test_facts_are_for_programs() -> None:
    """Everybody may know who, in which unit and for whom; command lines are for root."""
    process = Process("nft", 91, "nft -f x", "a.service", "3", "alice", SHELL)
    cause = by_writer(Writer("nft", 91, process))
    everybody = {
        "name": "nft",
        "pid": 91,
        "command": "",
        "unit": "a.service",
        "session": "3",
        "user": "alice",
        "parent": "bash",
        "parent_pid": 90,
    }
    assert cause.facts == everybody
    assert cause.facts_for_root == {**everybody, "command": "nft -f x", "parent": "-bash"}


@pytest.mark.parametrize(
    ("process", "parent"),
    [
        (None, None),
        (Process("nft", 91, "nft"), None),
        (Process("nft", 91, "", parent=Process("sh", 90)), "sh"),
    ],
    ids=["gone", "alone", "without command"],
)
def test_facts_that_are_not_known_are_left_out(process: Process | None, parent: str | None) -> None:
    """Of a process that had gone there is the name alone; of no writer there is nothing."""
    cause = by_writer(Writer("nft", 91, process))
    for facts in (cause.facts, cause.facts_for_root):
        assert (facts["name"], facts["pid"]) == ("nft", 91)
        assert ("command" in facts) == (process is not None)
        assert facts.get("parent") == parent
    assert by_firewalld("firewalld reloaded").facts == NO_CAUSE.facts_for_root == {}


def test_a_cause_without_a_writer_has_one_sentence() -> None:
    """For root as for everybody."""
    cause = by_firewalld("firewalld reloaded")
    assert cause.for_root == str(cause) == "firewalld reloaded"


def test_a_fight_is_told_by_the_name_alone() -> None:
    """What is short is the writer, however much is known of it."""
    assert by_writer(Writer("nft", 91, SHELL)).short == "nft (pid 91)"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("nft", "nft"),
        ("iptables-restor", "iptables"),
        ("ip6tables-nft", "ip6tables"),
        ("firewalld", "firewalld"),
        ("evil\nname", "other"),
    ],
)
def test_a_label_is_one_of_a_few(name: str, label: str) -> None:
    """A process may call itself anything; what is counted by has few values."""
    assert by_writer(Writer(name, 1)).label == label


def test_causes_without_a_writer_are_counted_by_their_kind() -> None:
    """firewalld's events, podwatch's own absence, and nothing at all have words of their own."""
    found = [each.label for each in (by_firewalld("firewalld reloaded"), WHILE_ABSENT, NO_CAUSE)]

    assert found == ["firewalld", "absent", "unknown"]
    assert not NO_CAUSE
