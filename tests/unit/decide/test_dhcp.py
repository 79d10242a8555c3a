# SPDX-License-Identifier: Apache-2.0
"""What is judged of DHCP, and what is done about it: cases, and laws over any sequence of looks."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.decide.dhcp import (
    Act,
    DhcpDecision,
    DhcpMemory,
    Limits,
    held_back,
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


def test_the_numbers_and_what_a_decision_leaves_out() -> None:
    """What is documented of the pauses; and nothing is done that a decision does not name."""
    assert Limits() == Limits(1.0, 20.0, 300.0, 1.0, 60.0, 300.0)
    nothing = DhcpDecision(None, "", None, enable=False, start=False, restart=False, fresh=False)
    assert DhcpDecision(None) == nothing


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
    assert decide(seen).why == "this is the administrator's to change"


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

    why = "the DHCP server did not answer: pausing"
    assert waits == DhcpDecision(None, why, 10.0 + LIMITS.backoff)
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

    assert memory.tries == 0
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


def wait(seen: DhcpSnapshot, **more: Any) -> DhcpDecision:
    """The decision about one look at time 100."""
    return step(DhcpMemory(), seen, 100.0, LIMITS, **more)[2]


def test_the_next_look_is_at_the_earliest_moment() -> None:
    """A pause's end, podman that was not asked, and the slow look: whichever comes first."""
    unasked = replace(WELL, unasked=True)

    assert wait(WELL).look_at == 100.0 + LIMITS.slow
    assert wait(WELL, pause_ends=101.5).look_at == 101.5
    assert wait(WELL, pause_ends=1e6).look_at == 100.0 + LIMITS.slow
    assert wait(unasked).look_at == 100.0 + LIMITS.settle
    assert wait(unasked, pause_ends=100.5).look_at == 100.5


def test_without_a_network_only_a_pause_is_waited_for() -> None:
    """Nothing is due on a host where no network wants DHCP."""
    seen = DhcpSnapshot(Backend.NETAVARK)

    assert wait(seen) == DhcpDecision(None)
    assert wait(seen, pause_ends=107.0) == DhcpDecision(None, look_at=107.0)


@pytest.mark.parametrize(
    ("unclaimed", "after"),
    [(0, 300.0), (1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 300.0)],
)
def test_a_container_that_starts_is_asked_for_at_growing_intervals(
    unclaimed: int, after: float
) -> None:
    """Six times; then whatever has the lease is asked for with the other looks."""
    decision = wait(replace(WELL, unclaimed=unclaimed))

    assert decision.look_at == 100.0 + after
    assert decision.fresh is (unclaimed > 0)


def test_podman_is_asked_again_for_what_nothing_tells() -> None:
    """A container unpaused, one that has started, a podman that has done; for nothing else."""
    paused = tuple(replace(holder, paused=True) for holder in HOLDERS)

    assert not wait(WELL).fresh
    assert not wait(replace(WELL, holders=None)).fresh
    assert not wait(replace(WELL, holders=paused)).fresh
    assert wait(replace(FORGOTTEN, holders=paused)).fresh
    assert wait(replace(WELL, unasked=True)).fresh
    assert wait(replace(WELL, unclaimed=7)).fresh


@pytest.mark.parametrize("seen", [STOPPED, FRESH])
def test_what_is_blocked_is_not_done(seen: DhcpSnapshot) -> None:
    """Neither is the socket started nor a lease renewed; the reason is what is waited for."""
    memory = forget()
    decision = step(memory, seen, 100.0, LIMITS, blocked="paused", pause_ends=130.0)[2]

    assert decision == DhcpDecision(None, "paused", 130.0)
    assert step(memory, seen, 100.0, LIMITS, blocked="paused")[2].look_at == 100.0 + LIMITS.slow


def test_what_is_not_to_be_done_is_not_blocked() -> None:
    """A reason against repairs is no reason to say that there is one to be made."""
    assert wait(WELL, blocked="paused").why == ""
    assert wait(FORGOTTEN, blocked="paused").why == "just noticed"


def test_podman_is_asked_before_anybody_is_reloaded() -> None:
    """On old news nobody is reloaded: the next look asks podman, the one after it acts."""
    old = step(forget(), FORGOTTEN, 100.0, LIMITS)[2]
    new = step(forget(), FRESH, 100.0, LIMITS)[2]

    assert (old.act, old.holder, old.fresh, old.why) == (
        Act.ASK,
        HOLDERS[0],
        True,
        "renewing its lease",
    )
    assert (new.act, new.holder, new.fresh, new.why) == (
        Act.RENEW,
        HOLDERS[0],
        False,
        "renewing its lease",
    )


