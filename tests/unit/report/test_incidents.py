# SPDX-License-Identifier: Apache-2.0
"""Which losses are one incident: each is told once, ended once, and hides no other."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from podwatch.report.incident import Incident
from podwatch.report.incidents import STORM_S, Changes, Incidents
from podwatch.words.cause import NO_CAUSE, Writer, by_writer, other
from podwatch.words.means import Method, Outcome
from podwatch.words.snapshot import Part, Unknown
from podwatch.words.verdict import Missing, MissingKind, State, Verdict

SYSCTL = Missing(MissingKind.SYSCTL, "ip_forward is 0", "net/ipv4/ip_forward=1")
SOURCE = Missing(MissingKind.SOURCE, "no source", "10.88.0.0/16", container_ids=("aa",))
RULE = Missing(MissingKind.RULE, "no rule of aa", "accept", "FORWARD", container_ids=("aa",))
OTHER = Missing(MissingKind.RULE, "no rule of bb", "dnat", "DNAT", container_ids=("bb",))
TABLE = Missing(MissingKind.TABLE, "the table is gone", "table", container_ids=("aa", "bb"))
THINGS = (SYSCTL, SOURCE, RULE, OTHER)


@dataclass
class Story:
    """Incidents, with a clock, and all that was told of them."""

    incidents: Incidents = field(default_factory=Incidents)
    now: float = 1000.0
    began: list[Incident] = field(default_factory=list)
    ended: list[Incident] = field(default_factory=list)
    rest: list[Incident] = field(default_factory=list)

    def look(
        self,
        *missing: Missing,
        after: float = 1.0,
        at_rest: bool = True,
        unknown: Iterable[Part] = (),
        expected: tuple[str, ...] = ("aa", "bb"),
        cause: str = "",
    ) -> Changes:
        """A look, so many seconds after the one before."""
        self.now += after
        told = tuple(Unknown(part, "it", "hangs") for part in unknown)
        state = State.LOST if missing else State.OK
        verdict = Verdict(state, missing, unknown=told, all_container_ids=expected)
        why = other(cause) if cause else NO_CAUSE
        changes = self.incidents.looked(
            verdict, why, now=1e9 + self.now, at=self.now, at_rest=at_rest
        )
        self.began += changes.began
        self.ended += changes.ended
        self.rest += changes.rest
        return changes


def test_what_is_lost_together_is_one_incident() -> None:
    """A flush that takes rules and a source is told once, and ended once when all is back."""
    story = Story()
    story.look(RULE, SOURCE, cause="nft (pid 1)")
    story.look(SOURCE, OTHER, after=0.1, at_rest=False)
    story.look()
    (incident,) = story.began
    assert story.ended == [incident]
    assert incident.missing == [RULE.what, SOURCE.what, OTHER.what]
    assert incident.cause.text == "nft (pid 1)"
    assert incident.took_ms == 1100
    assert incident.verified


def test_a_loss_that_lasts_hides_no_later_one() -> None:
    """With a sysctl wrong for good, rules lost an hour later are an incident of their own."""
    story = Story()
    story.look(SYSCTL, cause="somebody")
    story.look(SYSCTL, RULE, after=3600.0, cause="nft (pid 2)")
    assert [each.missing for each in story.began] == [[SYSCTL.what], [RULE.what]]
    assert story.incidents.newest is story.began[1]
    story.look(SYSCTL)
    assert story.ended == [story.began[1]]
    assert story.ended[0].cause.text == "nft (pid 2)"
    assert story.incidents.going_on == (story.began[0],)


def test_what_came_back_is_ended_beside_what_did_not() -> None:
    """Of losses that were told together, what is healed is over once the rest has come to rest."""
    story = Story()
    story.look(SYSCTL, RULE, at_rest=False)
    assert story.look(SYSCTL, after=0.1, at_rest=False) == Changes()
    story.look(SYSCTL, after=0.1)
    (whole,) = story.began
    assert story.ended == [whole]
    assert whole.missing == [RULE.what]
    assert (whole.counts["rules"], whole.counts["sysctls"]) == (1, 0)
    assert [each.missing for each in story.rest] == [[SYSCTL.what]]
    assert story.rest[0].began != whole.began
    story.look()
    assert story.ended == [whole, story.rest[0]]


def test_what_is_lost_during_a_repair_has_the_cause_of_what_was_lost_before_it() -> None:
    """Who goes on meanwhile is not always heard; five seconds later it may be anybody."""
    story = Story()
    story.look(SYSCTL, cause="networkd")
    story.look(RULE, after=0.1)
    story.look(OTHER, after=STORM_S)
    story.look(SOURCE, after=0.1, cause="nft (pid 1)")
    assert [each.cause.text for each in story.began] == ["networkd", "networkd", "", "nft (pid 1)"]


def test_what_brought_back_the_one_is_not_told_of_the_other() -> None:
    """The rest, back later, was brought back by nobody's repair."""
    story = Story()
    story.look(SYSCTL, RULE, at_rest=False)
    story.incidents.acted(Outcome(Method.REPLAY, done=True, detail="1 rule"), took_s=0.002)
    story.look(SYSCTL, after=0.1)
    story.look(after=9.0)
    back, rest = story.ended
    assert (back.tried, rest.tried) == (["1 rule in 2 ms"], [])
    assert rest.line.endswith("how: by somebody else")


