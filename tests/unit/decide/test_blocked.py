# SPDX-License-Identifier: Apache-2.0
"""Who keeps podman waiting: what goes on meanwhile, what does not, and when it is told."""

from dataclasses import replace

import pytest

from podwatch.decide import policy
from podwatch.decide.blocked import LOCK_TOLD_S, blocked_by
from podwatch.decide.decision import Limits, Memory
from podwatch.decide.judge import judge
from podwatch.decide.policy import LOCKED_AGAIN_S, step
from podwatch.words.means import Method
from podwatch.words.network import Endpoint, FirewallDriver, PortMapping, Setup
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, HeldLock, Snapshot
from podwatch.words.verdict import BlockedKind, Missing, MissingKind, State, Verdict

SNAPSHOT = Snapshot(Setup(FirewallDriver.NFTABLES), None, ABSENT_FIREWALLD)
BY_NOBODY = HeldLock("/run/lock/netavark.lock", shared=True, pid=7, holder="sleep (pid 7)")
BY_PODMAN = replace(BY_NOBODY, shared=False, holder="podman (pid 7)")
RULE = Missing(MissingKind.RULE, "a rule is gone", "x", container_ids=("c",))
PLAIN = Endpoint("c", "n", "podman", ())
SYSCTL = Missing(MissingKind.SYSCTL, "a sysctl is 0", "x=1")


def _seen(lock: HeldLock, *, busy: str = "", missing: tuple[Missing, ...] = ()) -> Verdict:
    verdict = judge(replace(SNAPSHOT, lock=lock, busy=busy))
    return replace(verdict, missing=missing)


def _kinds(verdict: Verdict) -> list[tuple[BlockedKind, bool]]:
    return [(each.kind, each.only_reload) for each in verdict.blocked]


def test_a_passing_lock_is_nothing_to_tell() -> None:
    """For less than half a minute the state is what it is without, whoever has the lock."""
    for lock, busy in ((BY_NOBODY, ""), (BY_PODMAN, "podman is changing a network")):
        verdict = _seen(replace(lock, for_s=LOCK_TOLD_S - 0.1), busy=busy)
        assert verdict.state is State.OK
        assert _kinds(verdict) == [(BlockedKind.BUSY, lock.shared)]


@pytest.mark.parametrize(
    ("lock", "told", "advice"),
    [
        (BY_NOBODY, "sleep (pid 7) has held /run/lock/netavark.lock", "ps -fp 7; end it: kill 7"),
        (BY_PODMAN, "podman (pid 7) has held /run/lock/netavark.lock", "see: ps -fp 7"),
        (
            HeldLock("/run/lock/netavark.lock", shared=True),
            "a program that the kernel does not name has held",
            "grep -l OFDLCK /proc/[0-9]*/fdinfo/*",
        ),
    ],
    ids=["read lock", "podman's own", "of an open file"],
)
def test_a_lasting_lock_is_told_with_its_holder(lock: HeldLock, told: str, advice: str) -> None:
    """After half a minute it is told who keeps podman waiting, in words that stay the same."""
    first, later = (_seen(replace(lock, for_s=LOCK_TOLD_S + more)) for more in (0, 60))

    (blocked,) = (each for each in first.blocked if each.kind is BlockedKind.LOCKED)
    assert first.state is State.DEGRADED
    assert blocked.what.startswith(told)
    assert blocked.advice.endswith(advice)
    assert blocked.only_reload
    assert blocked in later.blocked


@pytest.mark.parametrize("for_s", [0.0, 100.0])
def test_a_read_lock_stops_nothing_but_the_reload(for_s: float) -> None:
    """Sysctls and the copy are put back at once; a reload waits, and says for whom."""
    lock = replace(BY_NOBODY, for_s=for_s)
    limits = Limits(quiet=0.0)

    _, decision = step(Memory(), _seen(lock, missing=(SYSCTL,)), 0.0, limits)
    assert decision.method is Method.SYSCTLS
    verdict = _seen(lock, missing=(RULE,))
    _, decision = step(Memory(), verdict, 0.0, limits, can_replay=True)
    assert decision.method is Method.REPLAY

    memory, now = Memory(), 0.0
    while now < 60.0:
        memory, decision = step(memory, verdict, now, limits)
        assert decision.method is None
        assert "sleep (pid 7)" in decision.why
        assert decision.look_at is not None
        assert decision.look_at > now
        now = decision.look_at
    _, decision = step(memory, replace(verdict, blocked=()), now, limits)
    assert decision.method is Method.RELOAD


def test_with_nothing_missing_its_end_is_looked_for_ever_rarer() -> None:
    """A lock that is not told yet is looked at soon, one that is told now and then."""
    for for_s, again in ((0.0, policy.BUSY_AGAIN_S), (LOCK_TOLD_S, LOCKED_AGAIN_S)):
        _, decision = step(Memory(), _seen(replace(BY_NOBODY, for_s=for_s)), 5.0, Limits())
        assert decision.look_at == 5.0 + again


@pytest.mark.parametrize(
    ("endpoint", "blocks"),
    [
        (PLAIN, False),
        (replace(PLAIN, port_mappings=()), False),
        (replace(PLAIN, port_mappings=(PortMapping(8080, 80, "tcp"),)), True),
        (replace(PLAIN, dns_port=1053), True),
    ],
    ids=["nothing", "no ports", "a port", "redirected DNS"],
)
def test_what_strict_forward_ports_concern(endpoint: Endpoint, *, blocks: bool) -> None:
    """A published port, or a DNS that is redirected; not what firewalld itself forwards."""
    strict = Firewalld(running=True, strict_forward_ports=True)

    def found(driver: FirewallDriver, firewalld: Firewalld = strict) -> list[BlockedKind]:
        setup = Setup(driver, endpoints=(endpoint,))
        return [reason.kind for reason in blocked_by(Snapshot(setup, None, firewalld), setup)]

    assert found(FirewallDriver.NFTABLES) == [BlockedKind.STRICT_FORWARD_PORTS] * blocks
    assert found(FirewallDriver.NFTABLES, ABSENT_FIREWALLD) == []
    assert found(FirewallDriver.FIREWALLD) == []
    assert list(blocked_by(Snapshot(None, None, strict), None)) == []
