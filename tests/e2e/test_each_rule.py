# SPDX-License-Identifier: Apache-2.0
"""Every single rule of the table, deleted by itself, is named and comes back in its place."""

import re

import pytest

from tests.e2e.installed import LOSSES_AT_ONCE, Installed

pytestmark = pytest.mark.e2e

_RULE = re.compile(r"^\t\t(?!type )(.*) # handle (\d+)$")


def _table(there: Installed) -> str:
    return there.host.nft("list", "table", "inet", "netavark")


def _rules(there: Installed) -> list[tuple[str, str, str]]:
    """(chain, text, handle) of every rule."""
    chain, found = "", []
    for line in there.host.nft("-a", "list", "table", "inet", "netavark").splitlines():
        if line.startswith("\tchain "):
            chain = line.split()[1]
        elif rule := _RULE.match(line):
            found.append((chain, rule[1], rule[2]))
    return found


def _until_told(there: Installed, incidents: int, what: str) -> None:
    there.until(lambda: there.incidents() == incidents, what, 8)


def test_each_rule_comes_back(there: Installed) -> None:
    """Deleting any one rule is one incident, names one thing, and the table reads as before."""
    whole, reloads = _table(there), there.reloads()
    wanted = [(chain, text) for chain, text, _ in _rules(there)]
    assert len(wanted) > 50
    for at, (chain, text) in enumerate(wanted):
        if at % LOSSES_AT_ONCE == 0:
            there.start_anew()
        before = there.incidents()
        handle = _rules(there)[at][2]
        there.host.nft("delete", "rule", "inet", "netavark", chain, "handle", handle)
        there.until(lambda: _table(there) == whole, f"as before: {chain}: {text}", 8)
        _until_told(there, before + 1, f"told: {chain}: {text}")
        there.until(lambda: there.status()["state"] == "ok", "ok", 8)
        missing = there.status()["last_incident"]["missing"]
        assert len(missing) == 1, (chain, text, missing)
    assert there.reloads() == reloads