def test_a_container_held_back_is_looked_at_again() -> None:
    """After the same pause as after a failure; its reason is what is waited for."""
    held = DhcpDecision(None, "firewalld is in panic mode", 100.0 + LIMITS.backoff)

    assert held_back(FRESH, "firewalld is in panic mode", 100.0, LIMITS) == held
    unasked = replace(FRESH, unasked=True)
    assert held_back(unasked, "", 100.0, LIMITS).look_at == 100.0 + LIMITS.settle


def test_unknown_is_looked_at_again() -> None:
    """After the same pause, with a word why nothing is done."""
    decision = wait(replace(WELL, problem="the bus is away"))

    assert decision == DhcpDecision(None, "unknown is not lost", 100.0 + LIMITS.backoff)


def test_the_sentences() -> None:
    """What a person reads in the status and the journal."""
    networks = replace(STOPPED, networks=("lan", "wan"))
    failed = replace(SOCKET, active="failed")
    masked = replace(STOPPED, socket=replace(SOCKET, load="masked"))
    service = replace(WELL, service=Unit("masked"), leases={})
    sentences = {
        "netavark-dhcp-proxy.socket is inactive": STOPPED,
        "netavark-dhcp-proxy.socket has failed (no reason given)": replace(STOPPED, socket=failed),
        "netavark-dhcp-proxy.socket does not exist: containers get no address on networks "
        "lan, wan": replace(networks, socket=Unit()),
        "netavark-dhcp-proxy.socket is masked: containers get no address on network lan": masked,
        "netavark-dhcp-proxy.service is masked: containers get no address on network lan": service,
        "podman did not say who holds a lease": replace(WELL, holders=None),
        "the proxy's lease file makes no sense": replace(WELL, leases=None),
        "the proxy does not know the lease of 4 containers, and does not renew it: "
        "c0, c1, c2 and 1 more": FORGOTTEN,
        "netavark-dhcp-proxy.socket will not be there after a reboot": replace(
            WELL, socket=replace(SOCKET, file="disabled")
        ),
        "netavark-dhcp-proxy.socket listens, 4 containers with a lease on network lan": WELL,
        "no network wants DHCP": replace(WELL, networks=()),
    }
    for sentence, seen in sentences.items():
        assert judge(seen, DhcpMemory()).what == sentence


def test_a_masked_service_counts_while_no_process_runs() -> None:
    """A masked socket that still serves, and a masked service whose process runs, are well."""
    serving = replace(WELL, socket=replace(SOCKET, load="masked"))
    running = replace(WELL, service=replace(SERVICE, load="masked"))

    assert judge(serving, DhcpMemory()).state is State.OK
    assert judge(running, DhcpMemory()).state is State.OK
    masked = replace(WELL, service=Unit("masked"), leases={})
    assert decide(masked) == DhcpDecision(
        None, "this is the administrator's to change", LIMITS.slow
    )


def test_leases_without_a_process_need_no_file() -> None:
    """Where no proxy runs, none of the leases is known, whatever the file is like."""
    seen = replace(WELL, service=Unit("loaded", "inactive", "enabled"), leases=None)

    assert judge(seen, DhcpMemory()).lost == HOLDERS


def test_quick_tries_come_first() -> None:
    """Three starts a second apart; then the pause doubles up to its limit."""
    memory, pauses = DhcpMemory(), []
    for _ in range(14):
        memory = served(memory, 1000.0, LIMITS)
        pauses.append(memory.next_serve - 1000.0)

    assert pauses[:6] == [1.0, 1.0, 1.0, 1.0, 2.0, 4.0]
    assert pauses[-1] == LIMITS.backoff_max
    assert served(replace(memory, tries=10**6), 0.0, LIMITS).next_serve == LIMITS.backoff_max


def test_a_socket_that_served_for_long_starts_at_once() -> None:
    """Its tries are forgotten when it has served calmly; sooner, they still count."""
    memory = served(DhcpMemory(tries=5), 0.0, LIMITS)
    memory, _, waits = step(memory, WELL, 10.0, LIMITS)
    assert (memory.tries, waits.look_at) == (6, 10.0 + LIMITS.calm)
    early, _, _ = step(memory, WELL, 69.9, LIMITS)
    assert early.tries == 6
    calm, _, rests = step(memory, WELL, 70.0, LIMITS)
    assert (calm.tries, rests.look_at) == (0, 70.0 + LIMITS.slow)
    stopped, _, _ = step(memory, STOPPED, 71.0, LIMITS)
    assert stopped.serving_since is None
    assert step(memory, FRESH, 10.0, LIMITS)[2].look_at == 10.0 + LIMITS.settle


def test_a_try_waits_for_its_moment() -> None:
    """Not before, and at it."""
    memory = served(DhcpMemory(), 10.0, LIMITS)
    _, _, waits = step(memory, STOPPED, 10.9, LIMITS)

    assert waits == DhcpDecision(None, "tried 1 time lately: pausing", 11.0)
    assert step(memory, STOPPED, 11.0, LIMITS)[2].act is Act.SERVE


