# SPDX-License-Identifier: Apache-2.0
"""The package on each Debian it is meant for: installed, reloaded, installed again, purged."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import built_package
from tests.lab.containers import web
from tests.lab.host import Host

UNITS = (
    "podwatch.service",
    "podwatch-inspect.service",
    "podwatch-reload@0.service",
    "podwatch-network@lan.service",
)
LISTING = "/run/podwatch/podman.json"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=("bookworm", "trixie", "forky"))
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with one container and the package."""
    with Host(request.param) as host:
        web(host, "web", publish=["8080:80/tcp"])
        host.install(built_package())
        yield host


def test_enabled_and_running(host: Host) -> None:
    """Installing the package enables and starts the daemon, whose Type=notify handshake works."""
    shown = host.unit_show("podwatch.service", "ActiveState", "UnitFileState", "NRestarts")

    assert shown == {"ActiveState": "active", "UnitFileState": "enabled", "NRestarts": "0"}


def test_units_are_valid(host: Host) -> None:
    """systemd of this Debian has nothing to say against the units; man pages are not looked for."""
    verdict = host.run(["systemd-analyze", "verify", "--man=no", *UNITS], check=False)

    assert (verdict.code, verdict.stdout + verdict.stderr) == (0, "")


def test_catalog_is_known(host: Host) -> None:
    """journalctl can explain podwatch's messages as soon as the package is installed."""
    assert "podwatch: " in host.run(["journalctl", "--list-catalog"]).stdout


def test_reload_reaches_the_daemon(host: Host) -> None:
    """`systemctl reload` sends SIGHUP, which kills a process that does not expect it."""
    before = host.unit_show("podwatch.service", "MainPID")
    host.run(["systemctl", "reload", "podwatch"])

    assert host.unit_show("podwatch.service", "MainPID") == before
    assert "SIGHUP" in host.journal("podwatch")


def test_listing_is_whole_and_private(host: Host) -> None:
    """podwatch-inspect.service replaces what an interrupted run left, and only root reads it."""
    # podwatch starts the same unit whenever it looks, and must not while the file is spoilt.
    host.run(["systemctl", "stop", "podwatch", "podwatch-inspect"])
    host.write(f"{LISTING}.new", "left behind " * 1000)
    host.run(["systemctl", "start", "podwatch-inspect"])

    assert host.run(["jq", "-r", ".[].Names[0]", LISTING]).stdout == "web\n"
    assert host.run(["stat", "-c", "%a", LISTING]).stdout == "600\n"
    assert not host.exists(f"{LISTING}.new")
    host.run(["systemctl", "start", "podwatch"])


def test_a_name_is_never_an_option(host: Host) -> None:
    """An instance named like an option is a container that does not exist, and is not kept."""
    refused = host.run(["systemctl", "start", "podwatch-reload@--all.service"], check=False)

    assert refused.code != 0
    assert 'no container with name or ID "--all"' in host.journal("podwatch-reload@--all")
    kept = host.run(["systemctl", "list-units", "--all", "--no-legend", "podwatch-reload@*"])
    assert kept.stdout == ""


def test_purge_leaves_nothing(host: Host) -> None:
    """Installed over itself and purged, the package leaves no file and the container runs."""
    host.install(built_package())
    assert host.unit_state("podwatch.service") == "active"
    host.write("/etc/podwatch/podwatch.conf", "")
    host.run(["dpkg", "--purge", "podwatch"])

    left = host.shell(
        "find /etc /run /usr /var -xdev -name '*podwatch*' -not -path '*/podwatch-lab*'"
    )
    assert left.stdout == ""
    assert host.client.http(8080) is not None
