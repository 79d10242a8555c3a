# SPDX-License-Identifier: Apache-2.0
"""The judge: expected - observed = missing.

A pure function of one Snapshot. It never guesses: a part of the snapshot that could not be read
makes the verdict unknown for that part, and what is merely too much (duplicates, rules of others)
is at most a warning.
"""

from dataclasses import replace

from podwatch.decide.blocked import blocked_by
from podwatch.decide.census import living
from podwatch.decide.hidden import hidden
from podwatch.decide.in_the_way import in_the_way
from podwatch.decide.leftovers import candidates, leftovers, notices
from podwatch.decide.rules import (
    container_ids,
    duplicates,
    missing_forwards,
    missing_rules,
    not_podmans,
    unmasked,
)
from podwatch.decide.settings import missing_sysctls
from podwatch.decide.sources import firewalld_warnings, missing_sources
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
from podwatch.drivers.driver import DRIVERS, expected_rules
from podwatch.words.network import FirewallDriver
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot, Unknown
from podwatch.words.verdict import (
    CLOSING,
    HARMLESS,
    Blocked,
    BlockedKind,
    Missing,
    Notice,
    State,
    Verdict,
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
            missing.extend(missing_rules(rules, snapshot.rules, snapshot, setup))
            warnings.extend(duplicates(rules, snapshot.rules))
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
        missing.extend(missing_sysctls(setup, snapshot))
        warnings.extend(unforwarded(setup, snapshot))
        warnings.extend(astray(setup, snapshot))
        if snapshot.firewalld is not None and setup.driver not in _NOT_IN_FIREWALLD:
            if setup.driver is FirewallDriver.FIREWALLD and snapshot.firewalld.running:
                rules = policies.expected_rules(setup, snapshot.firewalld.policies_seen)
                lost = missing_forwards(rules, snapshot.firewalld, snapshot, setup)
                missing.extend(each for each in lost if each.reloadable)
                warnings.extend(unmasked(rules, snapshot.firewalld))
            missing.extend(missing_sources(setup, snapshot.firewalld))
            warnings.extend(firewalld_warnings(setup, snapshot.firewalld))
    warnings.extend(neighbours(snapshot))
    blocked = tuple(blocked_by(snapshot, setup))
    return Verdict(
        state=_state(missing, warnings, blocked, unknown),
        missing=tuple(missing),
        warnings=tuple(warnings),
        blocked=blocked,
        unknown=tuple(unknown),
        all_container_ids=tuple(container_ids(setup)) if setup else (),
        setup=setup,
        rules=tuple(rules),
        unlisted=tuple(not_podmans(setup, snapshot.containers)) if setup else (),
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
