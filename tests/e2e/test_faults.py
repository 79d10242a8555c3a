# SPDX-License-Identifier: Apache-2.0
"""Every fault is healed, seen from outside; by the saved copy, and by the reload command alone."""

import statistics
import time

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed
from tests.lab.faults import ALL, Fault
from tests.lab.host import FIREWALLD_RELOAD

pytestmark = pytest.mark.e2e

PARTIAL = (
    "nft flush chain inet netavark FORWARD",
    "nft flush table inet netavark",
    "nft delete table inet netavark",
    "one rule deleted",
)


@pytest.mark.parametrize("fault", ALL, ids=str)
def test_every_fault_is_healed(there: Installed, fault: Fault) -> None:
    """After any fault every way is open, and all that podwatch tells says so."""
    fault.strike(there.host)

    agree(there, is_open=True)


def test_a_trusted_source_is_back_soon(there: Installed) -> None:
    """After firewalld's reload the sources are back in less time than the reload itself took."""
    took, reloads = [], []
    there.host.run(["systemctl", "stop", FIREWALLD_RELOAD])  # which would do it too
    for _ in range(3):
        before = there.incidents()
        began = time.time()
        there.host.run(["firewall-cmd", "--reload"])
        reloaded = time.time()
        there.until(lambda: there.incidents() > before, "noticed", 5)  # noqa: B023 (waited for)
        there.until_whole(8)
        incident = there.status()["last_incident"]
        assert "sources" in incident["methods"]
        reloads.append(reloaded - began)
        took.append(incident["restored_at"] - reloaded)
    there.host.run(["systemctl", "start", FIREWALLD_RELOAD])
    there.until_whole(8)

    assert statistics.median(took) < statistics.median(reloads), (took, reloads)


def test_no_container_was_touched(there: Installed) -> None:
    """The saved copy heals all of it: no network was reloaded."""
    assert there.reloads() == 0


@pytest.mark.parametrize("fault", [fault for fault in ALL if fault.name in PARTIAL], ids=str)
def test_the_reload_command_alone_heals_too(there: Installed, fault: Fault) -> None:
    """Partial losses that `podman network reload --all` leaves are repaired by escalation."""
    with there.configured('[restore]\nmethods = ["reload"]\nbackoff = "200ms"\n'):
        before = there.reloads()
        fault.strike(there.host)
        there.until_whole(12)

    assert there.reloads() > before


def test_an_incident_says_what_who_and_how(there: Installed) -> None:
    """The journal's account names the loss, its cause and the means, and is found by its id."""
    cursor = there.host.journal_cursor()
    there.host.run(["nft", "delete", "table", "inet", "netavark"])
    there.until_whole(8)

    entries = there.host.journal_json("podwatch", since_cursor=cursor)
    told = [str(entry["MESSAGE"]) for entry in entries if entry.get("PODWATCH_HOW")]

    assert any("table inet netavark is gone" in remark for remark in told)
    assert any("cause: nft (pid" in remark for remark in told)
    assert all(entry.get("MESSAGE_ID") for entry in entries if "PODWATCH_HOW" in entry)
