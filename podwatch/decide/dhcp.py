# SPDX-License-Identifier: Apache-2.0
"""DHCP: what is wrong with the proxy and the leases, and the one thing to do about it now. Pure.

Three facts make a socket that serves: its unit is active, its path exists, and a socket listens
there. Where one is not so, the unit is started; only then are leases renewed, since a reload while
the proxy cannot be reached costs a container its networks (podman.md 7.3). Leases that the running
proxy does not know are renewed one container at a time. A DHCP server that does not answer costs
the container that asks its address: so the first failure ends the round, and the next one begins,
after a pause, with the container that has lost its address already.

Nothing here keeps the time or touches the host: `step` is handed both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from podwatch.words.dhcp import Backend, DhcpSnapshot, Holder
from podwatch.words.text import counted, listed
from podwatch.words.verdict import State

NEVER = float("-inf")

_QUICK_TRIES = 3

_OFFERED = {
    Backend.CNI: ", or if it does not: cp /usr/share/podwatch/units/cni-dhcp.* "
    "/etc/systemd/system/ && systemctl daemon-reload"
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers; times in seconds."""

    settle: float = 1.0  # a lease is lost when the proxy has not known it for so long
    backoff: float = 20.0
    backoff_max: float = 300.0
    socket_backoff: float = 1.0
    calm: float = 60.0  # a socket that served for so long is started at once when it stops


class Fault(StrEnum):
    """What can be wrong; the first that holds is told."""

    UNREADABLE = "unreadable"
    MISSING = "missing"
    MASKED = "masked"
    NOT_SERVING = "not_serving"
    NOT_ENABLED = "not_enabled"
    LEASES = "leases"


@dataclass(frozen=True, slots=True)
class DhcpVerdict:
    """What a look amounts to. `state` is None where no network wants DHCP."""

    state: State | None
    what: str = ""
    advice: str = ""
    fault: Fault | None = None
    lost: tuple[Holder, ...] = ()


class Act(StrEnum):
    """What can be done."""

    SERVE = "serve"
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class DhcpDecision:
    """What to do now, and when to look again at the latest (None: when something happens).

    SERVE enables the socket where `enable`, and starts it, or restarts it where `restart`;
    RENEW reloads the network of `holder`.
    """

    act: Act | None
    why: str = ""
    look_at: float | None = None
    enable: bool = False
    start: bool = False
    restart: bool = False
    holder: Holder | None = None


@dataclass(frozen=True, slots=True)
class DhcpMemory:
    """What is remembered between steps. Moments are -inf where there was none.

    `renewed` are containers renewed under the proxy process `generation`; `just_renewed` the one
    whose proxy process the next look shows. `refused` are those podman could not reload for
    another reason than DHCP: how often, and when to try again.
    """

    tries: int = 0
    next_serve: float = NEVER
    serving_since: float | None = None
    lost_since: float | None = None
    failures: int = 0
    next_renew: float = NEVER
    canary: str = ""
    just_renewed: str = ""
    generation: str = ""
    renewed: frozenset[str] = frozenset()
    refused: Mapping[str, tuple[int, float]] = field(default_factory=dict)


