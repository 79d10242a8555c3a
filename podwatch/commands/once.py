# SPDX-License-Identifier: Apache-2.0
"""`podwatch check` and `podwatch restore`: the daemon's own look and means, used once.

`check` and `restore` make a host of their own and close it; the other functions work on one that
is handed to them.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from podwatch import __version__
from podwatch.adapters.paths import Paths
from podwatch.adapters.units import UnitWatch
from podwatch.daemon.config import Config
from podwatch.daemon.dhcp_look import DhcpLooker
from podwatch.daemon.host import Host, limits
from podwatch.daemon.leftovers import settled_look, take_away, take_away_copies
from podwatch.daemon.pause import PauseWatch
from podwatch.daemon.serve import look_once
from podwatch.decide import dhcp, policy
from podwatch.decide.decision import Memory
from podwatch.decide.ways import with_ways
from podwatch.report import steps
from podwatch.report.dhcp import section
from podwatch.report.document import document, with_dhcp
from podwatch.report.status import SCHEMA, read_status
from podwatch.words.errors import StateUnreadable
from podwatch.words.verdict import State

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
            await take_away_copies(host.nft, _guard_of(paths.status), print, dry_run=dry_run)
            state = await take_away(host, print, dry_run=dry_run)
        return state
    finally:
        host.close()


def _guard_of(status: Path) -> str:
    """The table of the daemon's guard, as its `status` says; "" without a daemon."""
    try:
        table: str = read_status(status)["guard"]["table"]
    except StateUnreadable:
        return ""
    return table


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
            print(steps.whole(verdict))
            return verdict.state
        if now > end:
            print(steps.unsettled(verdict))
            return verdict.state
        if decision.method is None:
            if decision.look_at is None or decision.look_at > end:
                print(steps.left(verdict, decision))
                return verdict.state
            await asyncio.sleep(max(0.0, decision.look_at - now))
            continue
        print(*steps.intended(verdict, decision, dry_run=dry_run), sep="\n")
        if dry_run:
            return verdict.state
        outcome = await host.restorer.restore(decision.method, decision, snapshot, verdict, print)
        print(steps.tried(outcome))
        if not outcome.outdated:
            memory = policy.acted(memory, decision, time.monotonic(), rules, done=outcome.done)
