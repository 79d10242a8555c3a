# SPDX-License-Identifier: Apache-2.0
"""Rules as they stand on a host where all of them are installed."""

from collections.abc import Iterable
from dataclasses import replace

from podwatch.words.rules import Chain, Rule, RuleKind


def chains_of(rules: Iterable[Rule], *, spelling: int = -1) -> dict[str, Chain]:
    """The chains that hold the rules, each once, in its place, and as its newest version has it.

    With `spelling` 0 each is as its oldest version has it.
    """
    chains: dict[str, Chain] = {}
    for rule in sorted(rules, key=lambda rule: rule.order[1] if rule.order else 0):
        chain = chains.get(rule.chain, Chain("", ()))
        text = rule.texts[spelling]
        if rule.kind is RuleKind.HOOK:
            chain = replace(chain, hook=text)
        elif text not in chain.rules:
            chain = replace(chain, rules=(*chain.rules, text))
        chains[rule.chain] = chain
    return chains
