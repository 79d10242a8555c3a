# SPDX-License-Identifier: Apache-2.0
"""What the guard has to hold: everything that is expected, and nothing that is not. Pure.

A guard that knows too much is worse than none: it would send a port to a container that has gone.
So it holds what netavark's state has now, but for containers that are known to be dead or whose
process has ended, and what can be read no more it forgets after half a minute. It is filled from
what is expected, never from what is observed: what somebody has taken away it holds all the more.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from podwatch.drivers.guard import anchor, guard
from podwatch.words.guard import GuardMode, Held
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.network import Held as Addresses
from podwatch.words.text import counted

PATIENCE_S = 30.0
"""So long what was known is held, where it cannot be read any more."""

_FULL = (FirewallDriver.NFTABLES, FirewallDriver.IPTABLES)
_NOT_YET = "waits for the first look"
_NOBODY = "no container needs rules on this host"


@dataclass(frozen=True, slots=True)
class Seen:
    """What looks have shown: who runs, and how netavark makes its rules.

    `setup` is that of the containers that ran at the last look that knew it, None before there was
    one. `dead` are those that did not, each with the stamp of its state: written anew, it lives.
    `marks` as for `guard`. `by_state`: netavark keeps state. `exempt` is a rule of somebody else's
    with which a full guard would do harm, "" where there is none, None where no look has told.
    """

    setup: Setup | None = None
    dead: Mapping[str, object] = field(default_factory=dict)
    marks: bool = False
    by_state: bool = False
    had_containers: bool = False
    exempt: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the guard has to hold, None for no guard at all; and why it is no more than that."""

    held: Held | None = None
    why: str = ""


def taken_in(
    seen: Seen, whole: Setup | None, alive: Setup | None, *, marks: bool, exempt: str | None = ""
) -> Seen:
    """What is known after a look of all that is set up (`whole`), and of who is `alive` of it."""
    if whole is None or alive is None:
        return seen
    running = {endpoint.container_id for endpoint in alive.endpoints}
    gone = {end.container_id for end in whole.endpoints} - running
    return Seen(
        alive,
        {key: whole.stamps.get(key) for key in gone},
        marks,
        bool(whole.state_dir),
        seen.had_containers or bool(alive.endpoints),
        exempt,
    )


def keeps_state(seen: Seen, state: Setup) -> bool:
    """Whether who runs is netavark's to say: it has written `state`, though no look has seen any.

    So the very first container of a host is held as soon as any other.
    """
    return seen.by_state or state.driver is not FirewallDriver.UNKNOWN


def alive_now(seen: Seen, state: Setup | None, book: Addresses | None) -> Setup | None:
    """Who runs now, by netavark's `state`; where it keeps none, by podman's `book` of addresses.

    None where that is not known.
    """
    if state is not None:
        ends = (
            end
            for end in state.endpoints
            if end.container_id not in seen.dead
            or seen.dead[end.container_id] != state.stamps.get(end.container_id)
        )
        return replace(state, endpoints=tuple(ends))
    if seen.by_state:
        return None
    if seen.setup is None or book is None:
        return seen.setup
    ends = (
        end
        for end in seen.setup.endpoints
        if {address for address, _ in end.addresses}
        <= set(book.get(end.network_name, {}).get(end.container_id, ()))
    )
    return replace(seen.setup, endpoints=tuple(ends))


def less(setup: Setup, ended: Collection[str]) -> Setup:
    """A setup without the containers whose process has `ended`."""
    if not ended:
        return setup
    ends = (end for end in setup.endpoints if end.container_id not in ended)
    return replace(setup, endpoints=tuple(ends))


def wanted(
    mode: GuardMode,
    seen: Seen,
    now: Setup | None,
    before: Held | None,
    *,
    against: str = "",
    unknown_s: float = 0.0,
) -> Wanted:
    """What the guard has to hold; `before` is what it holds.

    `now` is who runs at this moment, None where that is not known, `unknown_s` for how long that,
    or a part of it, has not been known. `against` says why there must be none.
    """
    if against or mode is GuardMode.OFF:
        return Wanted(why=against or "switched off (restore.guard)")
    if seen.setup is None:
        return Wanted(why=_NOT_YET)
    had_containers = seen.had_containers or (now is not None and bool(now.endpoints))
    if not had_containers or (now or seen.setup).driver is FirewallDriver.NONE:
        return Wanted(why=_NOBODY)
    if mode is GuardMode.ANCHOR:
        return Wanted(anchor())
    if seen.exempt != "":
        why = "until a look has seen the rules" if seen.exempt is None else f"as {seen.exempt}"
        return Wanted(anchor(), f"an anchor only, {why}")
    if now is None:
        if before is not None and unknown_s < PATIENCE_S:
            return Wanted(before)
        return Wanted(anchor(), "who runs is not known: it holds no port")
    if now.driver is FirewallDriver.UNKNOWN:
        return Wanted(anchor(), "netavark's state is gone: it holds no port")
    if now.driver not in _FULL:
        return Wanted(anchor(), f"with the driver {now.driver} it is an anchor only")
    if not (now.endpoints or now.bad_files):
        return Wanted(anchor())
    held = guard(now, marks=seen.marks)
    bad = {file.container_id for file in now.bad_files} - {""}
    if bad and before is not None and unknown_s < PATIENCE_S:
        kept = {key: way for key, way in before.forwards.items() if way.container_id in bad}
        held = replace(held, forwards={**kept, **held.forwards})
    return Wanted(held, f"{counted(len(bad), 'state file')} cannot be read" if bad else "")
