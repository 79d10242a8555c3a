# SPDX-License-Identifier: Apache-2.0
"""What a reload of firewalld costs, what ends that, and the permanent sources podwatch keeps."""

import json
import time
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import SUITES
from tests.e2e.installed import CONFIG, Installed
from tests.lab.containers import web
from tests.lab.host import FIREWALLD_RELOAD

pytestmark = pytest.mark.e2e

of_each_firewalld = pytest.mark.parametrize("there", ["bookworm", *SUITES], indirect=True)
"""1.3.3, 2.3.1 and 2.5.2."""

KEEP = "[firewalld]\npermanent = true\n"
APP = "10.77.0.0/24"
DEFAULT = "10.88.0.0/16"
ISOLATED = "10.89.20.0/24"
TRIES = 4
"""On a busy machine a connection is lost now and then through no fault of firewalld's."""


@pytest.fixture(autouse=True)
def without_netavarks_unit(there: Installed) -> None:
    """What is lost is lost by firewalld: netavark's own unit does not add rules meanwhile."""
    there.host.run(["systemctl", "stop", FIREWALLD_RELOAD], check=False)


def _lost_by_a_reload(there: Installed) -> tuple[int, int]:
    """New connections without an answer, in and out, while firewalld reloads.

    In: of the port that lost fewest. firewalld drops those of all ports alike; a server that does
    not get its turn, on a busy machine, loses its own.
    """
    with ExitStack() as watches:
        ports = watches.enter_context(there.host.client.watch(there.containers.http_ports))
        egress = watches.enter_context(there.host.watch_egress("web-a"))
        time.sleep(0.3)  # the length of the observation before, and after
        there.host.run(["firewall-cmd", "--reload"])
        time.sleep(1.0)
    there.until_whole(20)
    return min(report.failures for report in ports.reports.values()), egress.failures


def _notes(there: Installed) -> list[str]:
    return [one["what"] for one in there.status()["warnings"] if one["kind"] == "reload"]


def _permanent(there: Installed, zone: str = "trusted") -> set[str]:
    listed = ["firewall-cmd", "--permanent", f"--zone={zone}", "--list-sources"]
    return set(there.host.run(listed).stdout.split())


def _change(there: Installed, *changes: str, zone: str = "trusted") -> None:
    there.host.run(["firewall-cmd", "--permanent", f"--zone={zone}", *changes])


def _explain(there: Installed, *arguments: str) -> str:
    told: str = there.host.run(["podwatch", "explain", *arguments], check=False).stdout
    return told


@pytest.mark.parametrize("there", SUITES, indirect=True)
def test_a_reload_loses_connections_and_the_note_says_so(there: Installed) -> None:
    """One note in status, check and explain, which makes nothing degraded; it can be off."""
    there.until(lambda: bool(_notes(there)), "told", 20)
    (note,) = _notes(there)
    assert "about 100 ms" in note
    assert "podman" in note
    assert there.status()["state"] == "ok"
    assert note in there.check().stdout
    assert note in _explain(there)
    assert sum(_lost_by_a_reload(there)) > 0

    with there.configured("[firewalld]\nreload_note = false\n"):
        there.until(lambda: not _notes(there), "silent", 20)
        assert note not in there.check().stdout
        assert "ReloadPolicy" in _explain(there, "firewalld")
    there.until(lambda: bool(_notes(there)), "told again", 20)


@pytest.mark.parametrize("there", SUITES, indirect=True)
def test_with_what_explain_prints_nothing_is_lost(there: Installed) -> None:
    """Pasted into a shell it ends the note, and no new connection is lost, in and out."""
    script = _explain(there, "firewalld")
    there.host.write("/root/pasted", script)
    there.host.run(["sh", "-e", "/root/pasted"])
    there.until(lambda: not _notes(there), "silent", 20)
    there.until_whole(20)
    told = json.loads(_explain(there, "firewalld", "--json"))
    assert (told["permanent"]["drops"], told["permanent"]["lacking"]) == (False, [])
    assert told["script"] == []

    lost = [_lost_by_a_reload(there)]
    while len(lost) < TRIES and lost[-1] != (0, 0):
        lost.append(_lost_by_a_reload(there))
    _change(there, *(f"--remove-source={subnet}" for subnet in _permanent(there)))
    assert (0, 0) in lost


@pytest.mark.parametrize("there", ["trixie"], indirect=True)
def test_a_container_called_firewalld_is_explained(there: Installed) -> None:
    """By its name, as any other."""
    web(there.host, "firewalld", publish=["8099:80"])
    try:
        assert "8099/tcp" in _explain(there, "firewalld")
    finally:
        there.host.podman("rm", "--force", "--time", "0", "firewalld")
    assert "ReloadPolicy" in _explain(there, "firewalld")


@of_each_firewalld
def test_a_kept_source_comes_and_goes_with_its_network(there: Installed) -> None:
    """Somebody's own source stays, through the network's end and the setting's."""
    before = _permanent(there)
    mine = {"203.0.113.0/24", ISOLATED}
    _change(there, *(f"--add-source={subnet}" for subnet in mine))
    with there.configured(KEEP):
        there.until(lambda: DEFAULT in _permanent(there), "permanent", 20)
        there.host.podman("network", "create", f"--subnet={APP}", "app")
        web(there.host, "app-web", networks=["app"])
        there.until(lambda: APP in _permanent(there), "permanent, too", 20)
        assert there.host.run(["firewall-cmd", "--get-zone-of-source", APP]).stdout == "trusted\n"
        there.host.podman("rm", "--force", "--time", "0", "app-web")
        there.until(lambda: there.status()["state"] == "ok", "seen", 20)
        assert APP in _permanent(there)
        there.host.podman("network", "rm", "app")
        there.until(lambda: APP not in _permanent(there), "gone with its network", 40)
        assert DEFAULT in _permanent(there)
        assert mine <= _permanent(there)
    there.until(lambda: _permanent(there) == before | mine, "gone with the setting", 20)
    assert "no permanent source of firewalld's any more" in there.host.journal("podwatch")
    _change(there, *(f"--remove-source={subnet}" for subnet in mine))


@pytest.mark.parametrize("there", ["trixie"], indirect=True)
def test_a_source_in_another_zone_is_told_and_left(there: Installed) -> None:
    """Moved by the administrator: podwatch does not fight for it."""
    with there.configured(KEEP):
        there.until(lambda: DEFAULT in _permanent(there), "permanent", 20)
        _change(there, f"--remove-source={DEFAULT}")
        _change(there, f"--add-source={DEFAULT}", zone="work")
        there.until(lambda: "into zone work" in str(_notes(there)), "told", 20)
        assert DEFAULT in _permanent(there, "work")
        assert "--change-source" in _explain(there, "firewalld")
    there.until(lambda: DEFAULT not in _permanent(there), "still not trusted", 20)
    assert DEFAULT in _permanent(there, "work")
    _change(there, f"--remove-source={DEFAULT}", zone="work")


@of_each_firewalld
def test_a_kept_source_goes_with_the_package(there: Installed) -> None:
    """Somebody's own stays; what firewalld forgets at its next reload is podwatch's alone."""
    _change(there, f"--add-source={ISOLATED}")
    there.host.write(CONFIG, KEEP)
    there.host.run(["systemctl", "reload", "podwatch"])
    there.until(lambda: DEFAULT in _permanent(there), "permanent", 20)
    there.host.run(["dpkg", "--remove", "podwatch"])

    assert _permanent(there) == {ISOLATED}
    assert not there.host.exists("/var/lib/podwatch/firewalld.json")
