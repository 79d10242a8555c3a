# SPDX-License-Identifier: Apache-2.0
"""Which rules are missing, stand in the wrong place, or are there more than once. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from podwatch.decide.sentences import about_rule
from podwatch.decide.spelling import Spelling
from podwatch.drivers import firewalld as policies
from podwatch.drivers.driver import about, expected_rules, observed_of
from podwatch.words.network import Container, ContainerState, Setup, title_of
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.snapshot import Firewalld, Snapshot
from podwatch.words.text import counted
from podwatch.words.verdict import (
    Missing,
    MissingKind,
    Notice,
    WarningKind,
)


def container_ids(setup: Setup) -> Iterable[str]:
    """The containers of a setup, each once."""
    return dict.fromkeys(endpoint.container_id for endpoint in setup.endpoints)


def not_podmans(setup: Setup, containers: Mapping[str, Container]) -> Iterable[str]:
    """Who lives, and cannot be reloaded: podman does not list him."""
    for key in container_ids(setup):
        if key in containers and containers[key].state is ContainerState.UNLISTED:
            yield key


def rules_of(setup: Setup, snapshot: Snapshot) -> Sequence[Rule]:
    """The rules that have to be there, as far as it is known what is."""
    observed = observed_of(setup, snapshot)
    return expected_rules(setup, observed) if observed is not None else ()


def lost_rules(setup: Setup, snapshot: Snapshot, rules: Sequence[Rule]) -> Iterable[Missing]:
    """Which of these rules are missing, wherever the setup's driver has them.

    What firewalld's policies lack and no reload brings back is no loss but a warning (`unmasked`).
    """
    observed = observed_of(setup, snapshot)
    if observed is None:
        return
    for loss in missing_rules(rules, observed, snapshot, setup):
        if not about(setup.driver).in_firewalld:
            yield loss
        elif loss.reloadable:
            yield replace(loss, kind=MissingKind.FORWARD)


def missing_rules(
    rules: Sequence[Rule], observed: Ruleset, snapshot: Snapshot, setup: Setup
) -> list[Missing]:
    """The rules that are not there, or stand behind one they have to come before."""
    if not rules:
        return []
    teller = _Teller(rules, observed, snapshot, setup)
    if not observed.present:
        everyone = teller.everyone
        table = about(setup.driver).place
        count = f"{counted(len(rules), 'rule')} of {counted(len(everyone), 'container')}"
        return [
            Missing(MissingKind.TABLE, f"{table} is gone ({count})", table, container_ids=everyone)
        ]
    found: list[Missing] = []
    positions = {
        name: {text: at for at, text in reversed(list(enumerate(chain.rules)))}
        for name, chain in observed.chains.items()
    }
    ranks: dict[tuple[str, str], list[tuple[int, int, Rule]]] = {}
    nothing: dict[str, int] = {}
    for rule in rules:
        if rule.kind is RuleKind.HOOK:
            found.extend(teller.unhooked(rule))
            continue
        there = positions.get(rule.chain, nothing)
        at = next((there[text] for text in rule.texts if text in there), None)
        if at is None:
            found.append(teller.gone(rule))
        elif rule.order is not None:
            ranks.setdefault((rule.chain, rule.order[0]), []).append((rule.order[1], at, rule))
    for placed in ranks.values():
        found.extend(teller.behind(rule, before) for rule, before in _misplaced(placed))
    return found


class _Teller:
    """Says of a rule what is missing, and whose network has to be reloaded for it."""

    def __init__(
        self, rules: Sequence[Rule], observed: Ruleset, snapshot: Snapshot, setup: Setup
    ) -> None:
        self._observed = observed
        self._containers = snapshot.containers
        self._spelling = Spelling(rules, observed, snapshot.copied)
        self._on_network: dict[str, list[str]] = {}
        for endpoint in setup.endpoints:
            self._on_network.setdefault(endpoint.network_id, []).append(endpoint.container_id)
        unlisted = frozenset(not_podmans(setup, snapshot.containers))
        self.everyone = tuple(sorted(container_ids(setup), key=unlisted.__contains__))

    def unhooked(self, rule: Rule) -> Iterable[Missing]:
        """A chain that is gone, or not where the kernel passes packets to it."""
        chain = self._observed.chains.get(rule.chain)
        if chain is None or chain.hook not in rule.texts:
            hook = self._spelling.of(rule)
            why = "is gone" if chain is None else f"is not hooked in ({hook})"
            what = f"{rule.subject or f'chain {rule.chain}'} {why}"
            yield self._missing(rule, MissingKind.RULE, what)

    def gone(self, rule: Rule) -> Missing:
        """A rule that is not in its chain."""
        what = about_rule(rule, self._containers, self._spelling.of(rule))
        return self._missing(rule, MissingKind.RULE, what)

    def behind(self, rule: Rule, before: Rule) -> Missing:
        """A rule that stands behind one which it has to come before."""
        texts = (self._spelling.of(rule), self._spelling.of(before))
        what = f"chain {rule.chain}: “{texts[0]}” stands behind “{texts[1]}”"
        return self._missing(rule, MissingKind.ORDER, what)

    def _missing(self, rule: Rule, kind: MissingKind, what: str) -> Missing:
        if rule.container_id:
            ids: tuple[str, ...] = (rule.container_id,)
        elif rule.network_id:
            ids = tuple(self._on_network.get(rule.network_id, ()))
        else:
            ids = self.everyone[:1] if rule.reloadable else self.everyone
        # The only container of a network takes the subnet's chain with it when it is reloaded.
        alone = bool(rule.network_id) and len(ids) == 1
        return Missing(
            kind,
            what,
            self._spelling.of(rule),
            chain=rule.chain,
            network=rule.network_name,
            container=title_of(self._containers, rule.container_id),
            container_ids=ids,
            reloadable=(rule.reloadable or alone) and kind is not MissingKind.ORDER,
        )


def _misplaced(placed: list[tuple[int, int, Rule]]) -> Iterable[tuple[Rule, Rule]]:
    """Rules of a lower rank that stand behind a rule of a higher one."""
    first: dict[int, tuple[int, Rule]] = {}
    for rank, at, rule in placed:
        if rank not in first or at < first[rank][0]:
            first[rank] = (at, rule)
    ahead: dict[int, tuple[int, Rule] | None] = {}  # by rank, the first rule of a higher one
    before: tuple[int, Rule] | None = None
    for rank in sorted(first, reverse=True):
        ahead[rank] = before
        if before is None or first[rank][0] < before[0]:
            before = first[rank]
    for rank, at, rule in placed:
        before = ahead[rank]
        if before is not None and before[0] < at:
            yield rule, before[1]


def duplicates(rules: Sequence[Rule], observed: Ruleset) -> list[Notice]:
    """That rules are there more than once, if any are."""
    doubled = {
        name for name, chain in observed.chains.items() if len(chain.rules) != len(set(chain.rules))
    }
    if not doubled:
        return []
    expected: dict[str, set[str]] = {}
    wanted: Counter[tuple[str, str]] = Counter()
    for rule in rules:
        expected.setdefault(rule.chain, set()).update(rule.texts)
        # Each spelling counts: netavark < 1.13.1 writes one jump for a port on two host addresses.
        wanted.update((rule.chain, text) for text in rule.texts)
    extra = 0
    for name, texts in expected.items():
        if name not in doubled:
            continue
        counts = Counter(observed.chains[name].rules)
        extra += sum(max(0, counts[text] - wanted[name, text]) for text in texts)
    if not extra:
        return []
    return [
        Notice(
            WarningKind.DUPLICATES,
            f"{counted(extra, 'rule')} {'is' if extra == 1 else 'are'} there more than once",
            "harmless; netavark's own reload units add them at every firewalld reload",
        )
    ]


def unmasked(rules: Sequence[Rule], firewalld: Firewalld) -> Iterable[Notice]:
    """netavark has a policy masquerade when it makes it, and never again: no reload helps."""
    for rule in rules:
        policy = firewalld.policies.get(rule.chain)
        if rule.kind is RuleKind.MASQUERADE and policy and rule.text not in policy.rules:
            yield Notice(
                WarningKind.MASQUERADE,
                f"firewalld's policy {rule.chain} does not masquerade any more",
                policies.adding(rule),
            )
