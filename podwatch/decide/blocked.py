# SPDX-License-Identifier: Apache-2.0
"""What forbids a repair now: the administrator, firewalld, podman at work, or who keeps podman
from it. Pure.
"""

from collections.abc import Iterable
from dataclasses import replace

from podwatch.drivers.driver import about
from podwatch.words.network import Setup
from podwatch.words.snapshot import Firewalld, HeldLock, Snapshot
from podwatch.words.verdict import Blocked, BlockedKind

LOCK_TOLD_S = 30.0
"""podman has its lock for less, even where it waits for a DHCP server that does not answer."""


def forbids_renewal(setup: Setup | None, firewalld: Firewalld, container_id: str) -> str:
    """Why one container must not be reloaded for its DHCP lease now; "" when it may.

    The same as forbids the reload of lost rules, but ports count only where it publishes them.
    """
    if setup is not None:
        mine = tuple(
            endpoint for endpoint in setup.endpoints if endpoint.container_id == container_id
        )
        setup = replace(setup, endpoints=mine)
    found = blocked_by(Snapshot(setup, None, firewalld, {}), setup)
    return next((reason.what for reason in found), "")


def blocked_by(snapshot: Snapshot, setup: Setup | None) -> Iterable[Blocked]:
    """Every reason not to repair what `setup` needs on the host of `snapshot`."""
    firewalld = snapshot.firewalld
    if snapshot.paused:
        yield Blocked(BlockedKind.PAUSED, snapshot.paused, "podwatch resume")
    if firewalld is not None and firewalld.panic:
        yield Blocked(
            BlockedKind.PANIC,
            "firewalld is in panic mode: all traffic is dropped on purpose",
            "firewall-cmd --panic-off",
        )
    elif firewalld is not None and firewalld.reloading:
        yield Blocked(BlockedKind.FIREWALLD_RELOADING, "firewalld is reloading")
    # What firewalld itself forwards is not concerned.
    publishes = (
        setup is not None
        and not about(setup.driver).in_firewalld
        and any(endpoint.port_mappings or endpoint.dns_port != 53 for endpoint in setup.endpoints)
    )
    if firewalld is not None and firewalld.strict_forward_ports and publishes:
        yield Blocked(
            BlockedKind.STRICT_FORWARD_PORTS,
            "firewalld has StrictForwardPorts=yes: netavark refuses to publish ports, and a reload "
            "would take running containers off the network",
            "set StrictForwardPorts=no in /etc/firewalld/firewalld.conf, or publish no ports",
            only_reload=True,
        )
    if snapshot.busy:
        yield Blocked(BlockedKind.BUSY, snapshot.busy)
    if snapshot.lock is not None:
        yield from _locked(snapshot.lock)


def _locked(lock: HeldLock) -> Iterable[Blocked]:
    """What needs no podman goes on. Who has the lock is told when it is no passing thing."""
    if lock.for_s >= LOCK_TOLD_S:
        who = lock.holder or "a program that the kernel does not name"
        if lock.pid:
            advice = f"see: ps -fp {lock.pid}" + (f"; end it: kill {lock.pid}" * lock.shared)
        else:
            advice = "the file's name tells its process: grep -l OFDLCK /proc/[0-9]*/fdinfo/*"
        yield Blocked(
            BlockedKind.LOCKED,
            f"{who} has held {lock.path} for more than {LOCK_TOLD_S:.0f} s: podman waits for it, "
            "so that no container starts or stops, or is reloaded",
            advice,
            only_reload=True,
        )
    elif lock.shared:
        what = f"{lock.holder or 'a program'} holds {lock.path}, and podman waits for it"
        yield Blocked(BlockedKind.BUSY, what, only_reload=True)
