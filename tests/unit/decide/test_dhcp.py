# SPDX-License-Identifier: Apache-2.0
"""What is judged of DHCP, and what is done about it: cases, and laws over any sequence of looks."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.decide.dhcp import (
    Act,
    DhcpDecision,
    DhcpMemory,
    Limits,
    judge,
    renewed,
    served,
    step,
)
from podwatch.words.dhcp import Backend, DhcpSnapshot, Fault, Holder, Lease, Unit
from podwatch.words.verdict import State

LIMITS = Limits()
HOLDERS = tuple(Holder(f"id{n}", f"c{n}", "lan", f"mac{n}", f"192.0.2.{n}") for n in range(4))
LEASES = {each.mac: Lease(each.address, 120, 60) for each in HOLDERS}
SOCKET = Unit("loaded", "active", "enabled")
SERVICE = Unit("loaded", "active", "enabled", pid=7, started=100.0)
WELL = DhcpSnapshot(
    Backend.NETAVARK,
    ("lan",),
    SOCKET,
    SERVICE,
    path_exists=True,
    listening=True,
    leases=LEASES,
    holders=HOLDERS,
)
FORGOTTEN = replace(WELL, leases={}, service=replace(SERVICE, pid=8, started=200.0))
FRESH = replace(FORGOTTEN, fresh=True)
STOPPED = replace(WELL, socket=replace(SOCKET, active="inactive"), listening=False)


def decide(seen: DhcpSnapshot, memory: DhcpMemory | None = None, now: float = 0.0) -> DhcpDecision:
    """The decision about one look."""
    return step(memory or DhcpMemory(), seen, now, LIMITS)[2]


def forget() -> DhcpMemory:
    """Memory of a loss that has lasted since time 0."""
    return step(DhcpMemory(), FORGOTTEN, 0.0, LIMITS)[0]


def test_a_failed_socket_says_where_the_reason_is() -> None:
    """systemd's result is one word; the journal has the rest. Nothing of a socket that is off."""
    failed = replace(STOPPED, socket=replace(SOCKET, active="failed", result="resources"))

    verdict = judge(failed, DhcpMemory())
    assert verdict.what == "netavark-dhcp-proxy.socket has failed (resources)"
    assert verdict.advice == "journalctl -u netavark-dhcp-proxy.socket"
    assert judge(STOPPED, DhcpMemory()).advice == ""


def test_nothing_to_do_when_all_is_well() -> None:
    """Socket serving and every lease known: ok, nothing done, nothing waited for."""
    assert judge(WELL, DhcpMemory()).state is State.OK
    assert decide(WELL) == DhcpDecision(None, look_at=LIMITS.slow)


def test_no_network_no_care() -> None:
    """Without a network that wants DHCP a stopped, masked or failed socket is nobody's business."""
    for socket in (Unit(), replace(SOCKET, load="masked"), replace(SOCKET, active="failed")):
        seen = replace(STOPPED, networks=(), socket=socket)

        assert judge(seen, DhcpMemory()).state is None
        assert decide(seen) == DhcpDecision(None)


@pytest.mark.parametrize(
    ("seen", "start", "restart", "told"),
    [
        (STOPPED, True, False, "is inactive"),
        (replace(STOPPED, socket=replace(SOCKET, active="failed")), True, False, "has failed"),
        (replace(WELL, path_exists=False), False, True, "nv-proxy.sock is gone"),
        (replace(WELL, listening=False), False, True, "nobody listens"),
    ],
)
def test_each_of_three_facts_counts(
    seen: DhcpSnapshot, *, start: bool, restart: bool, told: str
) -> None:
    """Unit, path and listening socket: each that is not so is told, and the unit (re)started."""
    verdict = judge(seen, DhcpMemory())
    decision = decide(seen)

    assert (verdict.state, verdict.fault) == (State.LOST, Fault.NOT_SERVING)
    assert told in verdict.what
    assert decision.act is Act.SERVE
    assert (decision.start, decision.restart) == (start, restart)


def test_disabled_is_enabled() -> None:
    """A socket that serves but is disabled is enabled, and not started again."""
    decision = decide(replace(WELL, socket=replace(SOCKET, file="disabled")))

    assert (decision.enable, decision.start, decision.restart) == (True, False, False)


