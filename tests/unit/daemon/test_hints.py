# SPDX-License-Identifier: Apache-2.0
"""Hints: what each watcher's word becomes, who is to blame, and what is no news."""

import asyncio

import pytest

from podwatch.adapters.links_watch import LinkChange
from podwatch.adapters.netlink import Change
from podwatch.daemon.hints import Heard, Hints
from podwatch.words.cause import NO_CAUSE, WHILE_ABSENT, CauseKind, Process, Writer
from podwatch.words.firewalld_event import FirewalldEvent
from podwatch.words.snapshot import Part

OURS, FIREWALLD, OTHERS = "inet netavark", "inet firewalld", "inet site"
NFT = Writer("nft", 7)
NOW = 100.0


def change(*tables: str, deletes: bool = False, writer: Writer = NFT) -> Change:
    """A transaction on these tables, of which it deletes something or not."""
    return Change(1, writer, frozenset(tables), frozenset(tables if deletes else ()))


@pytest.fixture
def hints() -> Hints:
    """Hints of networks whose rules are in one table, with nobody to blame yet, at one moment."""
    found = Hints("podwatch", lambda: NOW)
    found.follow(frozenset({OURS}))
    found.cause = NO_CAUSE
    return found


def test_at_first_podwatch_was_absent_and_any_driver_s_table_counts() -> None:
    """What the first look finds happened before it; the driver is not known yet."""
    hints = Hints()
    assert hints.cause is WHILE_ABSENT
    for table in (OURS, "ip nat", "ip6 filter"):
        hints.on_change(change(table))
    assert hints.transactions == 3


@pytest.mark.parametrize(
    ("said", "heard", "urgent"),
    [
        (change(OURS), Heard(changed_at=NOW, rules_at=NOW), False),
        (change(OURS, deletes=True), Heard(changed_at=NOW, rules_at=NOW), True),
        (change(FIREWALLD), Heard(), True),
        (change("inet firewalld_policy_drop"), Heard(), True),
        (change(OTHERS, OURS), Heard(NOW, NOW, others_at=NOW), False),
    ],
)
def test_a_transaction_on_the_networks_rules_or_firewalld_s_wants_a_look(
    hints: Hints, said: Change, heard: Heard, *, urgent: bool
) -> None:
    """Somebody is at it where the networks' rules changed; a deletion cannot wait."""
    hints.on_change(said)
    assert (hints.wants_look, hints.urgent) == (True, urgent)
    assert hints.transactions == (OURS in said.tables)
    assert hints.cause.writer == NFT
    assert hints.take() == heard
    assert hints.take() == Heard()


def test_a_transaction_on_the_rules_of_others_wants_none_yet(hints: Hints) -> None:
    """The loop is told of it, and of each table of which something was deleted."""
    hints.on_change(change(OTHERS, deletes=True))
    hints.on_change(change("ip x", deletes=True))
    hints.on_change(change("ip y"))
    assert (hints.wants_look, hints.cause, hints.transactions) == (False, NO_CAUSE, 0)
    assert hints.take() == Heard(others_at=NOW, deleted=frozenset({OTHERS, "ip x"}))


def test_lost_messages_may_have_been_of_anything(hints: Hints) -> None:
    """The rules read meanwhile are not of one moment, and those of others may have changed."""
    hints.on_overrun()
    assert (hints.wants_look, hints.urgent, hints.transactions) == (True, True, 1)
    assert hints.cause.text == "more changes than could be followed"
    assert hints.take() == Heard(others_at=NOW)


def test_what_is_permanent_is_looked_at_by_nobody(hints: Hints) -> None:
    """It is read again, and nothing is lost by it."""
    hints.on_firewalld(FirewalldEvent.PERMANENT)
    assert not hints.wants_look
    assert hints.take() == Heard(permanent=True)