def test_leases_are_renewed_while_enabling_waits() -> None:
    """A socket that serves and cannot be enabled keeps no lease from being renewed."""
    memory = replace(forget(), tries=2, next_serve=1000.0)
    seen = replace(FRESH, socket=replace(SOCKET, file="disabled"))

    assert step(memory, seen, 100.0, LIMITS)[2].act is Act.RENEW


def test_failed_renewals_wait_at_growing_intervals() -> None:
    """The pause doubles up to its limit, and begins anew when one has worked."""
    memory, pauses = forget(), []
    for _ in range(6):
        memory = renewed(memory, "id0", 100.0, LIMITS, failure="no lease")
        pauses.append(memory.next_renew - 100.0)

    assert pauses == [20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    memory = renewed(memory, "id0", 100.0, LIMITS)
    assert step(memory, FRESH, 101.0, LIMITS)[2].holder == HOLDERS[1]
    assert renewed(memory, "id0", 100.0, LIMITS, failure="no lease").next_renew == 120.0


def test_all_refused_waits_for_the_first_that_is_due() -> None:
    """Where podman can reload none of them, the next look is when the first may be tried again."""
    seen = replace(FRESH, holders=HOLDERS[:2])
    memory = renewed(forget(), "id0", 100.0, LIMITS, failure="no such container")
    memory = renewed(memory, "id0", 105.0, LIMITS, failure="no such container")
    memory = renewed(memory, "id1", 110.0, LIMITS, failure="no such container")
    _, _, waits = step(memory, seen, 111.0, LIMITS)

    assert memory.refused == {"id0": (2, 145.0), "id1": (1, 130.0)}
    assert waits == DhcpDecision(None, "podman could not reload it: pausing", 130.0)
    assert step(memory, seen, 130.0, LIMITS)[2].holder == HOLDERS[1]
    assert renewed(memory, "id0", 150.0, LIMITS).refused == {"id1": (1, 130.0)}


@pytest.mark.parametrize("failure", ["Unable to obtain LEASE", "the DHCP server is away"])
def test_what_podman_says_of_dhcp_ends_the_round(failure: str) -> None:
    """In whatever letters; anything else makes this container alone wait."""
    assert renewed(forget(), "id0", 100.0, LIMITS, failure=failure).canary == "id0"
    other = renewed(forget(), "id0", 100.0, LIMITS, failure="no such container")
    assert (other.canary, other.failures) == ("", 0)


def test_who_cannot_be_reloaded_is_no_longer_tried_first() -> None:
    """The one that lost its address is tried first, until something else than DHCP stops it."""
    memory = replace(forget(), canary="id2", failures=1)
    other = renewed(memory, "id0", 100.0, LIMITS, failure="no such container")
    same = renewed(memory, "id2", 100.0, LIMITS, failure="no such container")

    assert (other.canary, same.canary) == ("id2", "")


def test_a_loss_that_is_over_is_forgotten() -> None:
    """The next one is waited out anew, and nobody waits for what failed before."""
    memory = replace(forget(), failures=3, next_renew=1000.0, canary="id2", refused={"id1": (1, 9)})
    memory, _, _ = step(memory, WELL, 100.0, LIMITS)

    assert (memory.failures, memory.canary, memory.refused) == (0, "", {})
    again = step(memory, FRESH, 101.0, LIMITS)[2]
    assert (again.act, again.look_at) == (None, 101.0 + LIMITS.settle)


def test_a_loss_begins_anew_when_the_socket_was_away() -> None:
    """While it does not serve, a lease that is not known is no loss of its own."""
    memory, _, _ = step(forget(), replace(FRESH, listening=False), 100.0, LIMITS)

    assert memory.lost_since is None
    assert step(memory, FRESH, 101.0, LIMITS)[2].act is None


def test_podman_at_work_is_looked_at_again_soon() -> None:
    """Nothing tells when it has done."""
    decision = step(forget(), replace(FRESH, busy="podman is at it"), 100.0, LIMITS)[2]

    assert decision == DhcpDecision(None, "podman is at it", 100.0 + LIMITS.settle)


def test_what_was_renewed_without_a_process_does_not_count() -> None:
    """A proxy that has died meanwhile does not renew it."""
    memory = renewed(forget(), "id0", 100.0, LIMITS)
    dead = replace(FRESH, service=Unit("loaded", "inactive", "enabled"))
    memory, verdict, _ = step(memory, dead, 101.0, LIMITS)

    assert (memory.renewed, memory.just_renewed) == (frozenset(), "")
    assert "id0" in {holder.container_id for holder in verdict.lost}