def judge(seen: DhcpSnapshot, memory: DhcpMemory) -> DhcpVerdict:
    """What is wrong, the gravest first; `memory` knows what was renewed under this proxy."""
    if seen.problem:
        return DhcpVerdict(State.UNKNOWN, seen.problem, seen.hint, Fault.UNREADABLE)
    if not seen.networks:
        return DhcpVerdict(None, "no network wants DHCP")
    name = seen.proxy.socket
    if not seen.socket.exists:
        return DhcpVerdict(
            State.LOST,
            f"{name} does not exist: containers get no address on {_networks(seen)}",
            f"install {seen.proxy.package}, which brings it{_OFFERED.get(seen.backend, '')}",
            Fault.MISSING,
        )
    lost = _lost(seen, memory)
    if _is_masked(seen):
        unit = name if seen.socket.masked else seen.proxy.service
        return DhcpVerdict(
            State.DEGRADED,
            f"{unit} is masked: containers get no address on {_networks(seen)}",
            f"podwatch leaves it so; to change that: systemctl unmask {unit}",
            Fault.MASKED,
            lost,
        )
    if not seen.serving:
        advice = f"journalctl -u {name}" if seen.socket.active == "failed" else ""
        what = f"{name} {_why_not(seen)}"
        return DhcpVerdict(State.LOST, what, advice, Fault.NOT_SERVING, lost)
    if seen.holders is None:
        return DhcpVerdict(
            State.UNKNOWN, "podman did not say who holds a lease", seen.hint, Fault.UNREADABLE
        )
    if seen.leases is None and seen.service.pid:
        return DhcpVerdict(
            State.UNKNOWN, "the proxy's lease file makes no sense", seen.hint, Fault.UNREADABLE
        )
    if lost:
        names = listed([each.name for each in lost])
        whose = counted(len(lost), "container")
        return DhcpVerdict(
            State.LOST,
            f"the proxy does not know the lease of {whose}, and does not renew it: {names}",
            fault=Fault.LEASES,
            lost=lost,
        )
    if seen.socket.file == "disabled":
        return DhcpVerdict(
            State.DEGRADED, f"{name} will not be there after a reboot", fault=Fault.NOT_ENABLED
        )
    whose = counted(len(seen.holders), "container")
    return DhcpVerdict(State.OK, f"{name} listens, {whose} with a lease on {_networks(seen)}")


def _is_masked(seen: DhcpSnapshot) -> bool:
    """Whether an administrator's no to the socket, or to the proxy behind it, is in effect."""
    return (seen.socket.masked and not seen.serving) or (
        seen.service.masked and not seen.service.pid
    )


def step(
    memory: DhcpMemory, seen: DhcpSnapshot, now: float, limits: Limits
) -> tuple[DhcpMemory, DhcpVerdict, DhcpDecision]:
    """Judge what was seen, and decide what to do about it at `now`."""
    memory = _follow_proxy(memory, seen)
    verdict = judge(seen, memory)
    if verdict.state is None:
        return DhcpMemory(), verdict, DhcpDecision(None)
    if verdict.fault is Fault.UNREADABLE:
        return memory, verdict, DhcpDecision(None, "unknown is not lost", now + limits.backoff)
    if seen.serving:
        since = now if memory.serving_since is None else memory.serving_since
        memory = replace(memory, serving_since=since)
        if now - since >= limits.calm:
            memory = replace(memory, tries=0)
    else:
        memory = replace(memory, serving_since=None, lost_since=None)
    wants_enabling = seen.socket.file == "disabled"
    can_serve = seen.socket.exists and not _is_masked(seen)
    if not can_serve:
        memory = replace(memory, tries=0, next_serve=NEVER)
    elif not seen.serving or wants_enabling:
        if now >= memory.next_serve:
            return memory, verdict, _serve(seen, verdict, enable=wants_enabling)
        if not seen.serving:
            why = f"tried {counted(memory.tries, 'time')} lately: pausing"
            return memory, verdict, DhcpDecision(None, why, memory.next_serve)
    if not seen.serving or _is_masked(seen):
        # Only an administrator can help, and a unit that is installed or unmasked is heard of.
        return memory, verdict, DhcpDecision(None, "this is the administrator's to change")
    memory, decision = _about_leases(memory, seen, verdict.lost, now, limits)
    calm_at = memory.serving_since + limits.calm if memory.serving_since is not None else now
    if decision.act is None and memory.tries and decision.look_at is None:
        decision = replace(decision, look_at=calm_at)
    return memory, verdict, decision


def served(memory: DhcpMemory, now: float, limits: Limits) -> DhcpMemory:
    """The socket was enabled or started, or could not be; the next look shows what came of it.

    The first few tries follow each other quickly, the next after ever longer pauses.
    """
    doublings = min(max(memory.tries - _QUICK_TRIES, 0), 20)
    pause = min(limits.socket_backoff * 2.0**doublings, limits.backoff_max)
    return replace(memory, tries=memory.tries + 1, next_serve=now + pause)