@pytest.mark.parametrize("event", sorted(set(FirewalldEvent) - {FirewalldEvent.PERMANENT}))
def test_a_look_for_firewalld_has_to_hear_it(hints: Hints, event: FirewalldEvent) -> None:
    """And only the look after it; where firewalld was loaded anew netavark's units are at work."""
    restarts = event in (FirewalldEvent.RELOADED, FirewalldEvent.STARTED)
    hints.on_firewalld(event)
    assert (hints.wants_look, hints.urgent, hints.cause.text) == (True, True, str(event))
    assert hints.take() == (Heard(changed_at=NOW, restarted_at=NOW) if restarts else Heard())
    assert hints.begin_look()
    assert (hints.wants_look, hints.urgent) == (False, False)
    assert not hints.begin_look()


def test_the_other_watchers_words(hints: Hints) -> None:
    """A sysctl can be to blame; why a look was taken by podwatch itself is nobody's doing."""
    hints.on_runtime()
    assert not hints.wants_look
    assert hints.take() == Heard(runtime=True)
    for ring, urgent, short, kind in (
        (hints.on_census, False, "podman's containers were listed", CauseKind.UNKNOWN),
        (hints.on_late_answer, True, "an answer came late", CauseKind.UNKNOWN),
        (hints.on_sysctl, True, "a sysctl was set", CauseKind.OTHER),
    ):
        hints.cause = NO_CAUSE
        hints.begin_look()
        ring()
        assert (hints.wants_look, hints.urgent) == (True, urgent)
        assert (hints.cause.short, hints.cause.kind) == (short, kind)
        assert hints.take() == Heard()
    hints.on_surroundings()
    assert hints.cause.short == "a sysctl was set"
    assert hints.take() == Heard(changed_at=NOW)


def test_who_is_to_blame(hints: Hints) -> None:
    """The first who may be, until somebody deletes something; what is weak yields to any."""
    hints.look_now("the configuration changed")
    assert not hints.cause
    hints.on_sysctl()
    hints.on_change(change(OURS, writer=Writer("first", 1)))
    assert hints.cause.short == "first (pid 1)"
    hints.on_change(change(OURS, writer=Writer("second", 2)))
    hints.look_now("the configuration changed")
    hints.on_firewalld(FirewalldEvent.SOURCES)
    assert hints.cause.short == "first (pid 1)"
    hints.on_change(change(OURS, deletes=True, writer=Writer("third", 3)))
    assert hints.cause.short == "third (pid 3)"
    hints.on_change(change(FIREWALLD, deletes=True))
    assert hints.cause.short == "third (pid 3)"
    hints.on_firewalld(FirewalldEvent.RELOADED)
    assert hints.cause.text == "firewalld reloaded"


def test_urgent_stays_urgent(hints: Hints) -> None:
    """What can wait makes nothing wait that cannot."""
    hints.on_sysctl()
    hints.on_census()
    assert hints.urgent


def test_a_repair_of_one_s_own_is_no_news(hints: Hints) -> None:
    """Its transactions are counted; who else changed the networks' rules is remembered apart."""
    with hints.repairing({"iptables"}):
        for name in ("podwatch", "iptables"):
            hints.on_change(change(OURS, deletes=True, writer=Writer(name, 1)))
        assert hints.meanwhile is NO_CAUSE
        hints.on_change(change(FIREWALLD))
        assert hints.meanwhile is NO_CAUSE
        hints.on_change(change(OURS))
        hints.on_change(change(OTHERS))
    assert hints.meanwhile.writer == NFT
    assert (hints.transactions, hints.wants_look, hints.cause) == (3, False, NO_CAUSE)
    assert hints.take() == Heard(others_at=NOW)

    with pytest.raises(KeyError), hints.repairing(()):
        raise KeyError
    assert hints.meanwhile is NO_CAUSE
    hints.on_change(change(OURS, writer=Writer("podwatch", 1)))
    assert hints.wants_look


