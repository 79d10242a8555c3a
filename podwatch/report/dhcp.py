# SPDX-License-Identifier: Apache-2.0
"""What is reported of DHCP: a section of the status document, and the journal, each thing once."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from podwatch.decide.dhcp import DhcpDecision, DhcpVerdict
from podwatch.report.events import Event
from podwatch.report.logging import log
from podwatch.words.dhcp import DhcpSnapshot, Fault, Holder
from podwatch.words.errors import PodwatchError
from podwatch.words.text import lasted
from podwatch.words.verdict import State

_EVENTS = {
    Fault.UNREADABLE: Event.UNKNOWN,
    Fault.MISSING: Event.DHCP_BLOCKED,
    Fault.MASKED: Event.DHCP_BLOCKED,
    Fault.NOT_SERVING: Event.DHCP_DOWN,
    Fault.NOT_ENABLED: Event.DHCP_DOWN,
    Fault.LEASES: Event.DHCP_LEASES_LOST,
}


class Document(Protocol):
    """The status document, as far as DHCP concerns it."""

    def took_dhcp(self, section: dict[str, Any]) -> None:
        """This is its section from now on."""

    def complain(self, error: PodwatchError) -> None:
        """Log what podwatch goes without, the same thing once."""


class DhcpReport:
    """Reports what was seen of DHCP and done about it."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._reported: tuple[Fault | None, str] = (None, "")
        self._lost: set[str] = set()
        self._done = ""

    def complain(self, error: PodwatchError) -> None:
        """Log what podwatch goes without, the same thing once."""
        self._document.complain(error)

    def unmanaged(self) -> None:
        """Nobody asked podwatch to look after DHCP."""
        self._document.took_dhcp({})

    def judged(self, seen: DhcpSnapshot, verdict: DhcpVerdict) -> None:
        """Log what is wrong, and when it no longer is; the same thing, and the same lease, once."""
        done = self._done if seen.serving else ""
        if done:
            self._done = ""
            log(Event.DHCP_WELL, f"{seen.proxy.socket} listens: podwatch has {done} it")
        leases = verdict.fault is Fault.LEASES
        news = (verdict.fault, "" if leases else verdict.what)
        before, self._reported = self._reported, news
        lost = {holder.container_id for holder in verdict.lost} if leases else set[str]()
        lost_before, self._lost = self._lost, lost
        if news == before and lost <= lost_before:
            return
        if verdict.fault is not None:
            log(_EVENTS[verdict.fault], verdict.what, advice=verdict.advice)
        elif before[0] is not None and verdict.state is not None and not done:
            log(Event.DHCP_WELL, verdict.what)

    def decided(self, seen: DhcpSnapshot, verdict: DhcpVerdict, decision: DhcpDecision) -> None:
        """The status document shows what was seen, and what is waited for."""
        self._document.took_dhcp(section(seen, verdict, decision.why, time.time()))

    def served(self, done: Sequence[str], error: PodwatchError | None = None) -> None:
        """The proxy's socket was "enabled", "started" or "restarted", up to an error."""
        if error is not None:
            log(Event.DHCP_FAILED, f"{error}; {error.hint}" if error.hint else str(error))
        self._done = " and ".join(done)

    def renewed(self, holder: Holder, took_s: float, failure: str) -> None:
        """A container's lease was renewed; or not, for the reason `failure`."""
        what = f"{holder.name}, network {holder.network}"
        if failure:
            log(Event.DHCP_FAILED, f"{what}: its lease was not renewed: {failure}")
            return
        address = holder.address or "an address"
        log(Event.DHCP_RENEWED, f"{what}: the lease of {address} renewed in {lasted(took_s)}")


def section(
    seen: DhcpSnapshot,
    verdict: DhcpVerdict,
    waits_for: str,
    now: float,
) -> dict[str, Any]:
    """The part `dhcp` of the status document; `now` is in seconds since the epoch.

    `waits_for` is what is waited for while something is wrong.
    """
    if verdict.state is None:
        return {"state": ""}
    proxy = seen.proxy
    return {
        "state": verdict.state,
        "summary": verdict.what,
        "advice": verdict.advice,
        "next_try": "" if verdict.state is State.OK else waits_for,
        "backend": seen.backend,
        "networks": list(seen.networks),
        "socket": {
            "unit": proxy.socket,
            "path": proxy.path,
            "path_exists": seen.path_exists,
            "listening": seen.listening,
            **{word: asdict(seen.socket)[word] for word in ("load", "active", "file", "result")},
        },
        "proxy": {
            "unit": proxy.service,
            "active": seen.service.active,
            "pid": seen.service.pid,
            "started": seen.service.started,
        },
        "containers": [_container(holder, seen, now) for holder in seen.holders or ()],
    }


def _container(holder: Holder, seen: DhcpSnapshot, now: float) -> dict[str, Any]:
    lease = (seen.leases or {}).get(holder.mac)
    leased = seen.leased_at.get(holder.mac, 0.0) if lease else holder.leased
    renewals = 0.0
    if lease and lease.renew_s and leased:
        # Each renewal starts the same times anew: the next one is a multiple of them away.
        times = max(math.ceil((now - leased) / lease.renew_s), 1)
        renewals = leased + times * lease.renew_s
    return {
        "id": holder.container_id,
        "name": holder.name,
        "network": holder.network,
        "mac": holder.mac,
        "address": lease.address if lease else holder.address,
        "known": seen.is_known(holder),
        "paused": holder.paused,
        "leased": leased,
        "lease_s": lease.lease_s if lease else 0,
        "renew_s": lease.renew_s if lease else 0,
        "renews_at": renewals,
    }
