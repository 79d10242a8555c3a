# SPDX-License-Identifier: Apache-2.0
"""iptables and ip6tables: the rules of both families read, and scripts committed.

The programs are those in the path, as for netavark, which calls `iptables`: where that is
iptables-legacy, so is what podwatch calls. Rule texts are not made here but in
podwatch.drivers.iptables_save.
"""

import asyncio
from collections.abc import Mapping

from podwatch.adapters import namespace
from podwatch.adapters.program import Result, run
from podwatch.words.errors import RestoreFailed, RulesUnreadable

TIMEOUT_S = 30.0
_LOCK_S = "5"
_COMMANDS = {"ip": "iptables", "ip6": "ip6tables"}

_FOR_LEGACY = (
    "iptables-legacy needs CAP_NET_RAW: see /usr/share/podwatch/units/iptables-legacy.conf"
)

WRITERS = frozenset(f"{name}-restore"[:15] for name in _COMMANDS.values())
"""iptables-restore and ip6tables-restore, as the kernel names them."""


async def save(variant: str = "") -> dict[str, str]:
    """What iptables-save and ip6tables-save print, by family ("ip", "ip6").

    Of one of the variants "nft" and "legacy" if it is named, whichever is in the path. Raises
    RulesUnreadable when one of the programs fails, hangs, or is not there.
    """
    suffix = f"-{variant}" if variant else ""
    found = await asyncio.gather(*(_save(f"{name}{suffix}") for name in _COMMANDS.values()))
    return dict(zip(_COMMANDS, found, strict=True))


async def restore(scripts: Mapping[str, str]) -> int:
    """Commit scripts by family: each table of each in one transaction, nothing else flushed.

    Returns how many transactions that were. Raises RestoreFailed with the program's message.
    """
    for family, script in scripts.items():
        name = f"{_COMMANDS[family]}-restore"
        argv = [name, "--wait", _LOCK_S, "--noflush"]
        done = await _run(argv, script)
        if done.failure:
            raise RestoreFailed(f"{name}: {done.failure}")
    return sum(script.splitlines().count("COMMIT") for script in scripts.values())


async def tool_works() -> str:
    """Whether iptables works, which netavark calls: "" or the reason it does not."""
    argv = ["iptables", "--wait", _LOCK_S, "--table", "nat", "--list-rules", "POSTROUTING"]
    return (await _run(argv)).failure


async def _save(name: str) -> str:
    done = await _run([f"{name}-save"])
    if done.failure:
        raise RulesUnreadable(
            f"{name}-save: {done.failure}",
            hint=_FOR_LEGACY if "(legacy)" in done.stderr else f"run {name}-save by hand",
        )
    return done.stdout


async def _run(argv: list[str], stdin: str | None = None) -> Result:
    """Run a program in the networks' namespace."""
    enter = namespace.networks().enter
    return await run(argv, timeout_s=TIMEOUT_S, stdin=stdin, enter=enter)
