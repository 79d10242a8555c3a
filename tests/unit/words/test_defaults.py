# SPDX-License-Identifier: Apache-2.0
"""What a word means where its maker says no more."""

import inspect
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import podwatch.words
from podwatch.words.snapshot import ABSENT_FIREWALLD

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
    ("links", "Around", "has_default_v6"): True,
    ("snapshot", "Firewalld", "in_kernel"): True,
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
