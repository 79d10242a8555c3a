# SPDX-License-Identifier: Apache-2.0
"""DHCP: what is wrong with the proxy and the leases, and what to do about it now. Pure.

It owns all waiting of the DHCP loop, too: `step` is handed the time, and says when to look again.

Three facts make a socket that serves: its unit is active, its path exists, and a socket listens
there. Where one of them does not hold, the unit is started. Leases are renewed only once all hold:
`podman network reload` takes a container off all of its networks before it sets them up again
(Podman libpod/networking_common.go, reloadContainerNetwork), and without the proxy that fails for
all of them. Leases that the running proxy does not know are renewed one container at a time.

A container whose DHCP server does not answer loses its address by the reload. So the first failure
ends the round; the next round begins after a pause, with the container that lost its address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from podwatch.decide.pauses import doubled
from podwatch.words.dhcp import Backend, DhcpSnapshot, Fault, Holder
from podwatch.words.text import counted, few
from podwatch.words.verdict import State

NEVER = float("-inf")

_QUICK_TRIES = 3

MAX_STARTING_TRIES = 6
"""So often podman is asked, at growing intervals, who holds a lease that nobody running holds."""

_FIRST_STARTING_S = 0.5

_OF_DHCP = ("lease", "dhcp")
"""Words in what podman says when it was DHCP that failed."""

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
    slow: float = 300.0  # the longest between two looks, where a network wants DHCP


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
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class DhcpDecision:
    """What to do now, and when to look again at the latest (None: when something happens).

    SERVE enables the socket where `enable`, and starts it, or restarts it where `restart`;
    RENEW reloads the network of `holder`; ASK only looks again, since podman has to be asked anew
    before `holder` is reloaded. After each of them the next look follows at once.
    `fresh` is whether that look has to ask podman for its containers.
    """

    act: Act | None
    why: str = ""
    look_at: float | None = None
    enable: bool = False
    start: bool = False
    restart: bool = False
    holder: Holder | None = None
    fresh: bool = False


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
        names = few(holder.name for holder in lost)
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
    memory: DhcpMemory,
    seen: DhcpSnapshot,
    now: float,
    limits: Limits,
    *,
    blocked: str = "",
    pause_ends: float | None = None,
) -> tuple[DhcpMemory, DhcpVerdict, DhcpDecision]:
    """Judge what was seen, and decide what to do about it at `now`.

    `blocked` is why nothing may be done, and `pause_ends` when a pause is over that goes on.
    """
    memory = _follow_proxy(memory, seen)
    memory, verdict, decision = _decide(memory, seen, now, limits)
    if decision.act is not None and blocked:
        decision = DhcpDecision(None, blocked)
    elif decision.act is Act.RENEW and not seen.fresh:
        decision = replace(decision, act=Act.ASK, fresh=True)
    return memory, verdict, _timed(decision, seen, now, limits, pause_ends)


def held_back(seen: DhcpSnapshot, why: str, now: float, limits: Limits) -> DhcpDecision:
    """What follows where the container to renew must not be reloaded now, for the reason `why`."""
    return _timed(DhcpDecision(None, why, now + limits.backoff), seen, now, limits)


def _timed(
    decision: DhcpDecision,
    seen: DhcpSnapshot,
    now: float,
    limits: Limits,
    pause_ends: float | None = None,
) -> DhcpDecision:
    """The decision, with the time of the next look and whether podman is asked then.

    Nothing tells podwatch that a container was unpaused or has started, or that podman has done.
    """
    if decision.act is not None:
        return decision
    due = [at for at in (decision.look_at, pause_ends) if at is not None]
    if 0 < seen.unclaimed <= MAX_STARTING_TRIES:
        due.append(now + _FIRST_STARTING_S * 2 ** (seen.unclaimed - 1))
    if seen.unasked:
        due.append(now + limits.settle)
    if seen.networks:
        due.append(now + limits.slow)
    waits = any(holder.paused and not seen.is_known(holder) for holder in seen.holders or ())
    fresh = seen.unasked or seen.unclaimed > 0 or waits
    return replace(decision, look_at=min(due, default=None), fresh=fresh)


def _decide(
    memory: DhcpMemory, seen: DhcpSnapshot, now: float, limits: Limits
) -> tuple[DhcpMemory, DhcpVerdict, DhcpDecision]:
    verdict = judge(seen, memory)
    if verdict.state is None:
        return DhcpMemory(), verdict, DhcpDecision(None)
    if verdict.fault is Fault.UNREADABLE:
        return memory, verdict, DhcpDecision(None, "unknown is not lost", now + limits.backoff)
    since = now if memory.serving_since is None else memory.serving_since
    if seen.serving:
        tries = 0 if now - since >= limits.calm else memory.tries
        memory = replace(memory, serving_since=since, tries=tries)
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
    if memory.tries and decision.look_at is None:
        decision = replace(decision, look_at=since + limits.calm)
    return memory, verdict, decision


def served(memory: DhcpMemory, now: float, limits: Limits) -> DhcpMemory:
    """The socket was enabled or started, or could not be; the next look shows what came of it.

    The first few tries follow each other quickly, the next at growing intervals.
    """
    doublings = max(memory.tries - _QUICK_TRIES, 0)
    pause = doubled(limits.socket_backoff, doublings, limits.backoff_max)
    return replace(memory, tries=memory.tries + 1, next_serve=now + pause)


def renewed(
    memory: DhcpMemory,
    container_id: str,
    now: float,
    limits: Limits,
    *,
    failure: str = "",
) -> DhcpMemory:
    """A container's network was reloaded; or not, for the reason `failure`.

    Where the reason is not DHCP, this container alone waits.
    """
    refused = {key: tries for key, tries in memory.refused.items() if key != container_id}
    if not failure:
        return replace(
            memory,
            failures=0,
            next_renew=NEVER,
            canary="",
            just_renewed=container_id,
            refused=refused,
        )
    if any(word in failure.lower() for word in _OF_DHCP):
        return replace(
            memory,
            failures=memory.failures + 1,
            next_renew=now + doubled(limits.backoff, memory.failures, limits.backoff_max),
            canary=container_id,
        )
    times, _ = memory.refused.get(container_id, (0, NEVER))
    pause = doubled(limits.backoff, times, limits.backoff_max)
    refused[container_id] = times + 1, now + pause
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
    ids = [holder.container_id for holder in lost]
    due = {key: memory.refused[key][1] if key in memory.refused else NEVER for key in ids}
    # The one that lost its address already has nothing more to lose.
    for holder in sorted(lost, key=lambda holder: holder.container_id != memory.canary):
        if now >= due[holder.container_id]:
            return memory, DhcpDecision(Act.RENEW, "renewing its lease", now, holder=holder)
    return memory, DhcpDecision(None, "podman could not reload it: pausing", min(due.values()))


def _serve(seen: DhcpSnapshot, verdict: DhcpVerdict, *, enable: bool) -> DhcpDecision:
    active = seen.socket.active == "active"
    return DhcpDecision(
        Act.SERVE,
        verdict.what,
        enable=enable,
        start=not active,
        restart=not seen.serving and active,
    )


def _lost(seen: DhcpSnapshot, memory: DhcpMemory) -> tuple[Holder, ...]:
    """Containers whose lease the proxy does not know; a paused one cannot be reloaded."""
    if seen.leases is None and seen.service.pid:
        return ()
    found = {
        holder.container_id: holder
        for holder in seen.holders or ()
        if not (seen.is_known(holder) or holder.paused or holder.container_id in memory.renewed)
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
    return f"{'network' if len(seen.networks) == 1 else 'networks'} {few(seen.networks)}"
