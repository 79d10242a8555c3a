# SPDX-License-Identifier: Apache-2.0
"""What is reported of DHCP: each thing once, and the section of the status document."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from podwatch.decide.dhcp import DhcpDecision, DhcpVerdict
from podwatch.report.dhcp import DhcpReport, section
from podwatch.report.events import Event
from podwatch.report.status import SHAPE
from podwatch.words.dhcp import Backend, DhcpSnapshot, Fault, Holder, Lease, Unit
from podwatch.words.errors import PodwatchError
from podwatch.words.verdict import State

WEB = Holder("a" * 64, "web", "lan", "02:00:00:00:00:01", "192.0.2.7")
SEEN = DhcpSnapshot(
    Backend.NETAVARK,
    ("lan",),
    Unit("loaded", "active", "enabled", "success"),
    Unit("loaded", "active", "enabled", pid=7, started=100.0),
    path_exists=True,
    listening=True,
    leases={WEB.mac: Lease("192.0.2.70", 120, 60)},
    holders=(WEB,),
    leased_at={WEB.mac: 1000.0},
)
AWAY = replace(SEEN, listening=False)
WELL = DhcpVerdict(State.OK, "the socket listens")
DOWN = DhcpVerdict(State.LOST, "the socket is inactive", "journalctl", Fault.NOT_SERVING)
NO_NETWORK = DhcpVerdict(None)


def lost(*holders: Holder) -> DhcpVerdict:
    """The proxy does not know the leases of these."""
    return DhcpVerdict(State.LOST, f"{len(holders)} lost", fault=Fault.LEASES, lost=holders)


class Stage:
    """A report, and all that became of it."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = entries
        self.sections: list[dict[str, Any]] = []
        self.complaints: list[PodwatchError] = []
        self.report = DhcpReport(self)

    def took_dhcp(self, section: dict[str, Any]) -> None:
        """The status document's section."""
        self.sections.append(section)

    def complain(self, error: PodwatchError) -> None:
        """What podwatch goes without."""
        self.complaints.append(error)

    @property
    def logged(self) -> list[tuple[Event, str]]:
        """What was logged since it was last asked."""
        kinds = {event.value.message_id: event for event in Event}
        logged = [(kinds[entry["message_id"]], entry["event"]) for entry in self._entries]
        self._entries.clear()
        return logged


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A report whose journal is a list."""
    with capture_logs() as entries:
        yield Stage(entries)


def test_what_is_wrong_is_logged_once_and_so_is_its_end(stage: Stage) -> None:
    """Looks that find the same say nothing more; another fault and its end are news."""
    stage.report.judged(AWAY, DOWN)
    stage.report.judged(AWAY, DOWN)
    assert stage.logged == [(Event.DHCP_DOWN, "the socket is inactive")]

    stage.report.judged(AWAY, replace(DOWN, what="the socket has failed"))
    assert stage.logged == [(Event.DHCP_DOWN, "the socket has failed")]

    stage.report.judged(SEEN, WELL)
    stage.report.judged(SEEN, WELL)
    assert stage.logged == [(Event.DHCP_WELL, "the socket listens")]


def test_what_was_well_at_first_is_not_logged(stage: Stage) -> None:
    """Nor is it news that no network wants DHCP, or that none does any more."""
    stage.report.judged(SEEN, WELL)
    stage.report.judged(SEEN, NO_NETWORK)
    stage.report.judged(AWAY, DOWN)
    stage.logged.clear()
    stage.report.judged(AWAY, NO_NETWORK)

    assert stage.logged == []


@pytest.mark.parametrize(
    ("fault", "event"),
    [
        (Fault.UNREADABLE, Event.UNKNOWN),
        (Fault.MISSING, Event.DHCP_BLOCKED),
        (Fault.MASKED, Event.DHCP_BLOCKED),
        (Fault.NOT_SERVING, Event.DHCP_DOWN),
        (Fault.NOT_ENABLED, Event.DHCP_DOWN),
        (Fault.LEASES, Event.DHCP_LEASES_LOST),
    ],
)
def test_each_fault_has_its_kind_of_event(stage: Stage, fault: Fault, event: Event) -> None:
    """So that a program can tell them apart by MESSAGE_ID."""
    stage.report.judged(AWAY, replace(DOWN, fault=fault))

    assert stage.logged == [(event, "the socket is inactive")]


def test_the_advice_is_a_field() -> None:
    """A terminal shows it behind the sentence, the journal as PODWATCH_ADVICE."""
    with capture_logs() as entries:
        Stage([]).report.judged(AWAY, DOWN)

    assert entries[0]["advice"] == "journalctl"


def test_each_lost_lease_is_logged_once(stage: Stage) -> None:
    """Fewer of them are no news; one that was not among them is."""
    other = replace(WEB, container_id="b" * 64)
    stage.report.judged(SEEN, lost(WEB, other))
    stage.report.judged(SEEN, lost(WEB))
    assert stage.logged == [(Event.DHCP_LEASES_LOST, "2 lost")]

    stage.report.judged(SEEN, lost(WEB, other))
    assert stage.logged == [(Event.DHCP_LEASES_LOST, "2 lost")]


def test_leases_lost_behind_another_fault_are_no_news_of_their_own(stage: Stage) -> None:
    """While the socket is away, who has lost a lease by it is not told."""
    stage.report.judged(AWAY, replace(DOWN, lost=(WEB,)))
    stage.logged.clear()
    stage.report.judged(AWAY, replace(DOWN, lost=(WEB, replace(WEB, container_id="b"))))

    assert stage.logged == []


def test_what_podwatch_did_to_the_socket_is_said_when_it_serves(stage: Stage) -> None:
    """Once, and in the place of the sentence that all is well."""
    stage.report.judged(AWAY, DOWN)
    stage.report.served(["enabled", "started"])
    stage.report.judged(AWAY, DOWN)
    stage.report.judged(SEEN, WELL)
    stage.report.judged(SEEN, WELL)

    assert stage.logged[1:] == [
        (
            Event.DHCP_WELL,
            "netavark-dhcp-proxy.socket listens: podwatch has enabled and started it",
        )
    ]


def test_a_socket_that_could_not_be_started_is_logged_with_its_hint(stage: Stage) -> None:
    """Nothing was done then, and nothing is said of it later."""
    stage.report.served([], PodwatchError("no", hint="systemctl status"))
    stage.report.served([], PodwatchError("no"))
    stage.report.judged(SEEN, WELL)

    failed = Event.DHCP_FAILED
    assert stage.logged == [(failed, "no; systemctl status"), (failed, "no")]


def test_a_renewal_is_logged_with_its_time_or_its_reason(stage: Stage) -> None:
    """An address that is not known is called one."""
    stage.report.renewed(WEB, 0.2, "")
    stage.report.renewed(replace(WEB, address=""), 1.5, "")
    stage.report.renewed(WEB, 8.0, "unable to obtain lease")

    what = "web, network lan"
    assert stage.logged == [
        (Event.DHCP_RENEWED, f"{what}: the lease of 192.0.2.7 renewed in 200 ms"),
        (Event.DHCP_RENEWED, f"{what}: the lease of an address renewed in 1.5 s"),
        (Event.DHCP_FAILED, f"{what}: its lease was not renewed: unable to obtain lease"),
    ]


def test_the_document_has_the_section_and_complaints_go_through(stage: Stage) -> None:
    """While DHCP is not podwatch's to manage, the section is empty."""
    stage.report.unmanaged()
    stage.report.decided(AWAY, DOWN, DhcpDecision(None, "paused"))
    error = PodwatchError("not noticed")
    stage.report.complain(error)

    assert stage.sections[0] == {}
    assert stage.sections[1]["next_try"] == "paused"
    assert stage.complaints == [error]


