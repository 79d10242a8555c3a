# SPDX-License-Identifier: Apache-2.0
"""What `nft list table` prints, in the one form that is compared: rules, hooks, handles, flags."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.drivers.nftables import DORMANT, canonical, parse_listing
from podwatch.words.rules import Chain
from tests.unit.drivers.test_nftables import SETUP, V1_14, unmatched


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("meta mark & 0x00002000 == 0x00002000 accept", "meta mark & 0x2000 == 0x2000 accept"),
        ("meta mark 0x00000000", "meta mark 0x0"),
        ("meta l4proto { udp, tcp } accept", "meta l4proto { tcp, udp } accept"),
        ("ct state related,established accept", "ct state established,related accept"),
        ("tcp dport 80 accept", "tcp dport 80 accept"),
    ],
)
def test_spellings_have_one_form(text: str, form: str) -> None:
    """What versions of nft write differently is compared in one form."""
    assert canonical(text) == form


@given(st.lists(st.sampled_from([*"{} ,0x", "ct state ", "{ ", " }", ", ", "0x00", "new", "b"])))
def test_the_form_is_stable(pieces: list[str]) -> None:
    """A text in its one form stays as it is, whatever it says."""
    text = "".join(pieces)
    assert canonical(canonical(text)) == canonical(text)


def test_no_listing_is_no_table() -> None:
    """An empty listing is an absent table; an empty table is a table."""
    assert not parse_listing("").present
    assert not parse_listing("\n \n").present
    assert parse_listing("table inet netavark {\n}\n").present


@pytest.mark.parametrize(
    ("hook", "priority"),
    [
        ("dstnat", -100),
        ("-100", -100),
        ("srcnat", 100),
        ("filter", 0),
        ("security", 50),
        ("mangle", -150),
        ("raw", -300),
        ("0", 0),
        ("dstnat - 5", -105),
        ("filter + 10", 10),
    ],
)
def test_priorities_are_compared_as_numbers(hook: str, priority: int) -> None:
    """nft prints a hook's priority by name or number, as it likes."""
    text = (
        "table inet netavark {\n\tchain OUTPUT {\n"
        f"\t\ttype nat hook output priority {hook}; policy accept;\n\t}}\n}}\n"
    )
    observed = parse_listing(text).chains["OUTPUT"]
    assert observed.hook == f"type nat hook output priority {priority}; policy accept;"
    assert observed.rules == ()


def test_a_priority_without_a_known_name_is_no_number() -> None:
    """A hook that cannot be read is kept as it is printed: it is none that is expected."""
    hook = "type filter hook input priority out; policy accept;"
    text = f"table inet netavark {{\n\tchain INPUT {{\n\t\t{hook}\n\t}}\n}}\n"

    assert parse_listing(text).chains["INPUT"].hook == hook


@pytest.mark.parametrize(
    ("line", "is_dormant"),
    [
        ("flags dormant", True),
        ("flags owner,dormant", True),
        ("flags owner", False),
        ('comment "dormant"', False),
        ("set s {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t}", False),
    ],
)
def test_a_dormant_table_hooks_nothing_in(line: str, *, is_dormant: bool) -> None:
    """Its chains say where they are hooked in, and are not; other flags say nothing of it."""
    table = "table inet netavark {\n"
    whole = V1_14.replace(table, f"{table}\t{line}\n")
    hooks = {name: chain.hook for name, chain in parse_listing(V1_14).chains.items()}
    found = parse_listing(whole)

    wanted = dict.fromkeys(hooks, "") if is_dormant else hooks
    assert {name: chain.hook for name, chain in found.chains.items()} == wanted
    assert found.traits == ({DORMANT} if is_dormant else set())


def test_what_a_rule_says_of_hooks_is_no_hook() -> None:
    """A chain that is only jumped to has no hook, whatever the comments in it are about."""
    rule = 'counter comment "type nat hook output"'
    text = f"table inet netavark {{\n\tchain MINE {{\n\t\t{rule}\n\t}}\n}}\n"

    assert parse_listing(text).chains == {"MINE": Chain("", (rule,))}


def test_foreign_things_are_kept_as_rules() -> None:
    """Sets, comments, counters and policies of others do not confuse the parser."""
    text = V1_14.replace(
        "\tchain INPUT {\n",
        "\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1,\n\t\t\t     10.0.0.2 }\n\t}\n\n"
        '\tchain MINE {\n\t\tcounter packets 0 bytes 0 comment "chain { }"\n\t}\n\n'
        "\tchain INPUT {\n",
    )
    observed = parse_listing(text)
    assert observed.chains["MINE"].rules == ('counter packets 0 bytes 0 comment "chain { }"',)
    assert unmatched(SETUP, observed)[0] == []
    assert "elements" not in str(observed.chains)


@given(st.text())
def test_any_listing_is_parsed(text: str) -> None:
    """No text whatever makes the parser raise."""
    observed = parse_listing(text)
    assert observed.present == bool(text.strip())


def test_handles_are_kept_beside_the_rules() -> None:
    """With --handle the listing tells each rule's handle, and the rules read the same."""
    text = (
        "table inet netavark { # handle 7\n\tchain FORWARD { # handle 2\n"
        "\t\ttype filter hook forward priority filter; policy accept;\n"
        "\t\tct state invalid drop # handle 12\n"
        '\t\tcounter comment "# handle 3" # handle 5\n\t}\n\n\tchain MINE { # handle 3\n\t}\n}\n'
    )
    observed = parse_listing(text)
    hook = "type filter hook forward priority 0; policy accept;"
    assert observed.chains["FORWARD"] == Chain(
        hook, ("ct state invalid drop", 'counter comment "# handle 3"')
    )
    assert observed.handles == {"FORWARD": (12, 5), "MINE": ()}
    bare = parse_listing(re.sub(r" # handle \d+$", "", text, flags=re.MULTILINE))
    assert bare.chains == observed.chains
    assert "FORWARD" not in bare.handles


@given(st.lists(st.sampled_from(V1_14.splitlines()), max_size=60))
def test_any_lines_of_a_listing_are_parsed(lines: list[str]) -> None:
    """A listing cut up and shuffled does not make the parser raise."""
    parse_listing("\n".join(lines))
