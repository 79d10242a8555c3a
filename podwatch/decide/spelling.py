# SPDX-License-Identifier: Apache-2.0
"""In which spelling a rule is quoted, where versions of netavark write it differently. Pure.

Who types a quoted rule in must get the rule that was there, not a second one beside it: netavark
looks for its own spelling when it takes a rule away.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset


class Spelling:
    """Spellings as they are observed, else as the saved copy has them, else as their like are.

    `rules` are all that are expected, `copied` the chains of the saved copy.
    """

    def __init__(
        self, rules: Iterable[Rule], observed: Ruleset | None, copied: Mapping[str, Chain]
    ) -> None:
        self._rules = rules
        self._seen = [{} if observed is None else observed.chains, copied]

    def of(self, rule: Rule) -> str:
        """The text to quote of a rule, whether it is there or missing."""
        if len(rule.texts) == 1:
            return rule.text
        found = _found(rule, self._seen)
        return rule.texts[self._versions.get(_like(rule), -1) if found is None else found]

    @cached_property
    def _versions(self) -> Mapping[tuple[RuleKind, int], int]:
        """Which of its spellings a kind of rule has, where one of its kind is seen."""
        sets = [
            {name: frozenset(chain.rules) for name, chain in chains.items()}
            for chains in self._seen
        ]
        versions: dict[tuple[RuleKind, int], int] = {}
        for rule in self._rules:
            if _like(rule) not in versions:
                for rules in sets:
                    texts = rules.get(rule.chain, frozenset())
                    at = next((n for n, text in enumerate(rule.texts) if text in texts), None)
                    if at is not None:
                        versions[_like(rule)] = at
                        break
        return versions


def _like(rule: Rule) -> tuple[RuleKind, int]:
    return rule.kind, len(rule.texts)


def _found(rule: Rule, seen: Iterable[Mapping[str, Chain]]) -> int | None:
    for chains in seen:
        chain = chains.get(rule.chain)
        if chain is not None:
            there = chain.rules if rule.kind is not RuleKind.HOOK else (chain.hook,)
            for number, text in enumerate(rule.texts):
                if text in there:
                    return number
    return None