def test_the_loop_waits_until_somebody_rings() -> None:
    """For so long at most; and anew once it has taken what was said."""

    async def body() -> None:
        hints = Hints()
        await asyncio.wait_for(hints.rung(0.001), 10)
        assert not hints.wants_look
        for ring in (hints.on_runtime, hints.want_look, hints.on_overrun):
            waiting = asyncio.ensure_future(hints.rung(3600.0))
            await asyncio.sleep(0)
            assert not waiting.done()
            ring()
            await asyncio.wait_for(waiting, 10)
            hints.take()

    asyncio.run(body())


def test_a_change_of_a_link_is_a_cause_of_its_own(hints: Hints) -> None:
    """The first change is to blame, whatever was heard before; those that follow from it are not.

    What podwatch changes itself is no news.
    """
    hints.on_change(change(OURS))
    asker = Writer("ip", 7, Process("ip", 7, session="4"))
    hints.on_link("podman1 was set down", None)
    hints.on_link("an address of podman1 was deleted", asker)
    assert (hints.cause.kind, hints.cause.text) == (CauseKind.LINK, "podman1 was set down")
    assert (hints.wants_look, hints.urgent) == (True, True)
    hints.on_link("podman1 was deleted", None, LinkChange.GONE)
    assert hints.cause.text == "podman1 was deleted", "the rest went with it"
    fresh = Hints("podwatch", lambda: NOW)
    with fresh.repairing(()):
        fresh.on_link("podman1 was set up", None)
    assert not fresh.wants_look
    fresh.cause = NO_CAUSE
    fresh.on_link("podman1 was set down", asker)
    assert fresh.cause.text == "podman1 was set down, by ip (pid 7), session 4"
    assert fresh.cause.label == "link"


def test_of_an_address_that_nobody_is_named_for_the_one_who_is_named_beside_it_is_to_blame(
    hints: Hints,
) -> None:
    """The kernel names who deletes an IPv4 address, and nobody who deletes one of IPv6."""
    asker = Writer("systemd-network", 7, Process("systemd-network", 7, unit="systemd-networkd"))
    for _ in range(2):
        hints.on_link("an address of podman1 was deleted", None, LinkChange.LOST)
    assert hints.cause.text == "an address of podman1 was deleted"
    hints.on_link("veth0 was set down", asker)
    assert hints.cause.text == "an address of podman1 was deleted", "that is something else"
    hints.on_link("an address of podman2 was deleted", asker, LinkChange.LOST)
    told = "an address of podman2 was deleted, by systemd-network (pid 7), unit systemd-networkd"
    assert hints.cause.text == told
    hints.on_link("an address of podman3 was deleted", NFT, LinkChange.LOST)
    hints.on_link("an address of podman1 was deleted", None, LinkChange.LOST)
    assert hints.cause.text == told, "the first who is named"
    hints.on_link("podman1 was deleted", None, LinkChange.GONE)
    hints.on_link("an address of podman3 was deleted", NFT, LinkChange.LOST)
    assert hints.cause.text == "podman1 was deleted"


def test_by_an_address_that_comes_nothing_is_lost(hints: Hints) -> None:
    """It is looked at, as it may have been missing; another cause stays."""
    hints.on_link("an address of podman1 was added", NFT, LinkChange.CAME)
    assert (bool(hints.cause), hints.cause.short) == (False, "an address of podman1 was added")
    assert (hints.wants_look, hints.urgent, hints.take_glance()) == (True, True, {Part.LINKS})
    hints.on_change(change(OURS))
    hints.on_link("an address of podman1 was added", NFT, LinkChange.CAME)
    assert hints.cause.writer == NFT


@pytest.mark.parametrize(
    ("name", "may_be_podmans"),
    [("", True), ("netavark", True), ("podman", True), ("podwatch", True), ("ip", False)],
)
def test_what_somebody_else_did_to_a_link_is_not_podmans_own_doing(
    hints: Hints, name: str, *, may_be_podmans: bool
) -> None:
    """So the look after it asks everybody anew; of podman's own nobody has to be asked again."""
    hints.on_link("podman1 was set down", Writer(name, 7) if name else None)
    assert hints.wants_look
    assert hints.can_wait is may_be_podmans


