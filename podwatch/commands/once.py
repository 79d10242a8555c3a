# SPDX-License-Identifier: Apache-2.0
"""`podwatch check` and `podwatch restore`: the daemon's own look and means, used once.

`check` and `restore` make a host of their own and close it; the other functions work on one that
is handed to them.
"""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from podwatch import __version__
from podwatch.adapters.libnftables import Nftables
from podwatch.adapters.lock import hold
from podwatch.adapters.paths import Paths
from podwatch.adapters.units import UnitWatch
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp_look import DhcpLooker
from podwatch.daemon.host import Host, limits
from podwatch.daemon.pause import PauseWatch
from podwatch.daemon.serve import look_once
from podwatch.decide import dhcp, policy
from podwatch.decide.census import living
from podwatch.decide.decision import Memory
from podwatch.decide.leftovers import candidates, leftovers
from podwatch.decide.ways import with_ways
from podwatch.drivers.forwarding import parse_chains
from podwatch.drivers.saved import without
from podwatch.report.dhcp import section
from podwatch.report.document import document, with_dhcp
from podwatch.report.status import SCHEMA, read_status
from podwatch.words.errors import RestoreFailed, StateUnreadable
from podwatch.words.guard import FAMILY, is_guard
from podwatch.words.network import Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import clean, counted
from podwatch.words.verdict import State, Verdict

PATIENCE_S = 60.0
"""How long `podwatch restore` waits for what it must wait for."""


async def check(paths: Paths, config: Config) -> dict[str, Any]:
    """Look once; the status document of what was seen (see report/status.py)."""
    host = await look_once(config, paths)
    try:
        pause = PauseWatch(paths.pause, lambda: None).now()
        return await check_host(host, config, str(pause) if pause else "")
    finally:
        host.close()


async def check_host(host: Host, config: Config, paused: str) -> dict[str, Any]:
    """The status document of one look; `paused` says who paused podwatch, "" if nobody did."""
    began = time.monotonic()
    snapshot, verdict = await settled_look(host, paused)
    verdict = with_ways(verdict, host.ways.of(snapshot, verdict))
    look = {
        "at": time.time(),
        "took_ms": round((time.monotonic() - began) * 1000, 1),
        "generation": snapshot.generation,
        "cause": "by hand",
    }
    return {
        "schema": SCHEMA,
        "version": __version__,
        **with_dhcp(document(snapshot, verdict), await _dhcp(host, config)),
        "last_look": look,
    }


async def restore(paths: Paths, config: Config, *, dry_run: bool, stale: bool) -> State:
    """Look, do what the policy says until nothing is missing, and print each step.

    With `stale`, then take away what is left over.
    """
    paths.run.mkdir(mode=0o755, parents=True, exist_ok=True)
    host = await look_once(config, paths)
    try:
        state = await restore_host(host, config, dry_run=dry_run)
        if stale:
            await take_away_copies(host.nft, paths.status, dry_run=dry_run)
            state = await take_away(host, dry_run=dry_run)
        return state
    finally:
        host.close()


async def take_away_copies(nft: Nftables, status: Path, *, dry_run: bool) -> None:
    """Take away copies of the guard that are nobody's, and print each.

    Somebody saved one, and loaded it without its flag: it forwards to where containers were then.
    One that is owned the kernel keeps; the daemon's own is named in its `status`. Raises
    RulesUnreadable.
    """
    try:
        present = f"{FAMILY} {read_status(status)['guard']['table']}"
    except StateUnreadable:
        present = ""
    chains = parse_chains(await nft.list_chains())
    for table in sorted({chain.table for chain in chains if is_guard(chain.table)} - {present}):
        if dry_run:
            print(f"left over, unless a program owns it: table {clean(table)}")
            continue
        try:
            await nft.apply(f"delete table {table}\n")
        except RestoreFailed as exc:
            print(f"kept: table {clean(table)}: {exc}")
        else:
            print(f"taken away: table {clean(table)}, a copy of a guard")


async def take_away(host: Host, *, dry_run: bool) -> State:
    """Take away the rules that no running container needs, and print each.

    podman itself is asked first for the addresses of all that runs: their rules are kept, as are
    those of whoever has an address in a network namespace. Raises StateUnreadable when podman does
    not answer, RestoreFailed while another podwatch repairs.
    """
    # podman takes its time, so it is asked before the look: what is decided by is the newer.
    running, _ = await host.installed.podman.list_networks()
    with hold(host.restorer.lock):
        return await _take_away_from(host, running, dry_run=dry_run)