def test_the_section_has_the_documented_shape() -> None:
    """Each name of it, and of a container in it, is in the schema, and none more."""
    shown = section(SEEN, WELL, "", 0.0)
    shape: dict[str, Any] = SHAPE["dhcp"]

    assert shown.keys() == shape.keys()
    assert shown["containers"][0].keys() == shape["containers"][0].keys()
    assert shown["socket"].keys() == shape["socket"].keys()
    assert shown["proxy"].keys() == shape["proxy"].keys()
    assert section(SEEN, NO_NETWORK, "", 0.0) == {"state": ""}


def test_the_section_says_what_was_seen() -> None:
    """Socket, proxy, lease and its times; what is waited for only while something is wrong."""
    shown = section(SEEN, WELL, "pausing", 1030.0)

    assert (shown["state"], shown["summary"], shown["next_try"]) == ("ok", WELL.what, "")
    assert shown["socket"] == {
        "unit": "netavark-dhcp-proxy.socket",
        "path": "/run/podman/nv-proxy.sock",
        "path_exists": True,
        "listening": True,
        "load": "loaded",
        "active": "active",
        "file": "enabled",
        "result": "success",
    }
    assert shown["proxy"] == {
        "unit": "netavark-dhcp-proxy.service",
        "active": "active",
        "pid": 7,
        "started": 100.0,
    }
    (container,) = shown["containers"]
    assert (container["address"], container["known"]) == ("192.0.2.70", True)
    assert (container["leased"], container["lease_s"], container["renew_s"]) == (1000.0, 120, 60)
    assert section(SEEN, DOWN, "pausing", 0.0)["next_try"] == "pausing"


@pytest.mark.parametrize(
    ("now", "renews_at"),
    [(1000.0, 1060.0), (1060.0, 1060.0), (1061.0, 1120.0), (1190.0, 1240.0)],
)
def test_each_renewal_starts_the_time_anew(now: float, renews_at: float) -> None:
    """The next one is the first multiple of the time that is not past."""
    assert section(SEEN, WELL, "", now)["containers"][0]["renews_at"] == renews_at


def test_without_a_lease_the_holder_speaks_for_itself() -> None:
    """CNI's daemon writes no leases: their times are not known, but when they were had."""
    cni = replace(
        SEEN, backend=Backend.CNI, leases={}, holders=(replace(WEB, leased=50.0, paused=True),)
    )
    (container,) = section(cni, WELL, "", 0.0)["containers"]

    assert (container["address"], container["leased"]) == (WEB.address, 50.0)
    assert (container["lease_s"], container["renew_s"], container["renews_at"]) == (0, 0, 0.0)
    assert (container["known"], container["paused"]) == (False, True)
    for_good = replace(SEEN, leases={WEB.mac: Lease("192.0.2.70", 120, 0)})
    assert section(for_good, WELL, "", 9.0)["containers"][0]["renews_at"] == 0.0
    assert section(replace(SEEN, holders=None), WELL, "", 9.0)["containers"] == []
    unseen = replace(SEEN, leased_at={})
    assert section(unseen, WELL, "", 9.0)["containers"][0]["renews_at"] == 0.0
