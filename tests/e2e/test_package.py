# SPDX-License-Identifier: Apache-2.0
"""The package on each Debian it is meant for: installed, reloaded, installed again, purged."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installed import CONFIG, TOP, built_package
from tests.lab.containers import web
from tests.lab.host import Host

UNITS = (
    "podwatch.service",
    "podwatch-inspect.service",
    "podwatch-reload@0.service",
    "podwatch-network@lan.service",
    "podwatch-networks.service",
    "podwatch-dns.service",
    "podwatch-dns-pid.service",
    "podwatch-dns-hup.service",
    "podwatch-dhcp-enable@netavark-dhcp-proxy.service",
    "podwatch-dhcp-restart@netavark-dhcp-proxy.service",
)
LISTING = "/run/podwatch-podman/podman.json"

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


def test_the_user_unit_waits_for_whoever_wants_it(host: Host) -> None:
    """systemd has nothing to say against the unit of users, which the package does not enable."""
    verify = ["systemd-analyze", "--user", "verify", "--man=no", "podwatch.service"]
    verdict = host.run(["env", "XDG_RUNTIME_DIR=/tmp", *verify], check=False)
    enabled = host.run(["systemctl", "--global", "is-enabled", "podwatch.service"], check=False)

    assert (verdict.code, verdict.stdout + verdict.stderr) == (0, "")
    assert enabled.stdout == "disabled\n"


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
    """podwatch-inspect.service replaces what an interrupted run left; root and podwatch read it."""
    # podwatch starts the same unit whenever it looks, and must not while the file is spoilt.
    host.run(["systemctl", "stop", "podwatch", "podwatch-inspect"])
    host.write(f"{LISTING}.new", "left behind " * 1000)
    host.run(["systemctl", "start", "podwatch-inspect"])

    assert host.run(["jq", "-r", ".[].Names[0]", LISTING]).stdout == "web\n"
    assert host.run(["stat", "-c", "%a %U:%G", LISTING]).stdout == "640 root:podwatch\n"
    assert not host.exists(f"{LISTING}.new")
    host.run(["systemctl", "start", "podwatch"])


def test_a_name_is_never_an_option(host: Host) -> None:
    """An instance named like an option is a container that does not exist, and is not kept."""
    refused = host.run(["systemctl", "start", "podwatch-reload@--all.service"], check=False)

    assert refused.code != 0
    assert 'no container with name or ID "--all"' in host.journal("podwatch-reload@--all")
    kept = host.run(["systemctl", "list-units", "--all", "--no-legend", "podwatch-reload@*"])
    assert kept.stdout == ""


def test_autopkgtest(host: Host) -> None:
    """Debian's test of the installed package, packaging/debian/tests/smoke, passes here."""
    host.copy(TOP / "packaging/debian/tests/smoke", "/root/smoke")

    assert "podwatch" in host.run(["/root/smoke"], timeout=120).stdout
    assert host.run(["podman", "ps", "--all", "--quiet"]).stdout.count("\n") == 1


def _of_podwatch(host: Host) -> list[str]:
    """Every file on the host that has podwatch in its name."""
    where = "find /etc /run /usr /var -xdev -name '*podwatch*' -not -path '*/podwatch-lab*'"
    return sorted(host.shell(where).stdout.splitlines())


@pytest.fixture(scope="module")
def newer_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package once more, under the number of a version that is yet to come."""
    place = tmp_path_factory.mktemp("newer")
    unpacked, package = place / "unpacked", place / "podwatch_99_all.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", built_package(), unpacked], check=True)
    control = unpacked / "DEBIAN/control"
    lines = control.read_text().splitlines()
    lines = ["Version: 99" if line.startswith("Version:") else line for line in lines]
    control.write_text("\n".join(lines) + "\n")
    build = ["dpkg-deb", "--root-owner-group", "--build", str(unpacked), str(package)]
    subprocess.run(build, check=True, capture_output=True)
    return package


def test_upgrade_in_the_middle_of_a_repair(host: Host, newer_package: Path) -> None:
    """Upgraded while a network is being reloaded, podwatch comes back, and nothing is lost.

    On Debian 12, whose podman has no rules in nftables, nothing is reloaded meanwhile.
    """
    host.write(CONFIG, '[restore]\nmethods = ["reload"]\nquiet = 0\n')
    host.run(["systemctl", "reload", "podwatch"])
    before = host.unit_show("podwatch", "MainPID")["MainPID"]
    host.copy(newer_package, "/root/newer.deb")
    if host.suite != "bookworm":
        # dpkg starts as soon as the unit that reloads the container does.
        host.shell(
            """
            nft delete table inet netavark
            for _ in $(seq 1000); do
                state=$(systemctl list-units --all --no-legend 'podwatch-reload@*')
                [ -z "$state" ] || break
                sleep 0.005
            done
            [ -n "$state" ]
            """
        )
    host.run(["env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", "/root/newer.deb"])
    host.shell("timeout 20 sh -c 'until podwatch check >/dev/null; do sleep 0.1; done'")

    after = host.unit_show("podwatch", "ActiveState", "MainPID")
    assert after["ActiveState"] == "active"
    assert after["MainPID"] not in ("0", before)
    assert host.client.http(8080) == "web"
    assert host.run(["dpkg-query", "-f", "${Version}", "-W", "podwatch"]).stdout == "99"


def test_removed(host: Host) -> None:
    """Removed, it leaves what an administrator may want back, no unit, and the container."""
    host.write(CONFIG, "")
    host.run(["dpkg", "--remove", "podwatch"])

    alive = "--state=active,activating,failed"
    assert host.run(["systemctl", "list-units", alive, "--no-legend", "podwatch*"]).stdout == ""
    left = [path for path in _of_podwatch(host) if not path.startswith(("/etc/", "/var/lib/"))]
    assert left == []
    assert host.exists(CONFIG)
    assert host.client.http(8080) == "web"


def test_purge_leaves_nothing(host: Host) -> None:
    """Installed once more and purged, the package leaves no file and the container runs."""
    host.install(built_package())
    assert host.unit_state("podwatch.service") == "active"
    host.run(["dpkg", "--purge", "podwatch"])

    assert _of_podwatch(host) == []
    assert host.client.http(8080) is not None
