# SPDX-License-Identifier: Apache-2.0
"""The judge: expected - observed = missing.

A pure function of one Snapshot. It never guesses: a part of the snapshot that could not be read
makes the verdict unknown for that part, and what is merely too much (duplicates, rules of others)
is at most a warning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from podwatch.decide.blocked import blocked_by
from podwatch.decide.census import living
from podwatch.decide.hidden import hidden
from podwatch.decide.in_the_way import in_the_way
from podwatch.decide.kinds import KINDS, RULES, Kind, reported
from podwatch.decide.leftovers import candidates, leftovers, notices
from podwatch.decide.links import damaged, moved
from podwatch.decide.names import name_notices
from podwatch.decide.netns import netns_notices
from podwatch.decide.parents import without_parent
from podwatch.decide.reload_costs import reload_notes
from podwatch.decide.rules import container_ids, duplicates, not_podmans, rules_of, unmasked
from podwatch.decide.shut_zones import shut_notices
from podwatch.decide.sources import firewalld_warnings
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
from podwatch.decide.user_advice import notice_for_user
from podwatch.decide.user_notes import user_notices
from podwatch.drivers.driver import DRIVERS, observed_of
from podwatch.words.network import Setup
from podwatch.words.rules import Rule, Ruleset
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


def judge(snapshot: Snapshot, kinds: Sequence[Kind] = KINDS) -> Verdict:
    """Say what is missing, what is odd, what is unknown, and what forbids a repair."""
    unknown = list(snapshot.unknown)
    lost: dict[str, list[Missing]] = {}
    warnings: list[Notice] = []
    rules: Sequence[Rule] = ()
    asks_inside = False
    setup = snapshot.setup
    if setup is not None:
        warnings.extend(by_their_owners(setup, snapshot.containers))
        setup = living(setup, snapshot.containers)
        useless = nobodys(setup, snapshot)
        warnings.extend(about_nobodys(useless))
        bad_files = tuple(bad for bad in setup.bad_files if bad not in useless)
        setup = replace(setup, bad_files=bad_files)
        asks_inside = bool(bad_files) and snapshot.inside is None
        unknown.extend(unreadable(setup, bad) for bad in bad_files)
        unknown.extend(stateless(setup, snapshot))
        unknown.extend(unheard(setup, snapshot))
        rules = rules_of(setup, snapshot)
        for kind in reported(kinds):
            lost[kind.name] = list(kind.judge(setup, snapshot, rules))
        if snapshot.rules is not None and observed_of(setup, snapshot) is snapshot.rules:
            known = replace(snapshot, setup=setup)
            if snapshot.inside is None:
                asks_inside = asks_inside or bool(candidates(known, rules))
            of_rules = lost.setdefault(RULES.name, [])
            warnings.extend(_about_observed(known, setup, snapshot.rules, rules, of_rules))
        warnings.extend(unforwarded(setup, snapshot))
        warnings.extend(moved(setup, snapshot))
        warnings.extend(without_parent(snapshot))
        warnings.extend(astray(setup, snapshot, damaged(setup, snapshot)))
        warnings.extend(name_notices(setup, snapshot))
        warnings.extend(netns_notices(setup, snapshot))
        warnings.extend(shut_notices(setup, snapshot))
        if snapshot.firewalld is not None and setup.driver in DRIVERS:
            warnings.extend(unmasked(rules, snapshot.firewalld))
            warnings.extend(firewalld_warnings(setup, snapshot.firewalld))
            warnings.extend(reload_notes(setup, snapshot.firewalld.permanent))
    warnings.extend(neighbours(snapshot))
    warnings.extend(user_notices(snapshot))
    blocked = tuple(blocked_by(snapshot, setup))
    missing = tuple(chain.from_iterable(lost.values()))
    return Verdict(
        state=_state(missing, warnings, blocked, unknown),
        missing=missing,
        warnings=tuple(notice_for_user(notice, snapshot) for notice in warnings),
        blocked=blocked,
        unknown=tuple(unknown),
        all_container_ids=tuple(container_ids(setup)) if setup else (),
        setup=setup,
        rules=tuple(rules),
        unlisted=tuple(not_podmans(setup, snapshot.containers)) if setup else (),
        asks_inside=asks_inside,
    )


def _about_observed(
    snapshot: Snapshot,
    setup: Setup,
    observed: Ruleset,
    rules: Sequence[Rule],
    lost: list[Missing],
) -> Iterator[Notice]:
    """What is odd about the rules that are there.

    Those that close a running container's way are added to what is `lost`.
    """
    yield from duplicates(rules, observed)
    yield from without_events(observed)
    yield from shut_out(setup, snapshot)
    yield from parted(setup, snapshot)
    left = leftovers(snapshot, rules, lost)
    stale = in_the_way(setup, rules, observed, left, snapshot.containers)
    closes = {(loss.chain, loss.detail) for loss in stale}
    others = [rule for rule in left if (rule.chain, rule.text) not in closes]
    yield from notices(others, setup, snapshot.containers)
    if not snapshot.busy:
        told = {(rule.chain, rule.text) for rule in left}
        damaged = {loss.chain for loss in lost}
        lost.extend(stale)
        yield from hidden(setup, rules, observed, told, damaged)


def _state(
    missing: Sequence[Missing],
    warnings: list[Notice],
    blocked: tuple[Blocked, ...],
    unknown: list[Unknown],
) -> State:
    if missing or any(notice.kind in CLOSING for notice in warnings):
        return State.LOST
    if unknown:
        return State.UNKNOWN
    tells = any(notice.kind not in HARMLESS for notice in warnings)
    if tells or any(reason.kind is not BlockedKind.BUSY for reason in blocked):
        return State.DEGRADED
    return State.OK