async def _take_away_from(host: Host, running: Setup, *, dry_run: bool) -> State:
    snapshot, verdict = await settled_look(host)
    snapshot = host.looker.with_inside(snapshot)
    own = snapshot.rules
    if snapshot.setup is None or own is None:
        return verdict.state
    if snapshot.inside is None:
        print("nothing is taken away: the kernel does not tell who has a network namespace")
        return verdict.state
    listed = {address: 1 for endpoint in running.endpoints for address, _ in endpoint.addresses}
    setup = living(snapshot.setup, snapshot.containers)
    snapshot = replace(snapshot, setup=setup, inside={**listed, **snapshot.inside})
    found = leftovers(snapshot, verdict.rules, verdict.missing)
    for rule in candidates(snapshot, verdict.rules):
        word = "left over" if rule in found else "kept, as somebody may need it"
        print(f"{word}: {clean(rule.chain)}: {clean(rule.text)}")
    if not found:
        print("nothing is left over")
        return verdict.state
    print(f"{'would take' if dry_run else 'taking'} away {counted(len(found), 'rule')}")
    if dry_run:
        return verdict.state
    for driver in {rule.driver for rule in found}:
        observed = snapshot.others.get(driver, own)
        of_driver = [rule for rule in found if rule.driver is driver]
        if why := host.looker.outdated(snapshot):
            print(f"not taken away: {why} since the look; try again")
            return verdict.state
        todo = without(observed, [(rule.chain, rule.text) for rule in of_driver])
        await host.looker.rules[driver].repair(todo, observed)
    return (await settled_look(host))[1].state


async def settled_look(
    host: Host, paused: str = "", *, again_s: float = 0.1
) -> tuple[Snapshot, Verdict]:
    """Look, and look again while somebody is changing networks and something is missing.

    What is missing then may only be on its way. The last of ten looks counts in any case; between
    two of them are `again_s` seconds.
    """
    for _ in range(10):
        snapshot = await host.looker.look(paused=paused)
        snapshot, verdict = host.looker.judged(snapshot)
        if not (snapshot.busy and verdict.missing):
            break
        await asyncio.sleep(again_s)
    return snapshot, verdict


async def _dhcp(host: Host, config: Config) -> dict[str, Any]:
    """One look at DHCP, as a part of the document."""
    if not config.dhcp.manage or host.installed.paths.rootless is not None:
        return {}
    units = None if host.systemd is None else UnitWatch((), lambda: None)
    seen = await DhcpLooker(units, host.installed).look(fresh=True)
    return section(seen, dhcp.judge(seen, dhcp.DhcpMemory()), "", time.time())


async def restore_host(
    host: Host, config: Config, *, dry_run: bool, patience_s: float = PATIENCE_S
) -> State:
    """Look, and do what the policy says, for `patience_s` seconds at most; print each step."""
    memory = Memory()
    rules = limits(config)
    end = time.monotonic() + patience_s
    while True:
        snapshot = await host.looker.look()
        snapshot, verdict = host.looker.judged(snapshot)
        now = time.monotonic()
        can_replay = bool(verdict.missing_rules) and host.copy.covers(snapshot, verdict.rules)
        memory, decision = policy.step(memory, verdict, now, rules, can_replay=can_replay)
        if not verdict.missing and decision.method is None:
            verdict = with_ways(verdict, host.ways.of(snapshot, verdict))
            more = "; what closes a way: podwatch status" if verdict.state is State.LOST else ""
            print(f"{verdict.state}: nothing is missing that podwatch puts back{more}")
            return verdict.state
        if now > end:
            print(f"{verdict.state}: the host changes faster than it can be repaired")
            return verdict.state
        if decision.method is None:
            if decision.look_at is None or decision.look_at > end:
                print(f"{verdict.state}: {clean(decision.why)}")
                return verdict.state
            await asyncio.sleep(max(0.0, decision.look_at - now))
            continue
        for loss in verdict.missing:
            print(f"missing: {clean(loss.what)}")
        print(f"{'would ' if dry_run else ''}{decision.method}: {clean(decision.why)}")
        if dry_run:
            return verdict.state
        outcome = await host.restorer.restore(decision.method, decision, snapshot, verdict, print)
        if outcome.outdated:
            print(f"looking again: {clean(outcome.detail)}")
            continue
        print(f"{'done' if outcome.done else 'failed'}: {clean(outcome.detail)}")
        memory = policy.acted(memory, decision, time.monotonic(), rules, done=outcome.done)
