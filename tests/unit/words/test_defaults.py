# SPDX-License-Identifier: Apache-2.0
"""What a word means where its maker says no more."""

import inspect
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import podwatch.words
from podwatch.words.dhcp import Unit
from podwatch.words.names import HUNG_S, NameServer
from podwatch.words.network import Container
from podwatch.words.rules import Rule, RuleKind
from podwatch.words.snapshot import ABSENT_FIREWALLD, Part, Unknown
from podwatch.words.verdict import State, Verdict
from podwatch.words.way import Mark, Way, WayKind

MODULES = [
    import_module(f"podwatch.words.{path.stem}")
    for path in Path(podwatch.words.__path__[0]).glob("[a-z]*.py")
]
WORDS = {
    (word.__module__.rpartition(".")[2], word.__name__): word
    for module in MODULES
    for _, word in inspect.getmembers(module, inspect.isclass)
    if is_dataclass(word)
}
SAID = {
    ("rules", "Rule", "reloadable"): True,
    ("verdict", "Missing", "reloadable"): True,
    ("network", "Network", "masquerades"): True,
    ("network", "Network", "dns_port"): 53,
    ("network", "Endpoint", "dns_port"): 53,
    ("network", "PortMapping", "count"): 1,
    ("way", "Way", "count"): 1,
    ("links", "Link", "is_up"): True,
    ("links", "Link", "has_carrier"): True,
    ("links", "Inner", "is_up"): True,
    ("way", "Wire", "is_up_inside"): True,
    ("links", "Around", "has_default_v6"): True,
    ("snapshot", "Firewalld", "in_kernel"): True,
    ("names", "NameServer", "hung_s"): HUNG_S,
    ("gates", "Gates", "dns_ports"): frozenset({53}),
}
"""Defaults that claim something, each as most networks, links and rules are."""


def test_what_is_not_said_is_not_so() -> None:
    """No flag is set and every number is 0 unless somebody says so, but for those named above."""
    found: dict[tuple[str, str, str], Any] = {
        (module, name, field.name): field.default
        for (module, name), word in WORDS.items()
        for field in fields(word)
        if isinstance(field.default, (bool, int, float, frozenset)) and field.default
    }
    assert found == SAID
    assert (ABSENT_FIREWALLD.running, ABSENT_FIREWALLD.in_kernel) == (False, False)
    # What is worked out of them follows.
    assert Container("1a", "web").is_up
    assert Rule("chain", ("text",), RuleKind.HOST).text == "text"
    assert Way(WayKind.OUT, "title", "web", "1a", "net", ()).mark is Mark.OPEN
    assert Unknown(Part.RULES, "what", "why").hint == ""
    answers = (Unit().exists, NameServer("/pid").is_alive, Verdict(State.OK).has_duplicates)
    assert answers == (False, False, False)
