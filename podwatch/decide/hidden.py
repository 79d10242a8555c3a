# SPDX-License-Identifier: Apache-2.0
"""Rules of somebody else that stand before Podman's and take the packets away from them. Pure.

Every rule is there, and no packet reaches it: a `return` on top of netavark's chain of ports, or
another program's DNAT of a published port. Such a rule may be meant so: it is told word for word
and left alone.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from podwatch.drivers.iptables_save import BUILT_IN
from podwatch.words.network import Setup
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.text import counted
from podwatch.words.verdict import Notice, WarningKind

# As nft prints rules, and as iptables-save does.
_ENDS_ALL = re.compile(
    r"(?:counter )?(?:drop|reject\b.*|return|accept)"
    r'|(?:-m comment --comment (?:"[^"]*"|\S+) )?-j (?:DROP|REJECT|RETURN|ACCEPT)\b.*'
)
_DROPS_ALL = re.compile(r"(?:counter )?(?:drop|reject\b.*)|-j (?:DROP|REJECT)\b.*")
_TAKES_PORT = re.compile(
    r"(tcp|udp|sctp) dport (\d+) (?:dnat|redirect)\b.*"
    r"|-p (tcp|udp|sctp)(?: -m \3)? --dport (\d+) -j (?:DNAT|REDIRECT)\b.*"
)


def hidden(
    setup: Setup,
    rules: Sequence[Rule],
    observed: Ruleset,
    told: Collection[tuple[str, str]] = (),
) -> Iterator[Notice]:
    """What to tell of rules that hide those of `rules`, which are all there.

    `told` are rules, each with its chain, that are told of already.
    """
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        if rule.kind is not RuleKind.HOOK:
            wanted.setdefault(rule.chain, set()).update(rule.texts)
    ports = frozenset(_published(setup))
    for name, texts in wanted.items():
        chain = observed.chains.get(name)
        if chain is None or texts.issuperset(chain.rules):
            continue
        last = max((at for at, text in enumerate(chain.rules) if text in texts), default=-1)
        # In a filter chain of everybody's, accepting is no harm, and what drops is told elsewhere.
        ends = chain.hook != BUILT_IN or " nat " in name
        for at, text in enumerate(chain.rules):
            if text in texts or (name, text) in told:
                continue
            if at > last:
                # What comes from outside no rule of netavark's accepts: it passes at the end.
                if chain.hook != BUILT_IN and _DROPS_ALL.fullmatch(text):
                    yield _notice(name, text, "all that no rule before it accepts")
                    break
                continue
            if ends and _ENDS_ALL.fullmatch(text):
                behind = sum(each in texts for each in chain.rules[at:])
                yield _notice(name, text, f"{counted(behind, 'rule')} of Podman's behind it")
                break
            found = _TAKES_PORT.fullmatch(text)
            if found and (int(found[2] or found[4]), found[1] or found[3]) in ports:
                way = f"{found[2] or found[4]}/{found[1] or found[3]}"
                yield _notice(name, text, f"Podman's forward of {way}")


def _notice(chain: str, text: str, what: str) -> Notice:
    return Notice(
        WarningKind.HIDDEN,
        f"chain {chain}: “{text}”, which is not Podman's, keeps packets from {what}",
        "delete it, unless it is meant so",
    )


def _published(setup: Setup) -> Iterable[tuple[int, str]]:
    for endpoint in setup.endpoints:
        for mapping in endpoint.port_mappings or ():
            for offset in range(mapping.count):
                yield mapping.host_port + offset, mapping.protocol
