# SPDX-License-Identifier: Apache-2.0
"""Leftovers: rules of containers that have gone, and copies of a guard that are nobody's.

The daemon tells of them and leaves them: they are taken away when a person says so, by `podwatch
restore --stale` or over the API. Each line of what is done is handed to `tell`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from podwatch.adapters.libnftables import Nftables
from podwatch.daemon.host import Host
from podwatch.decide.census import living
from podwatch.decide.leftovers import candidates, leftovers
from podwatch.drivers.forwarding import parse_chains
from podwatch.drivers.saved import without
from podwatch.words.errors import RestoreFailed
from podwatch.words.guard import FAMILY, is_guard
from podwatch.words.network import Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import clean, counted
from podwatch.words.verdict import State, Verdict

Tell = Callable[[str], None]


async def take_away_copies(nft: Nftables, own: str, tell: Tell, *, dry_run: bool) -> None:
    """Take away copies of the guard that are nobody's, and tell of each.

    Somebody saved one, and loaded it without its flag: it forwards to where containers were then.
    One that is owned the kernel keeps; `own` is the name of the daemon's table, "" where it has
    none. Raises RulesUnreadable.
    """
    chains = parse_chains(await nft.list_chains())
    copies = {chain.table for chain in chains if is_guard(chain.table)} - {f"{FAMILY} {own}"}
    for table in sorted(copies):
        if dry_run:
            tell(f"left over, unless a program owns it: table {clean(table)}")
            continue
        try:
            await nft.apply(f"delete table {table}\n")
        except RestoreFailed as exc:
            tell(f"kept: table {clean(table)}: {exc}")
        else:
            tell(f"taken away: table {clean(table)}, a copy of a guard")


async def take_away(host: Host, tell: Tell, *, dry_run: bool) -> State:
    """Take away the rules that no running container needs, and tell of each.

    podman itself is asked first for the addresses of all that runs: their rules are kept, as are
    those of whoever has an address in a network namespace. Raises StateUnreadable when podman does
    not answer, RestoreFailed while another podwatch repairs.
    """
    # podman takes its time, so it is asked before the look: what is decided by is the newer.
    running, _ = await host.installed.podman.list_networks()
    return await take_away_from(host, running, tell, dry_run=dry_run)


async def take_away_from(host: Host, running: Setup, tell: Tell, *, dry_run: bool) -> State:
    """The same, where podman has just told of all that is `running`.

    Raises RestoreFailed while another podwatch repairs; this one's loops wait for it.
    """
    async with host.restorer.turn:
        with host.restorer.alone():
            return await _take_away(host, running, tell, dry_run=dry_run)


async def _take_away(host: Host, running: Setup, tell: Tell, *, dry_run: bool) -> State:
    snapshot, verdict = await settled_look(host)
    snapshot = host.looker.with_inside(snapshot)
    own = snapshot.rules
    if snapshot.setup is None or own is None:
        return verdict.state
    if snapshot.inside is None:
        tell("nothing is taken away: the kernel does not tell who has a network namespace")
        return verdict.state
    listed = {address: 1 for endpoint in running.endpoints for address, _ in endpoint.addresses}
    setup = living(snapshot.setup, snapshot.containers)
    snapshot = replace(snapshot, setup=setup, inside={**listed, **snapshot.inside})
    found = leftovers(snapshot, verdict.rules, verdict.missing)
    for rule in candidates(snapshot, verdict.rules):
        word = "left over" if rule in found else "kept, as somebody may need it"
        tell(f"{word}: {clean(rule.chain)}: {clean(rule.text)}")
    if not found:
        tell("nothing is left over")
        return verdict.state
    tell(f"{'would take' if dry_run else 'taking'} away {counted(len(found), 'rule')}")
    if dry_run:
        return verdict.state
    for driver in {rule.driver for rule in found}:
        observed = snapshot.others.get(driver, own)
        of_driver = [rule for rule in found if rule.driver is driver]
        if why := host.looker.outdated(snapshot):
            tell(f"not taken away: {why} since the look; try again")
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