@pytest.mark.parametrize("file", ["static", "enabled-runtime", "linked", ""])
def test_other_file_states_are_left_alone(file: str) -> None:
    """What is neither enabled nor disabled was made so by somebody."""
    assert decide(replace(WELL, socket=replace(SOCKET, file=file))).act is None


@pytest.mark.parametrize(
    "socket",
    [Unit("masked", "inactive", "masked"), Unit("loaded", "inactive", "masked-runtime")],
)
def test_masked_is_respected(socket: Unit) -> None:
    """A masked socket is told as degraded with what to do, and never acted on."""
    seen = replace(STOPPED, socket=socket)

    assert judge(seen, DhcpMemory()).fault is Fault.MASKED
    assert "systemctl unmask" in judge(seen, DhcpMemory()).advice
    assert decide(seen).act is None


@pytest.mark.parametrize("backend", Backend)
def test_missing_names_the_package(backend: Backend) -> None:
    """A unit that does not exist is told with the package that brings it, and nothing is tried."""
    seen = DhcpSnapshot(backend, ("lan",))
    verdict = judge(seen, DhcpMemory())

    assert (verdict.state, verdict.fault) == (State.LOST, Fault.MISSING)
    assert seen.proxy.package in verdict.advice
    assert decide(seen).act is None


def test_an_idle_proxy_is_normal() -> None:
    """Without holders an inactive proxy service behind a listening socket is well."""
    seen = replace(WELL, service=Unit("loaded"), leases={}, holders=())

    assert judge(seen, DhcpMemory()).state is State.OK


def test_a_loss_is_waited_out_first() -> None:
    """A lease file that is being rewritten is empty for a moment: a loss has to stay."""
    memory, _, first = step(DhcpMemory(), FORGOTTEN, 0.0, LIMITS)
    _, _, later = step(memory, FORGOTTEN, LIMITS.settle, LIMITS)

    assert (first.act, first.look_at) == (None, LIMITS.settle)
    assert (later.act, later.holder) == (Act.ASK, HOLDERS[0])


def test_no_reload_without_the_socket() -> None:
    """Leases are renewed only when the socket serves: a reload without it costs the networks."""
    seen = replace(FORGOTTEN, path_exists=False)
    memory = replace(forget(), next_serve=1000.0)

    assert step(memory, seen, 10.0, LIMITS)[2].act is None


def test_podman_at_work_is_left_alone() -> None:
    """While podman changes a network nobody is reloaded: it may be a container that starts."""
    assert decide(replace(FORGOTTEN, busy="podman is at it"), forget(), 10.0).act is None


def test_paused_containers_wait() -> None:
    """A paused container cannot be reloaded, and is not."""
    seen = replace(FORGOTTEN, holders=(replace(HOLDERS[0], paused=True),))

    assert judge(seen, DhcpMemory()).lost == ()


def test_unknown_is_not_lost() -> None:
    """Holders or leases that could not be read are unknown, and nobody is reloaded for them."""
    for seen in (replace(FORGOTTEN, holders=None), replace(FORGOTTEN, leases=None)):
        assert judge(seen, DhcpMemory()).state is State.UNKNOWN
        assert decide(seen, forget(), 10.0).act is None


def test_renewed_once_for_each_process() -> None:
    """A container renewed under this proxy process is not renewed again, whatever its file says."""
    memory = renewed(forget(), "id0", 2.0, LIMITS)
    memory, verdict, decision = step(memory, FORGOTTEN, 3.0, LIMITS)

    assert "id0" not in {each.container_id for each in verdict.lost}
    assert decision.holder == HOLDERS[1]
    another = replace(FORGOTTEN, service=replace(SERVICE, pid=9, started=300.0))
    assert "id0" in {each.container_id for each in step(memory, another, 4.0, LIMITS)[1].lost}