def test_what_a_reload_brings_to_light_is_a_part_of_it() -> None:
    """Rules that are missing after a reload that took long belong to the loss it was for."""
    story = Story()
    story.look(TABLE, at_rest=False)
    story.incidents.acted(Outcome(Method.RELOAD, done=True, detail="reload of 2"), took_s=60.0)
    story.look(RULE, after=60.0, at_rest=False)
    story.look()
    assert story.ended == story.began
    assert story.ended[0].tried == ["reload of 2 in 60 s"]


def test_who_writes_rules_set_no_sysctl() -> None:
    """A sysctl that is found wrong in a look at somebody's transaction is not put down to them."""
    nft = by_writer(Writer("nft", 7))
    for missing, told in (((SYSCTL,), ""), ((RULE,), str(nft)), ((SYSCTL, RULE), str(nft))):
        incidents = Incidents()
        verdict = Verdict(State.LOST, missing)
        (began,) = incidents.looked(verdict, nft, now=1.0, at=1.0, at_rest=True).began
        assert began.cause.text == told


def test_a_table_with_half_of_its_rules_is_not_restored() -> None:
    """Where some container was held back, the loss goes on until its rules are there, too."""
    story = Story()
    story.look(TABLE)
    story.look(OTHER, after=600.0)
    assert not story.ended
    assert len(story.began) == 1
    story.look(OTHER, SYSCTL, after=600.0)
    assert [each.missing for each in story.began] == [[TABLE.what, OTHER.what], [SYSCTL.what]]
    story.look(SYSCTL)
    assert story.ended == story.began[:1]


def test_while_the_table_is_gone_no_rule_is_back() -> None:
    """A rule that was missing before is so still, though it is not told by itself."""
    story = Story()
    story.look(RULE)
    story.look(TABLE, after=2 * STORM_S)
    assert not story.ended
    story.look()
    assert story.ended == story.began


def test_what_is_unknown_is_not_back() -> None:
    """An incident does not end while what it lost cannot be looked at; others do."""
    for part, loss in (
        (Part.SETUP, SYSCTL),
        (Part.RULES, RULE),
        (Part.FIREWALLD, SOURCE),
    ):
        story = Story()
        story.look(loss)
        story.look(unknown=[part])
        assert not story.ended
        story.look()
        assert story.ended == story.began
    story = Story()
    story.look(SYSCTL)
    story.look(unknown=[Part.RULES, Part.FIREWALLD, Part.CONTAINER])
    assert story.ended == story.began


def test_a_container_that_lost_its_state_is_not_restored() -> None:
    """What is not expected any more as its container is unknown is not called restored."""
    story = Story()
    story.look(RULE, OTHER)
    story.look(unknown=[Part.CONTAINER], expected=("bb",))
    assert [each.missing for each in story.ended] == [[OTHER.what]]
    assert [each.missing for each in story.incidents.going_on] == [[RULE.what]]


def test_what_nobody_needs_any_more_is_over() -> None:
    """The rule of a container that has gone, where nothing is unknown of any."""
    story = Story()
    story.look(RULE)
    story.look(expected=())
    assert story.ended == story.began


def test_a_means_is_told_with_what_it_was_for() -> None:
    """A replay is no part of the story of a sysctl."""
    story = Story()
    story.look(SYSCTL)
    story.look(SYSCTL, RULE, after=3600.0)
    story.incidents.acted(Outcome(Method.REPLAY, done=True, detail="put right"), took_s=0.001)
    story.incidents.acted(Outcome(Method.SYSCTLS, done=False, detail="refused"), took_s=0.001)
    assert [each.tried for each in story.began] == [["sysctls failed"], ["put right in 1 ms"]]


looks = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from(THINGS)),
        st.sampled_from([0.01, 1.0, STORM_S + 1, 3600.0]),
        st.booleans(),
        st.sampled_from([None, Method.REPLAY, Method.RELOAD]),
    ),
    max_size=30,
)


@given(looks)
def test_each_loss_is_told_once_and_ended_once(
    seen: list[tuple[frozenset[Missing], float, bool, Method | None]],
) -> None:
    """For any losses at any moments: each is in one incident while it lasts, and ends with it."""
    story = Story()
    for missing, after, at_rest, method in seen:
        ordered = [each for each in THINGS if each in missing]
        changes = story.look(*ordered, after=after, at_rest=at_rest)
        going_on = story.incidents.going_on
        for loss in ordered:
            assert sum(loss.what in each.missing for each in going_on) == 1
        for each in going_on:
            assert any(loss.what in each.missing for loss in ordered)
            assert not (
                at_rest and any(loss.what in each.missing for loss in set(THINGS) - missing)
            )
        for ended in changes.ended:
            assert not any(loss.what in ended.missing for loss in ordered)
            assert ended.verified
        if method is not None:
            story.incidents.acted(Outcome(method, done=True, detail="done"), took_s=0.0)
    story.look()
    assert not story.incidents.going_on
    told = story.began + story.rest
    assert sorted(map(id, told)) == sorted(map(id, story.ended))
    assert len({each.began for each in told}) == len(told)
