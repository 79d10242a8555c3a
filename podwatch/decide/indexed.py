# SPDX-License-Identifier: Apache-2.0
"""Rules as they are, looked up by text, by port, by what ends a chain: once for many questions.

On a host of a thousand containers a chain has a thousand rules, and each container asks about it.
What was found out of a chain is good for as long as its rules are the same.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, lru_cache

from podwatch.drivers.iptables_save import BUILT_IN
from podwatch.words.rules import Chain, Rule, RuleKind, Ruleset

# As nft prints rules, and as iptables-save does.
_ENDS_ALL = re.compile(
    r"(?:counter )?(?:drop|reject\b.*|return|accept)"
    r'|(?:-m comment --comment (?:"[^"]*"|\S+) )?-j (?:DROP|REJECT|RETURN|ACCEPT)\b.*'
)
_BEGINNINGS = ("counter ", "drop", "reject", "return", "accept", "-m comment ", "-j ")
_DROPS_ALL = re.compile(r"(?:counter )?(?:drop|reject\b.*)|-j (?:DROP|REJECT)\b.*")
_TO_PORTS = re.compile(
    r"(?:-p )?(tcp|udp|sctp) (?:-m .*)?(?:--)?dports? (\d+(?:[,:-]\d+)*) "
    r'(?:ct mark set \S+ mark \| \S+ |-m comment --comment (?:"[^"]*"|\S+) )?'
    r"((?:dnat|redirect|jump|goto)\b|-[jg] ).*"
)
_WIDE = 1000
"""A range of more ports is looked through, and not looked up."""

_MAX_TEXTS = 20_000

_Port = tuple[str, int]


def ends_all(text: str) -> bool:
    """Whether no packet gets past a rule."""
    return text.startswith(_BEGINNINGS) and _ENDS_ALL.fullmatch(text) is not None


def drops_all(text: str) -> bool:
    """Whether a rule drops whatever gets to it."""
    return text.startswith(_BEGINNINGS) and _DROPS_ALL.fullmatch(text) is not None


@lru_cache(_MAX_TEXTS)
def sent_on(text: str) -> tuple[str, tuple[range, ...]]:
    """The protocol and the ports that a rule sends on, of whatever address of the host."""
    found = _TO_PORTS.fullmatch(text)
    if found is None:
        return "", ()
    ends = (part.partition("-") for part in found[2].replace(":", "-").split(","))
    return found[1], tuple(range(int(low), int(high or low) + 1) for low, _, high in ends)


class IndexedChain:
    """One chain. A place is that of a rule in it, from 0 on."""

    def __init__(self, chain: Chain) -> None:
        self.hook = chain.hook
        self.rules = chain.rules

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The first place of each rule, by its text."""
        return {text: at for at, text in reversed(list(enumerate(self.rules)))}

    @cached_property
    def end(self) -> int | None:
        """The place of the first rule that no packet gets past; None where there is none."""
        return next((at for at, text in enumerate(self.rules) if ends_all(text)), None)

    @cached_property
    def drop(self) -> str:
        """The first rule that drops all that gets to it; "" where there is none."""
        return next((text for text in self.rules if drops_all(text)), "")

    def found(self, rule: Rule) -> str | None:
        """The text by which a rule is there; None where it is not."""
        if rule.kind is RuleKind.HOOK:
            return self.hook if self.hook in rule.texts else None
        places = self.places
        return next((text for text in rule.texts if text in places), None)

    def about(self, port: _Port, own: Collection[str]) -> Iterator[str]:
        """The rules that a packet to a port meets, in their order: those that name it, and `own`.

        A rule of others that names no port is not among them.
        """
        loose = self._ports[2]
        met = set(self._naming(port))
        met.update(at for at in map(self.places.get, own) if at in loose)
        return (self.rules[at] for at in sorted(met))

    def naming(self, port: _Port) -> list[str]:
        """The rules that name a port, whoever's they are."""
        return [self.rules[at] for at in self._naming(port)]

    def _naming(self, port: _Port) -> list[int]:
        by_port, wide, _ = self._ports
        more = [at for at, (protocol, span) in wide if protocol == port[0] and port[1] in span]
        return [*by_port.get(port, ()), *more]

    @cached_property
    def _ports(
        self,
    ) -> tuple[Mapping[_Port, list[int]], list[tuple[int, tuple[str, range]]], set[int]]:
        """The places of the rules that name a port, that name very many, and that name none."""
        by_port: dict[_Port, list[int]] = {}
        wide: list[tuple[int, tuple[str, range]]] = []
        loose: set[int] = set()
        for at, text in enumerate(self.rules):
            protocol, spans = sent_on(text)
            if not spans:
                loose.add(at)
            for span in spans:
                if len(span) > _WIDE:
                    wide.append((at, (protocol, span)))
                    continue
                for port in span:
                    by_port.setdefault((protocol, port), []).append(at)
        return by_port, wide, loose


class Indexed:
    """The rules of a look; of chains that are as they were `before`, what is known stays."""

    def __init__(self, observed: Ruleset, before: "Indexed | None" = None) -> None:
        self.observed = observed
        self._before = {} if before is None else before._chains
        self._chains: dict[str, IndexedChain] = {}

    def chain(self, name: str) -> IndexedChain | None:
        """A chain by its name; None where there is none."""
        known = self._chains.get(name)
        if known is not None:
            return known
        chain = self.observed.chains.get(name)
        if chain is None:
            return None
        old = self._before.get(name)
        is_same = old is not None and (old.hook, old.rules) == (chain.hook, chain.rules)
        self._chains[name] = old if old is not None and is_same else IndexedChain(chain)
        return self._chains[name]

    def first_end(self, rule: Rule) -> str:
        """The rule of somebody else that lets nothing reach `rule`; "" for none.

        An accept before a rule that accepts does what that one would.
        """
        chain = self.chain(rule.chain)
        if rule.kind is RuleKind.HOOK or chain is None or chain.end is None:
            return ""
        if not may_end(rule.chain, chain.hook):
            return ""
        end = chain.rules[chain.end]
        if any(chain.places.get(text, chain.end + 1) <= chain.end for text in rule.texts):
            return ""
        accepts = rule.kind in _ACCEPT and end.rpartition(" ")[2].lower() == "accept"
        return "" if accepts else end

    def drop_of(self, name: str) -> str:
        """The rule of somebody else that drops what no rule of a chain accepts; "" for none."""
        chain = self.chain(name)
        return "" if chain is None or chain.hook == BUILT_IN else chain.drop


_ACCEPT = (RuleKind.FORWARD_REPLIES, RuleKind.FORWARD_OUT)


def may_end(name: str, hook: str) -> bool:
    """In a filter chain of everybody's accepting is no harm, and what drops is told elsewhere."""
    return hook != BUILT_IN or " nat " in name
