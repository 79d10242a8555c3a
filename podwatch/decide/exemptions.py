# SPDX-License-Identifier: Apache-2.0
"""Rules of others that let packets past netavark's: with them a full guard would do harm. Pure.

`accept` and `return` end one chain alone. Who has put such a rule in front of netavark's wants
packets that are not translated, or networks that are not kept apart (a VPN's, mostly); the guard is
asked next, and would do what he does not want. So it stands back, and is an anchor.
"""

import re
from collections.abc import Iterable

from podwatch.words.rules import Rule, RuleKind, Ruleset

_PASSES = re.compile(r"\b(?:accept|return)\b|-j (?:ACCEPT|RETURN)\b")
_TRANSLATES = frozenset(
    {
        RuleKind.PORT_JUMP,
        RuleKind.PORT_MARK,
        RuleKind.PORT_DNAT,
        RuleKind.SUBNET_JUMP,
        RuleKind.SUBNET_LOCAL,
        RuleKind.MASQUERADE,
        RuleKind.DNS_REDIRECT,
    }
)
_FILTERS = ("FORWARD", "INPUT")


def exemption(rules: Iterable[Rule], observed: Ruleset, *, isolates: bool) -> str:
    """The first such rule, told with its chain; "" where there is none.

    `rules` are those that are expected. What keeps networks apart counts where it `isolates`.
    """
    own: dict[str, set[str]] = {}
    does: dict[str, set[str]] = {}
    for rule in rules:
        if rule.kind is RuleKind.HOOK:
            continue
        own.setdefault(rule.chain, set()).update(rule.texts)
        if _counts(rule, isolates=isolates):
            does.setdefault(rule.chain, set()).update(rule.texts)
    for name, texts in does.items():
        chain = observed.chains.get(name)
        if chain is None or own[name].issuperset(chain.rules):
            continue
        end = max((at for at, text in enumerate(chain.rules) if text in texts), default=0)
        for text in chain.rules[:end]:
            if text not in own[name] and _PASSES.search(text):
                return f"chain {name}: “{text}” stands before netavark's rules"
    return ""


def _counts(rule: Rule, *, isolates: bool) -> bool:
    """Whether the guard does what this rule does."""
    if rule.kind in _TRANSLATES:
        return True
    if "ISOLATION" in f"{rule.chain} {rule.text}":
        return isolates
    return rule.kind is RuleKind.HOST and not any(word in rule.chain for word in _FILTERS)