def test_the_end_of_the_name_server_is_a_cause_of_its_own(hints: Hints) -> None:
    """Whoever changed rules before has nothing to do with it; a link that was set down may have."""
    hints.on_change(change(OURS))
    hints.on_names("aardvark-dns (7) ended")
    assert hints.cause.text == "aardvark-dns (7) ended"
    assert (hints.wants_look, hints.urgent, hints.take().changed_at) == (True, True, NOW)
    hints.on_link("podman1 was set down", None)
    hints.on_names("aardvark-dns (8) ended")
    assert hints.cause.text == "podman1 was set down"


def test_links_and_names_are_glanced_at_once(hints: Hints) -> None:
    """Until that was asked for, or a look has begun that sees all of it."""
    assert not hints.take_glance()
    hints.on_names("aardvark-dns (7) ended")
    assert hints.take_glance() == {Part.NAMES}
    assert not hints.take_glance()
    hints.on_link("podman1 was set down", None)
    assert hints.take_glance() == {Part.LINKS}
    hints.on_link("podman1 was set down", None)
    hints.begin_look()
    assert not hints.take_glance()


def test_lost_messages_about_links_want_a_look(hints: Hints) -> None:
    """Anything may have changed."""
    hints.on_links_overrun()
    assert (hints.wants_look, hints.urgent) == (True, True)


def test_who_changes_links_during_a_repair_is_heard(hints: Hints) -> None:
    """Only podwatch itself, and podman that it has reload containers, is no news then."""
    for name, is_news in (("NetworkManager", True), ("podwatch", False), ("netavark", False)):
        hints.begin_look()
        hints.cause = NO_CAUSE
        with hints.repairing(()):
            hints.on_link("podman1 was set down", Writer(name, 7))
        assert (hints.wants_look, bool(hints.cause)) == (is_news, is_news)


def test_the_guard_s_own_transactions_are_no_news(hints: Hints) -> None:
    """By whom they are from: a table that is only called so may shut the networks out."""
    guard = "inet podwatch-guard-1a2b"
    for name in ("podwatch", "podwatch-guard"):
        hints.on_change(change(guard, deletes=True, writer=Writer(name, 8)))
    assert (hints.wants_look, hints.take()) == (False, Heard())
    hints.on_change(change(guard))
    assert hints.take() == Heard(others_at=NOW)
    hints.on_change(change(guard, OURS, writer=Writer("podwatch", 8)))
    assert hints.wants_look


def test_what_becomes_of_a_users_namespace_wants_a_look(hints: Hints) -> None:
    """At once, as what a repair depends on is another; podman may be the one who did it."""
    hints.on_netns("the user's network namespace came")
    assert (hints.wants_look, hints.urgent, hints.can_wait) == (True, True, False)
    assert hints.take().changed_at == NOW
    assert hints.cause.short == "the user's network namespace came"


def test_a_namespace_that_lost_its_file_hides_no_cause(hints: Hints) -> None:
    """Who deleted the rules just now is to blame for what is lost next."""
    hints.on_change(change(OURS, deletes=True))
    hints.on_netns("the user's network namespace lost its file")
    assert hints.cause.writer == NFT


def test_the_end_of_a_relay_is_the_cause_of_what_is_lost(hints: Hints) -> None:
    """But for a link that went first, and took it along."""
    hints.on_change(change(OURS, deletes=True))
    hints.on_relay("pasta (pid 7) of web ended")
    assert (hints.urgent, hints.take().changed_at) == (True, NOW)
    assert hints.cause.short == "pasta (pid 7) of web ended"
    hints.cause = NO_CAUSE
    hints.on_link("podman1 was deleted", None, LinkChange.GONE)
    hints.on_relay("pasta (pid 7) of web ended")
    assert hints.cause.kind is CauseKind.LINK