def renewed(
    memory: DhcpMemory,
    container_id: str,
    now: float,
    limits: Limits,
    *,
    failure: str = "",
    by_dhcp: bool = True,
) -> DhcpMemory:
    """A container's network was reloaded; or not, by `failure`.

    `by_dhcp` is False where something else than DHCP was the reason: that container alone waits.
    """
    refused = {key: each for key, each in memory.refused.items() if key != container_id}
    if not failure:
        return replace(
            memory,
            failures=0,
            next_renew=NEVER,
            canary="",
            just_renewed=container_id,
            refused=refused,
        )
    if by_dhcp:
        return replace(
            memory,
            failures=memory.failures + 1,
            next_renew=now + _pause(memory.failures, limits),
            canary=container_id,
        )
    times = memory.refused.get(container_id, (0, 0.0))[0]
    refused[container_id] = times + 1, now + _pause(times, limits)
    canary = "" if memory.canary == container_id else memory.canary
    return replace(memory, refused=refused, canary=canary)


def _follow_proxy(memory: DhcpMemory, seen: DhcpSnapshot) -> DhcpMemory:
    """What was renewed counts for the proxy process that it was renewed under."""
    if seen.generation != memory.generation:
        memory = replace(memory, generation=seen.generation, renewed=frozenset())
    if memory.just_renewed:
        fresh = {memory.just_renewed} if seen.generation else set[str]()
        memory = replace(memory, just_renewed="", renewed=memory.renewed | fresh)
    return memory


def _about_leases(
    memory: DhcpMemory,
    seen: DhcpSnapshot,
    lost: tuple[Holder, ...],
    now: float,
    limits: Limits,
) -> tuple[DhcpMemory, DhcpDecision]:
    if not lost:
        memory = replace(memory, lost_since=None, failures=0, next_renew=NEVER, canary="")
        return replace(memory, refused={}), DhcpDecision(None)
    since = now if memory.lost_since is None else memory.lost_since
    memory = replace(memory, lost_since=since)
    if seen.busy:
        return memory, DhcpDecision(None, seen.busy, now + limits.settle)
    ready = max(since + limits.settle, memory.next_renew)
    if now < ready:
        why = "the DHCP server did not answer: pausing" if memory.failures else "just noticed"
        return memory, DhcpDecision(None, why, ready)
    due = {each.container_id: memory.refused.get(each.container_id, (0, NEVER))[1] for each in lost}
    # The one that lost its address already has nothing more to lose.
    for each in sorted(lost, key=lambda one: one.container_id != memory.canary):
        if now >= due[each.container_id]:
            return memory, DhcpDecision(Act.RENEW, "renewing its lease", now, holder=each)
    return memory, DhcpDecision(None, "podman could not reload it: pausing", min(due.values()))


def _serve(seen: DhcpSnapshot, verdict: DhcpVerdict, *, enable: bool) -> DhcpDecision:
    active = seen.socket.active == "active"
    return DhcpDecision(
        Act.SERVE,
        verdict.what,
        enable=enable,
        start=not seen.serving and not active,
        restart=not seen.serving and active,
    )


def _lost(seen: DhcpSnapshot, memory: DhcpMemory) -> tuple[Holder, ...]:
    """Containers whose lease the proxy does not know; a paused one cannot be reloaded."""
    if seen.leases is None and seen.service.pid:
        return ()
    found = {
        each.container_id: each
        for each in seen.holders or ()
        if not seen.is_known(each) and not each.paused and each.container_id not in memory.renewed
    }
    return tuple(found.values())


def _why_not(seen: DhcpSnapshot) -> str:
    if seen.socket.active == "failed":
        return f"has failed ({seen.socket.result or 'no reason given'})"
    if seen.socket.active != "active":
        return f"is {seen.socket.active}"
    if not seen.path_exists:
        return f"is active, but {seen.proxy.path} is gone"
    return f"is active, but nobody listens on {seen.proxy.path}"


def _networks(seen: DhcpSnapshot) -> str:
    return f"{'network' if len(seen.networks) == 1 else 'networks'} {listed(list(seen.networks))}"


def _pause(times: int, limits: Limits) -> float:
    return min(limits.backoff * 2.0 ** min(times, 20), limits.backoff_max)
