# SPDX-License-Identifier: Apache-2.0
"""The policy in any world: random losses, holds, hints and outcomes, and what always holds."""

from collections.abc import Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from podwatch.decide.decision import Limits
from podwatch.decide.kinds import RULES, SOURCES, SYSCTLS
from podwatch.words.means import Method
from podwatch.words.snapshot import Part
from podwatch.words.verdict import BlockedKind
from tests.unit.decide.world import THINGS, Attempt, Entry, Event, World

ROUNDS = {Method.RELOAD, Method.ESCALATE}
NO_RELOAD = {BlockedKind.STRICT_FORWARD_PORTS, BlockedKind.BUSY, BlockedKind.LOCKED}
NO_WORD = {BlockedKind.PAUSED, BlockedKind.PANIC}
BLIND = {Part.RULES, Part.SETUP}
ONLY_RELOAD = {BlockedKind.STRICT_FORWARD_PORTS}
SLACK_S = 0.001

limits_of_all_kinds = st.builds(
    Limits,
    methods=st.just(frozenset(Method)) | st.frozensets(st.sampled_from(Method)),
    quiet=st.sampled_from([0.0, 0.3, 1.0]),
    quiet_cap=st.sampled_from([0.3, 2.0]),
    settle=st.sampled_from([0.0, 1.5]),
    hold_cap=st.sampled_from([1.0, 10.0]),
    busy_cap=st.sampled_from([0.0, 2.0]),
    calm=st.sampled_from([0.0, 3.0]),
    backoff=st.sampled_from([0.1, 1.0]),
    backoff_max=st.sampled_from([1.0, 30.0, 300.0]),
    duplicates=st.booleans(),
    limit=st.integers(1, 10),
    replay_limit=st.integers(1, 100),
    replay_burst=st.integers(0, 5),
    window=st.sampled_from([1.0, 60.0, 300.0]),
)
attempts_of_all_kinds = st.lists(
    st.builds(
        Attempt,
        lasts=st.sampled_from([0.0, 0.01, 0.2, 5.0]),
        done=st.booleans(),
        heals=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
seldom = st.none() | st.none() | st.none()
events_of_all_kinds = st.lists(
    st.builds(
        Event,
        delay=st.sampled_from([0.0, 0.05, 0.2, 1.0, 7.0, 90.0]),
        lose=st.just(frozenset[str]()) | st.frozensets(st.sampled_from(sorted(THINGS))),
        heal=st.sampled_from([False, False, False, True]),
        holds=seldom
        | st.just(frozenset[BlockedKind]())
        | st.frozensets(st.sampled_from(BlockedKind)),
        unknown=seldom | st.just(frozenset[Part]()) | st.frozensets(st.sampled_from(Part)),
        twice=seldom | st.booleans(),
        copy=seldom | st.booleans(),
        hint=st.booleans(),
        settle=st.booleans(),
    ),
    max_size=40,
)

VAIN = Attempt(0.2, done=True, heals=False)
FAILS = Attempt(0.2, done=False, heals=False)
GOOD = Attempt(0.2, done=True, heals=True)


def lives(
    limits: Limits, attempts: Iterable[Attempt], events: Iterable[Event], rest_s: float = 400.0
) -> list[Entry]:
    """The diary of a world in which all this happens."""
    return World(limits, attempts).live(events, rest_s)


worlds = given(limits_of_all_kinds, attempts_of_all_kinds, events_of_all_kinds)
many = settings(max_examples=200, deadline=None)
some = settings(max_examples=50, deadline=None)


def holds_of(entry: Entry) -> set[BlockedKind]:
    """What held repairs back at a look."""
    return {each.kind for each in entry.verdict.blocked}


def unknown_of(entry: Entry) -> set[Part]:
    """What was unknown at a look."""
    return {each.part for each in entry.verdict.unknown}


@many
@worlds
@example(Limits(), [VAIN], [Event(0, frozenset({"stuck"}))])
@example(Limits(), [GOOD], [Event(0.2, frozenset({"stuck"})) for _ in range(40)])
def test_never_more_rounds_than_the_limit_in_any_window(
    limits: Limits, attempts: list[Attempt], events: list[Event]
) -> None:
    """However the rules are lost, reloads and escalations, and replays, keep to their limits."""
    diary = lives(limits, attempts, events)
    for methods, limit in ((ROUNDS, limits.limit), ({Method.REPLAY}, limits.replay_limit)):
        begun = [entry.at for entry in diary if entry.decision.method in methods]
        ended = [entry.ended for entry in diary if entry.decision.method in methods]
        for moments in (begun, ended):
            for first, over in zip(moments, moments[limit:], strict=False):
                assert over - first >= limits.window - SLACK_S


@many
@worlds
def test_what_must_not_be_done_is_never_done(
    limits: Limits, attempts: list[Attempt], events: list[Event]
) -> None:
    """Holds, unknowns and switches forbid what they forbid, at every single look."""
    for entry in lives(limits, attempts, events):
        method, holds, unknown = entry.decision.method, holds_of(entry), unknown_of(entry)
        if method is None:
            continue
        assert method in limits.methods
        assert Part.SETUP not in unknown, "unknown never repairs"
        assert method not in RULES.means or Part.RULES not in unknown, "nor what depends on it"
        assert not holds & NO_WORD, "nothing in panic mode or while paused"
        if not entry.verdict.missing:
            assert method is Method.REPLAY, "nothing missing: at most what is there twice"
            assert entry.verdict.has_duplicates
            assert limits.duplicates
            assert not holds & NO_WORD
        if method is Method.SYSCTLS:
            assert entry.decision.missing == SYSCTLS.of(entry.verdict.missing) != ()
        if method is Method.SOURCES:
            assert entry.decision.missing == SOURCES.of(entry.verdict.missing) != ()
            assert Part.FIREWALLD not in unknown
        if method in ROUNDS:
            assert entry.verdict.missing_rules
            assert entry.decision.container_ids
            assert not holds & NO_RELOAD
            assert Part.FIREWALLD not in unknown
        if method is Method.ESCALATE:
            assert not unknown, "the table is not deleted while anything is unknown"
            assert "table" not in {each.detail for each in entry.verdict.missing}


@many
@worlds
def test_it_never_sleeps_on_a_loss(
    limits: Limits, attempts: list[Attempt], events: list[Event]
) -> None:
    """While something is missing or unknown the next look has a time, and never a past one."""
    for entry in lives(limits, attempts, events):
        look_at = entry.decision.look_at
        if look_at is not None:
            assert look_at >= entry.at
            assert entry.decision.method is not None or look_at > entry.at
        if unknown_of(entry) & BLIND:
            assert look_at is not None
        elif entry.verdict.missing and not holds_of(entry) & NO_WORD:
            assert look_at is not None


def may_do(entry: Entry, limits: Limits) -> set[Method]:
    """The means that nothing forbids at a look, for what is missing there."""
    holds, unknown = holds_of(entry), unknown_of(entry)
    if Part.SETUP in unknown or holds & NO_WORD:
        return set()
    means = {Method.SYSCTLS} if SYSCTLS.of(entry.verdict.missing) else set[Method]()
    if SOURCES.of(entry.verdict.missing) and Part.FIREWALLD not in unknown:
        means.add(Method.SOURCES)
    held = holds & NO_RELOAD
    if entry.verdict.missing_rules and not held and Part.FIREWALLD not in unknown:
        means.add(Method.RELOAD)
    return {method for method in means if method in limits.methods}


@many
@worlds
@example(Limits(), [FAILS], [Event(0, frozenset({"rule"}), settle=True)])
@example(Limits(), [VAIN], [Event(0.2, frozenset({"rule"}), settle=True) for _ in range(40)])
def test_what_stays_missing_is_acted_on(
    limits: Limits, attempts: list[Attempt], events: list[Event]
) -> None:
    """A loss that nothing forbids to repair never waits longer than the pauses that are set."""
    pause = max(limits.backoff_max, limits.window)
    bound = pause + limits.hold_cap + limits.quiet_cap + limits.settle + limits.calm + 1.0
    waits: dict[Method, float | None] = dict.fromkeys(
        (Method.SYSCTLS, Method.SOURCES, Method.RELOAD)
    )
    diary = lives(limits, attempts, events, rest_s=2 * bound)
    for entry in diary:
        may = may_do(entry, limits)
        done = entry.decision.method
        for method, since in waits.items():
            acts = done is method or (method is Method.RELOAD and done in (*ROUNDS, Method.REPLAY))
            if acts or method not in may:
                waits[method] = None
            elif since is None:
                waits[method] = entry.at
            else:
                assert entry.at - since <= bound, (method, since, entry)


@many
@worlds
def test_what_can_be_healed_is_healed(
    limits: Limits, attempts: list[Attempt], events: list[Event]
) -> None:
    """Once nothing holds it back and the means work, all that was lost comes back."""
    limits = Limits(
        quiet_cap=limits.quiet_cap,
        hold_cap=limits.hold_cap,
        backoff_max=limits.backoff_max,
        limit=limits.limit,
        replay_limit=limits.replay_limit,
        window=limits.window,
    )
    world = World(limits, attempts)
    world.live(events, 0.0)
    world.turn_to([GOOD])
    calm = Event(0.0, holds=frozenset(), unknown=frozenset())
    diary = world.live([calm], 3 * max(limits.backoff_max, limits.window) + 60)
    assert world.lost == set(), diary[-5:]
    assert diary[-1].decision.method is None


@some
@given(attempts_of_all_kinds, events_of_all_kinds)
def test_it_never_loops_hot(attempts: list[Attempt], events: list[Event]) -> None:
    """An hour of it costs a look a second at most, and tries at growing intervals."""
    limits, hour = Limits(), 3600.0
    world = World(limits, attempts)
    before = len(world.live(events, 0.0))
    world.turn_to([VAIN])
    quiet = world.live([], hour)[before:]
    assert len(quiet) < 1.2 * hour
    late = [entry.decision.method for entry in quiet if entry.at > quiet[0].at + hour / 2]
    most = hour / 2 / limits.backoff_max + 1
    rounds = sum(method in ROUNDS for method in late)
    assert rounds <= most
    for method in (Method.SOURCES, Method.SYSCTLS):
        assert late.count(method) <= most
    assert late.count(Method.REPLAY) <= rounds + 1, "the copy is tried anew after a round only"


@some
@given(
    st.frozensets(st.sampled_from(["sysctl", "source", "rule"])),
    st.sampled_from(["sysctl", "source", "late"]),
    st.sampled_from(["with a copy", "without"]),
    st.sampled_from([Part.CONTAINER, Part.RULES, Part.FIREWALLD, None]),
)
def test_a_loss_that_lasts_delays_no_other(
    lasting: frozenset[str], fresh: str, how: str, unknown: Part | None
) -> None:
    """Whatever stays lost or unknown, tried in vain for long, a new loss is tried at once."""
    copy = how == "with a copy"
    hidden = {Part.RULES: {"late"}, Part.FIREWALLD: {"source", "late"}}
    if unknown is not None and fresh in hidden.get(unknown, ()):
        return
    world = World(Limits(), [Attempt(0.0, done=False, heals=False)], copy=copy)
    parts = frozenset() if unknown is None else frozenset({unknown})
    world.live([Event(0.0, lasting - {fresh}, unknown=parts)], 1000.0)
    before = len(world.diary)
    struck = world.now
    diary = world.live([Event(0.0, frozenset({fresh}))], 10.0)[before:]
    if fresh == "sysctl":
        wanted = {Method.SYSCTLS}
    elif fresh == "source":
        wanted = {Method.SOURCES}
    else:
        wanted = {Method.REPLAY} if copy else ROUNDS
    first = next(entry for entry in diary if entry.decision.method in wanted)
    assert first.at - struck <= Limits().quiet + SLACK_S
    assert fresh != "late" or copy or "cc" in first.decision.container_ids


def test_a_fight_is_bounded_and_ends_in_calm() -> None:
    """Rules flushed every 200 ms for 30 s: few reloads, and all is back soon after the end."""
    world = World(Limits(), [GOOD])
    diary = world.live([Event(0.2, frozenset({"table", "source"})) for _ in range(150)], 60.0)
    assert sum(entry.decision.method in ROUNDS for entry in diary) <= Limits().limit
    assert world.lost == set()
    whole = next(entry.at for entry in diary if entry.at > 30 and not entry.verdict.missing)
    assert whole < 50
    world = World(Limits(), [Attempt(0.01, done=True, heals=True)], copy=True)
    diary = world.live([Event(0.2, frozenset({"table"})) for _ in range(150)], 60.0)
    assert not any(entry.decision.method in ROUNDS for entry in diary)
    assert sum(entry.decision.method is Method.REPLAY for entry in diary) <= Limits().replay_limit
    whole = next(entry.at for entry in diary if entry.at > 30 and not entry.verdict.missing)
    assert whole < 32


def test_a_single_loss_is_healed_within_its_time() -> None:
    """One loss on a quiet host: a source at once, rules within half a second's wait."""
    for things, limit in (
        ({"sysctl"}, 0.0),
        ({"source"}, 0.0),
        ({"rule"}, 0.3),
        ({"stuck"}, 0.3),
        ({"table"}, 0.3),
    ):
        diary = lives(
            Limits(), [Attempt(0.0, done=True, heals=True)], [Event(10, frozenset(things))]
        )
        whole = next(entry.at for entry in diary if entry.at >= 10 and not entry.verdict.missing)
        assert whole - 10 <= limit + SLACK_S, things
