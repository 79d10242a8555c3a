# SPDX-License-Identifier: Apache-2.0
"""The judge: expected - observed = missing.

A pure function of one Snapshot. It never guesses: a part of the snapshot that could not be read
makes the verdict unknown for that part, and what is merely too much (duplicates, rules of others)
is at most a warning.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from podwatch.decide.blocked import blocked_by
from podwatch.decide.census import living
from podwatch.decide.hidden import hidden
from podwatch.decide.in_the_way import in_the_way
from podwatch.decide.leftovers import candidates, leftovers, notices
from podwatch.decide.sentences import about_rule
from podwatch.decide.spelling import Spelling
from podwatch.decide.state_files import (
    about_nobodys,
    by_their_owners,
    nobodys,
    unheard,
    unreadable,
)
from podwatch.decide.stateless import stateless
from podwatch.decide.surroundings import (
    astray,
    neighbours,
    parted,
    shut_out,
    unforwarded,
    without_events,
)
from podwatch.drivers import firewalld as policies
from podwatch.drivers import sysctls
from podwatch.drivers.driver import DRIVERS, expected_rules
from podwatch.words.network import Container, FirewallDriver, Setup
from podwatch.words.rules import Rule, RuleKind, Ruleset
from podwatch.words.snapshot import Firewalld, Snapshot, Unknown
from podwatch.words.text import counted
from podwatch.words.verdict import (
    CLOSING,
    HARMLESS,
    Blocked,
    BlockedKind,
    Missing,
    MissingKind,
    Notice,
    State,
    Verdict,
    WarningKind,
)

_NOT_IN_FIREWALLD = (FirewallDriver.NONE, FirewallDriver.UNKNOWN)


def judge(snapshot: Snapshot) -> Verdict:
    """Say what is missing, what is odd, what is unknown, and what forbids a repair."""
    unknown = list(snapshot.unknown)
    missing: list[Missing] = []
    warnings: list[Notice] = []
    rules: list[Rule] = []
    asks_inside = False
    setup = snapshot.setup
    if setup is not None:
        warnings.extend(by_their_owners(setup, snapshot.containers))
        setup = living(setup, snapshot.containers)
        useless = nobodys(setup, snapshot)
        warnings.extend(about_nobodys(useless))
        bad_files = tuple(each for each in setup.bad_files if each not in useless)
        setup = replace(setup, bad_files=bad_files)
        asks_inside = bool(bad_files) and snapshot.inside is None
        unknown.extend(unreadable(setup, each) for each in bad_files)
        unknown.extend(stateless(setup, snapshot))
        unknown.extend(unheard(setup, snapshot))
        if setup.driver in DRIVERS and snapshot.rules is not None:
            rules = expected_rules(setup, snapshot.rules)
            missing.extend(_missing_rules(rules, snapshot.rules, snapshot, setup))
            warnings.extend(_duplicates(rules, snapshot.rules))
            warnings.extend(without_events(snapshot.rules))
            warnings.extend(shut_out(setup, snapshot.drops, snapshot.around.named))
            warnings.extend(parted(setup, snapshot))
            known = replace(snapshot, setup=setup)
            if snapshot.inside is None:
                asks_inside = asks_inside or bool(candidates(known, rules))
            left = leftovers(known, rules, missing)
            stale = in_the_way(setup, rules, snapshot.rules, left, snapshot.containers)
            closes = {(each.chain, each.detail) for each in stale}
            others = [each for each in left if (each.chain, each.text) not in closes]
            warnings.extend(notices(others, setup, snapshot.containers))
            if snapshot.rules.present and not snapshot.busy:
                told = {(each.chain, each.text) for each in left}
                damaged = {each.chain for each in missing}
                missing.extend(stale)
                warnings.extend(hidden(setup, rules, snapshot.rules, told, damaged))
        missing.extend(_missing_sysctls(setup, snapshot))
        warnings.extend(unforwarded(setup, snapshot))
        warnings.extend(astray(setup, snapshot))
        if snapshot.firewalld is not None and setup.driver not in _NOT_IN_FIREWALLD:
            if setup.driver is FirewallDriver.FIREWALLD and snapshot.firewalld.running:
                rules = policies.expected_rules(setup, snapshot.firewalld.policies_seen)
                lost = _missing_forwards(rules, snapshot.firewalld, snapshot, setup)
                missing.extend(each for each in lost if each.reloadable)
                warnings.extend(_unmasked(rules, snapshot.firewalld))
            missing.extend(_missing_sources(setup, snapshot.firewalld))
            warnings.extend(_firewalld_warnings(setup, snapshot.firewalld))
    warnings.extend(neighbours(snapshot))
    blocked = tuple(blocked_by(snapshot, setup))
    return Verdict(
        state=_state(missing, warnings, blocked, unknown),
        missing=tuple(missing),
        warnings=tuple(warnings),
        blocked=blocked,
        unknown=tuple(unknown),
        all_container_ids=tuple(_container_ids(setup)) if setup else (),
        expected_rules=len(rules),
        unlisted=tuple(_not_podmans(setup, snapshot.containers)) if setup else (),
        asks_inside=asks_inside,
    )


def _state(
    missing: list[Missing],
    warnings: list[Notice],
    blocked: tuple[Blocked, ...],
    unknown: list[Unknown],
) -> State:
    if missing or any(each.kind in CLOSING for each in warnings):
        return State.LOST
    if unknown:
        return State.UNKNOWN
    tells = any(each.kind not in HARMLESS for each in warnings)
    if tells or any(each.kind is not BlockedKind.BUSY for each in blocked):
        return State.DEGRADED
    return State.OK


def _container_ids(setup: Setup) -> Iterable[str]:
    return dict.fromkeys(each.container_id for each in setup.endpoints)


def _not_podmans(setup: Setup, containers: Mapping[str, Container]) -> Iterable[str]:
    """Who lives, and cannot be reloaded: podman does not list him."""
    for key in _container_ids(setup):
        if key in containers and containers[key].unlisted:
            yield key


def _missing_rules(
    rules: list[Rule], observed: Ruleset, snapshot: Snapshot, setup: Setup
) -> list[Missing]:
    on_network: dict[str, list[str]] = {}
    for endpoint in setup.endpoints:
        on_network.setdefault(endpoint.network_id, []).append(endpoint.container_id)
    unlisted = frozenset(_not_podmans(setup, snapshot.containers))
    everyone = tuple(sorted(_container_ids(setup), key=unlisted.__contains__))
    spelling = Spelling(rules, observed, snapshot.copied)

    def missing(rule: Rule, kind: MissingKind, what: str) -> Missing:
        if rule.container_id:
            ids: tuple[str, ...] = (rule.container_id,)
        elif rule.network_id:
            ids = tuple(on_network.get(rule.network_id, ()))
        else:
            ids = everyone[:1] if rule.reloadable else everyone
        # The only container of a network takes the subnet's chain with it when it is reloaded.
        alone = bool(rule.network_id) and len(ids) == 1
        container = snapshot.containers.get(rule.container_id)
        return Missing(
            kind,
            what,
            spelling.of(rule),
            chain=rule.chain,
            network=rule.network_name,
            container=container.title if container else rule.container_id[:12],
            container_ids=ids,
            reloadable=(rule.reloadable or alone) and kind is not MissingKind.ORDER,
        )

    if not observed.present:
        if not rules:
            return []
        table = DRIVERS[setup.driver].PLACE
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
            chain = observed.chains.get(rule.chain)
            if chain is None or chain.hook not in rule.texts:
                why = "is gone" if chain is None else f"is not hooked in ({spelling.of(rule)})"
                what = f"{rule.subject or f'chain {rule.chain}'} {why}"
                found.append(missing(rule, MissingKind.RULE, what))
            continue
        there = positions.get(rule.chain, nothing)
        at = next((there[text] for text in rule.texts if text in there), None)
        if at is None:
            what = about_rule(rule, snapshot.containers, spelling.of(rule))
            found.append(missing(rule, MissingKind.RULE, what))
        elif rule.order is not None:
            ranks.setdefault((rule.chain, rule.order[0]), []).append((rule.order[1], at, rule))
    for (name, _), placed in ranks.items():
        for rule, before in _misplaced(placed):
            what = f"chain {name}: “{spelling.of(rule)}” stands behind “{spelling.of(before)}”"
            found.append(missing(rule, MissingKind.ORDER, what))
    return found


def _misplaced(placed: list[tuple[int, int, Rule]]) -> Iterable[tuple[Rule, Rule]]:
    """Rules of a lower rank that stand behind a rule of a higher one."""
    first: dict[int, tuple[int, Rule]] = {}
    for rank, at, rule in placed:
        if rank not in first or at < first[rank][0]:
            first[rank] = (at, rule)
    for rank, at, rule in placed:
        behind = [later for higher, later in first.items() if higher > rank and later[0] < at]
        if behind:
            yield rule, min(behind, key=lambda each: each[0])[1]


def _duplicates(rules: list[Rule], observed: Ruleset) -> list[Notice]:
    doubled = {
        name for name, each in observed.chains.items() if len(each.rules) != len(set(each.rules))
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
        extra += sum(
            max(0, counts[text] - max(1, wanted[name, text])) for text in texts if text in counts
        )
    if extra <= 0:
        return []
    return [
        Notice(
            WarningKind.DUPLICATES,
            f"{extra} rules are there more than once",
            "harmless; netavark's own reload units add them at every firewalld reload",
        )
    ]


def _missing_sysctls(setup: Setup, snapshot: Snapshot) -> Iterable[Missing]:
    wanted = sysctls.wanted(setup, snapshot.uplinks)
    for each in sysctls.lost(wanted, snapshot.sysctls, snapshot.sysctls_seen):
        yield Missing(
            MissingKind.SYSCTL,
            f"{each} is {snapshot.sysctls[each.path]}, not {each.value}",
            f"{each.path}={each.value}",
            network=each.network,
        )


def _missing_forwards(
    rules: list[Rule], firewalld: Firewalld, snapshot: Snapshot, setup: Setup
) -> Iterable[Missing]:
    observed = Ruleset(present=True, chains=firewalld.policies)
    for each in _missing_rules(rules, observed, snapshot, setup):
        yield replace(each, kind=MissingKind.FORWARD)


def _unmasked(rules: list[Rule], firewalld: Firewalld) -> Iterable[Notice]:
    """netavark has a policy masquerade when it makes it, and never again: no reload helps."""
    for each in rules:
        chain = firewalld.policies.get(each.chain)
        if each.kind is RuleKind.MASQUERADE and chain and each.text not in chain.rules:
            yield Notice(
                WarningKind.MASQUERADE,
                f"firewalld's policy {each.chain} does not masquerade any more",
                policies.adding(each),
            )


def _missing_sources(setup: Setup, firewalld: Firewalld) -> list[Missing]:
    if not firewalld.running:
        return []
    found = []
    zone = policies.zone_of(setup.driver)
    # Without its policy netavark's own zone may be gone, too: setting up again makes both.
    is_there = zone == policies.TRUSTED or policies.WAY_OUT in firewalld.policies
    kind = MissingKind.SOURCE if is_there else MissingKind.FORWARD
    for network_id, name, subnet in trusted_sources(setup):
        if subnet not in firewalld.sources:
            ids = tuple(e.container_id for e in setup.endpoints if e.network_id == network_id)
            found.append(
                Missing(
                    kind,
                    f"network {name}: {subnet} is not a source of firewalld's zone {zone}",
                    subnet,
                    network=name,
                    container_ids=ids,
                )
            )
    return found


def trusted_sources(setup: Setup) -> Iterable[tuple[str, str, str]]:
    """(network id, network name, trusted subnet) of every network that has a container."""
    if setup.driver is FirewallDriver.CNI:  # whose firewall plugin trusts each address by itself
        for endpoint in setup.endpoints:
            for address, _ in () if endpoint.internal else endpoint.addresses:
                single = f"{address}/{address.max_prefixlen}"
                yield endpoint.network_id, endpoint.network_name, single
        return
    names = {each.network_id: each.network_name for each in setup.endpoints}
    for network_id, name in names.items():
        network = setup.networks.get(network_id)
        outside = network is not None and network.internal  # of what the firewalld driver does
        if network is not None and not (outside and setup.driver is FirewallDriver.FIREWALLD):
            for subnet in network.subnets:
                yield network_id, name or network.bridge, str(subnet)


def _firewalld_warnings(setup: Setup, firewalld: Firewalld) -> Iterable[Notice]:
    if not firewalld.running:
        if setup.driver is FirewallDriver.FIREWALLD and setup.endpoints:
            yield Notice(
                WarningKind.FIREWALLD_STOPPED,
                "firewalld does not run, and with it no published port is forwarded (netavark's "
                "driver is firewalld)",
                "systemctl start firewalld",
            )
        return
    if not firewalld.in_kernel:
        yield Notice(
            WarningKind.FIREWALLD_TABLE,
            "firewalld runs, but its table is not in the kernel: the host is unprotected",
            "systemctl restart firewalld",
        )
    for _, name, subnet in trusted_sources(setup):
        wanted = policies.zone_of(setup.driver)
        zone = firewalld.sources.get(subnet, wanted)
        if zone != wanted:
            yield Notice(
                WarningKind.FOREIGN_ZONE,
                f"network {name}: {subnet} is in firewalld's zone {zone}, not {wanted}",
                f"firewall-cmd --zone={wanted} --change-source={subnet}, unless it is meant so",
            )
