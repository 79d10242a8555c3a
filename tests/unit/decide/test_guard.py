# SPDX-License-Identifier: Apache-2.0
"""What the guard has to hold, by what looks have seen and what netavark's state says by now."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.guard import PATIENCE_S, Seen, alive_now, keeps_state, less, taken_in, wanted
from podwatch.drivers.guard import anchor
from podwatch.words.guard import GuardMode, Held
from podwatch.words.network import BadFile, Endpoint, FirewallDriver, PortMapping, Setup
from tests.unit.decide.one_network import HERE, NETWORK, STATE_DIR, endpoint

WEB = replace(endpoint("web"), port_mappings=(PortMapping(80, 80, "tcp"),))
DB = replace(endpoint("db"), port_mappings=(PortMapping(90, 90, "tcp"),))


def setup(*endpoints: Endpoint, **more: object) -> Setup:
    """netavark's state of these containers, each with a stamp."""
    stamps = {end.container_id: f"{end.container_id} 1" for end in endpoints}
    plain = Setup(
        FirewallDriver.NFTABLES,
        {NETWORK.id: NETWORK},
        endpoints,
        stamps=stamps,
        state_dir=STATE_DIR,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


BOTH = setup(WEB, DB)
SEEN = taken_in(Seen(), BOTH, BOTH, marks=False)


def held_by(now: Setup | None, before: Held | None = None, **more: object) -> set[str]:
    """Whose ports a full guard holds."""
    want = wanted(GuardMode.FULL, SEEN, now, before, **more)  # type: ignore[arg-type]
    assert want.held is not None
    return {way.container_id for way in want.held.forwards.values()}


def full() -> Held:
    """A guard that holds both containers' ports."""
    held = wanted(GuardMode.FULL, SEEN, BOTH, None).held
    assert held is not None
    return held


@pytest.mark.parametrize(
    ("mode", "against", "why"),
    [
        (GuardMode.OFF, "", "switched off (restore.guard)"),
        (GuardMode.ANCHOR, "paused", "paused"),
        (GuardMode.FULL, "paused", "paused"),
        (GuardMode.OFF, "paused", "paused"),
    ],
)
def test_there_is_none_against_the_administrator_s_will(
    mode: GuardMode, against: str, why: str
) -> None:
    """Neither switched off nor in a pause, and the reason is told."""
    want = wanted(mode, SEEN, BOTH, full(), against=against)
    assert (want.held, want.why) == (None, why)


def test_there_is_none_before_a_look_has_seen_a_container() -> None:
    """A host without containers has no table of podwatch's, nor has one whose driver is none."""
    assert wanted(GuardMode.ANCHOR, Seen(), None, None).why == "waits for the first look"
    empty = taken_in(Seen(), setup(), setup(), marks=False)
    assert wanted(GuardMode.ANCHOR, empty, None, None).why == (
        "no container needs rules on this host"
    )
    none = setup(WEB, driver=FirewallDriver.NONE)
    seen = taken_in(Seen(), none, none, marks=False)
    assert wanted(GuardMode.FULL, seen, none, None).held is None


def test_an_anchor_stays_when_the_last_container_has_stopped() -> None:
    """The next one may start in the next moment."""
    seen = taken_in(SEEN, setup(), setup(), marks=False)
    assert wanted(GuardMode.ANCHOR, seen, None, None).held == anchor()


def test_a_full_guard_holds_what_is_expected() -> None:
    """By netavark's state as it is now, whatever the last look saw."""
    assert held_by(BOTH) == {"web", "db"}
    assert held_by(setup(DB), full()) == {"db"}


@pytest.mark.parametrize("driver", [FirewallDriver.FIREWALLD, FirewallDriver.CNI])
def test_drivers_whose_rules_are_others_have_an_anchor(driver: FirewallDriver) -> None:
    """What firewalld or CNI does the guard does not know how to do, and it says so."""
    want = wanted(GuardMode.FULL, SEEN, setup(WEB, driver=driver), None)
    assert (want.held, want.why) == (anchor(), f"with the driver {driver} it is an anchor only")


def test_what_is_not_known_is_held_for_half_a_minute() -> None:
    """Then every port is let go, and the anchor stays."""
    assert held_by(None, full(), unknown_s=PATIENCE_S - 1) == {"web", "db"}
    want = wanted(GuardMode.FULL, SEEN, None, full(), unknown_s=PATIENCE_S)
    assert (want.held, want.why) == (anchor(), "who runs is not known: it holds no port")
    assert wanted(GuardMode.FULL, SEEN, None, None).held == anchor()


def test_without_netavark_s_state_no_port_is_held() -> None:
    """At once: what it no longer has may be gone."""
    want = wanted(GuardMode.FULL, SEEN, setup(driver=FirewallDriver.UNKNOWN), full())
    assert (want.held, want.why) == (anchor(), "netavark's state is gone: it holds no port")


def test_a_file_that_cannot_be_read_keeps_its_container_s_ports() -> None:
    """For half a minute, and nobody else's longer than they are expected."""
    now = setup(bad_files=(BadFile("ports/x", "not JSON", container_id="web"),))
    assert held_by(now, full(), unknown_s=1.0) == {"web"}
    assert held_by(now, full(), unknown_s=PATIENCE_S) == set()
    assert held_by(now) == set()
    want = wanted(GuardMode.FULL, SEEN, now, full())
    assert want.why == "1 state file cannot be read"


def test_who_is_known_to_be_dead_is_left_out_until_his_state_is_written_anew() -> None:
    """A container that died without teardown leaves its state behind."""
    seen = taken_in(Seen(), BOTH, setup(DB), marks=False)
    assert alive_now(seen, BOTH, None) == replace(BOTH, endpoints=(DB,))
    again = replace(BOTH, stamps={**BOTH.stamps, "web": "web 2"})
    assert alive_now(seen, again, None) == again


def test_a_look_that_knows_nothing_changes_nothing() -> None:
    """What was seen before counts until another look knows."""
    assert taken_in(SEEN, None, None, marks=True) is SEEN
    assert taken_in(SEEN, BOTH, None, marks=True) is SEEN
    assert not taken_in(SEEN, BOTH, BOTH, marks=False).marks
    assert taken_in(SEEN, BOTH, BOTH, marks=True).marks


def test_whose_process_has_ended_is_left_out() -> None:
    """Its network is taken down in a moment, or never."""
    assert less(BOTH, {"web"}) == replace(BOTH, endpoints=(DB,))
    assert less(BOTH, ()) is BOTH


def test_netavark_s_state_counts_as_soon_as_it_is_there() -> None:
    """The first container of a host is held before any look has seen it."""
    empty = taken_in(
        Seen(), Setup(FirewallDriver.UNKNOWN), Setup(FirewallDriver.UNKNOWN), marks=False
    )
    assert not keeps_state(empty, Setup(FirewallDriver.UNKNOWN))
    assert keeps_state(empty, BOTH)
    assert keeps_state(SEEN, Setup(FirewallDriver.UNKNOWN))
    want = wanted(GuardMode.FULL, empty, alive_now(empty, BOTH, None), None)
    assert want.held == full()
    assert wanted(GuardMode.FULL, empty, None, None).held is None


def test_where_the_state_is_not_known_nobody_is() -> None:
    """The state decides where netavark keeps any."""
    assert alive_now(SEEN, None, {"podman": {"web": (HERE,)}}) is None


def test_without_state_podman_s_addresses_decide() -> None:
    """Who holds his address no more has gone, though podman was not asked yet."""
    by_podman = replace(BOTH, state_dir="")
    seen = taken_in(Seen(), by_podman, by_podman, marks=False)
    assert alive_now(seen, None, {"podman": {"web": (HERE,)}}) == replace(
        by_podman, endpoints=(WEB,)
    )
    other = {"podman": {"web": (ip_address("10.88.0.9"),)}}
    assert alive_now(seen, None, other) == replace(by_podman, endpoints=())
    assert alive_now(seen, None, None) == by_podman
    assert alive_now(Seen(), None, {}) is None


def test_it_stands_back_where_somebody_lets_packets_past_netavark_s_rules() -> None:
    """It would translate what is not to be translated: it is an anchor, and says why."""
    rule = "chain POSTROUTING: “accept” stands before netavark's rules"
    seen = taken_in(Seen(), BOTH, BOTH, marks=False, exempt=rule)
    want = wanted(GuardMode.FULL, seen, BOTH, full())
    assert (want.held, want.why) == (anchor(), f"an anchor only, as {rule}")


def test_without_any_container_it_is_an_anchor() -> None:
    """There is nothing to forward, and what others mark is none of its business."""
    assert wanted(GuardMode.FULL, SEEN, setup(), full()).held == anchor()
