# SPDX-License-Identifier: Apache-2.0
"""Rules looked up instead of looked through: the same answers, and what stays known of a chain."""

import pytest

from podwatch.decide.indexed import Indexed, IndexedChain, drops_all, ends_all
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset

PORTS = (
    "return",
    "tcp dport 8080 dnat ip to 10.88.0.2:80",
    "udp dport 8080 dnat ip to 10.88.0.2:80",
    "tcp dport 8000-8090 jump wide",
    "tcp dport 1-65535 jump all",
    "ip saddr 10.88.0.0/16 jump own",
)


def test_what_a_packet_to_a_port_meets() -> None:
    """Rules that name the port, in ranges of any width, and those that are the asker's own."""
    chain = IndexedChain(Chain("", PORTS))
    own = {PORTS[5], "not there"}
    assert list(chain.about(("tcp", 8080), own)) == [PORTS[1], PORTS[3], PORTS[4], PORTS[5]]
    assert list(chain.about(("tcp", 8091), ())) == [PORTS[4]]
    assert list(chain.about(("udp", 8080), ())) == [PORTS[2]]
    assert chain.naming(("tcp", 8080)) == [PORTS[1], PORTS[3], PORTS[4]]
    assert chain.naming(("sctp", 8080)) == []


def test_how_a_rule_is_there() -> None:
    """By the first of its spellings that is; a hook by what the chain is hooked to."""
    chain = IndexedChain(Chain("type nat", ("new", "old", "new")))
    assert chain.found(Rule("c", ("older", "old", "new"), RuleKind.HOST)) == "old"
    assert chain.found(Rule("c", ("gone",), RuleKind.HOST)) is None
    assert chain.found(Rule("c", ("type nat",), RuleKind.HOOK)) == "type nat"
    assert chain.found(Rule("c", ("type filter",), RuleKind.HOOK)) is None
    assert chain.places == {"new": 0, "old": 1}


@pytest.mark.parametrize(
    ("rules", "end", "drop"),
    [
        (("a", "counter drop", "reject"), 1, "counter drop"),
        (("return", "-j DROP"), 0, "-j DROP"),
        (("ip saddr 10.0.0.1 drop", "dropped"), None, ""),
        ((), None, ""),
    ],
)
def test_what_ends_a_chain(rules: tuple[str, ...], end: int | None, drop: str) -> None:
    """A rule without a condition: what it says of packets decides whether it drops them."""
    chain = IndexedChain(Chain("", rules))
    assert (chain.end, chain.drop) == (end, drop)
    assert ends_all("return")
    assert not drops_all("return")


def test_what_is_known_of_a_chain_stays() -> None:
    """As long as its rules, and what it is hooked to, are the same."""
    first = Indexed(Ruleset(present=True, chains={"a": Chain("", PORTS), "b": Chain("", ())}))
    kept, changed = first.chain("a"), first.chain("b")
    again = {"a": Chain("", tuple(PORTS)), "b": Chain("type nat", ())}
    second = Indexed(Ruleset(present=True, chains=again), first)
    assert second.chain("a") is kept
    assert second.chain("a") is kept
    assert second.chain("b") is not changed
    assert second.chain("c") is None