def test_a_silent_server_ends_the_round() -> None:
    """The first failure stops the round; after the pause the same container is tried again."""
    memory = renewed(forget(), "id2", 10.0, LIMITS, failure="unable to obtain lease")
    memory, _, waits = step(memory, FORGOTTEN, 11.0, LIMITS)
    _, _, again = step(memory, FORGOTTEN, 10.0 + LIMITS.backoff, LIMITS)

    assert (waits.act, waits.look_at) == (None, 10.0 + LIMITS.backoff)
    assert again.holder == HOLDERS[2]


def test_another_failure_stops_nobody_else() -> None:
    """A container that podman cannot reload for another reason waits alone."""
    memory = renewed(forget(), "id0", 10.0, LIMITS, failure="no such container")

    assert step(memory, FRESH, 11.0, LIMITS)[2].holder == HOLDERS[1]


def test_cni_knows_by_time() -> None:
    """CNI's daemon knows a lease if it runs, and began before the lease was had."""
    before, after = replace(HOLDERS[0], leased=50.0), replace(HOLDERS[1], leased=150.0)
    seen = replace(WELL, backend=Backend.CNI, leases={}, holders=(before, after))

    assert judge(seen, DhcpMemory()).lost == (before,)
    dead = replace(seen, service=Unit("loaded", "failed"))
    assert judge(dead, DhcpMemory()).lost == (before, after)


def test_an_administrators_change_is_followed_at_once() -> None:
    """However often it was tried before: a socket that is unmasked is started without a pause."""
    memory = DhcpMemory(tries=9, next_serve=1000.0)
    masked = replace(STOPPED, socket=Unit("masked", "inactive", "masked"))
    memory, _, _ = step(memory, masked, 10.0, LIMITS)

    assert step(memory, STOPPED, 11.0, LIMITS)[2].act is Act.SERVE


@given(st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_starts_are_bounded(pauses: list[float]) -> None:
    """However a socket that cannot start is looked at, tries get rarer and never stop."""
    memory, now, tries = DhcpMemory(), 0.0, []
    for pause in pauses:
        memory, _, decision = step(memory, STOPPED, now, LIMITS)
        if decision.act is Act.SERVE:
            tries.append(now)
            memory = served(memory, now, LIMITS)
        else:
            assert decision.look_at is not None
            assert now < decision.look_at <= now + LIMITS.backoff_max
        now += pause

    gaps = [after - before for before, after in itertools.pairwise(tries)]
    for number, gap in enumerate(gaps):
        assert gap >= min(2.0 ** max(number - 3, 0), LIMITS.backoff_max) * 0.999


@given(st.lists(st.tuples(st.floats(0, 60), st.booleans()), min_size=1, max_size=60))
def test_a_dead_server_costs_one_container(looks: list[tuple[float, bool]]) -> None:
    """While every renewal fails for want of a lease, only one container is ever tried."""
    memory, now, tried, times = DhcpMemory(), 0.0, set(), 0
    for pause, busy in looks:
        seen = replace(FRESH, busy="podman" if busy else "")
        memory, _, decision = step(memory, seen, now, LIMITS)
        if decision.act is Act.RENEW and decision.holder is not None:
            assert not busy
            tried.add(decision.holder.container_id)
            times += 1
            memory = renewed(
                memory, decision.holder.container_id, now, LIMITS, failure="unable to obtain lease"
            )
        now += pause

    assert len(tried) <= 1
    assert times <= 1 + now / LIMITS.backoff


@given(st.permutations(range(4)), st.floats(1, 100))
def test_all_are_renewed_once(order: list[int], pause: float) -> None:
    """With a server that answers, each container is renewed exactly once, one at a look."""
    seen = replace(FRESH, holders=tuple(HOLDERS[n] for n in order))
    memory, now, done = DhcpMemory(), 0.0, list[str]()
    for _ in range(12):
        memory, verdict, decision = step(memory, seen, now, LIMITS)
        if decision.act is Act.RENEW and decision.holder is not None:
            holder = decision.holder
            done.append(holder.container_id)
            memory = renewed(memory, holder.container_id, now, LIMITS)
            seen = replace(seen, leases={**(seen.leases or {}), holder.mac: LEASES[holder.mac]})
        now += pause

    assert sorted(done) == sorted(each.container_id for each in HOLDERS)
    assert verdict.state is State.OK
