# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain` against what really happens: it names the broken hop, and calls open what is.

podwatch itself is stopped, or it would heal what is broken here. Every way that explain tells is
tried: ports from the client, ways out from the container.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.installed import Installed
from tests.lab.client import HOST_V4, HOST_V6
from tests.lab.faults import ALL

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
]

_ONE_RULE = next(each.script for each in ALL if each.name == "one rule deleted")


TRIED = ("web-a", "dual-web", "pod pod", "deaf")
"""Containers whose ways are tried while something is broken: silence takes its time."""


@dataclass(frozen=True)
class Breakage:
    """One hop broken, and mended again, by a line for the shell; `kind` of a way that breaks."""

    hop: str
    breaks: str
    mends: str
    kind: str = "in"
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.hop


BREAKAGES = (
    Breakage("forwarding", "sysctl -w net.ipv4.ip_forward=0", "sysctl -w net.ipv4.ip_forward=1"),
    Breakage("firewalld", "firewall-cmd --panic-on", "firewall-cmd --panic-off"),
    Breakage(
        "firewalld zone",
        "firewall-cmd --zone=trusted --remove-source=10.88.0.0/16",
        "firewall-cmd --zone=trusted --add-source=10.88.0.0/16",
        kind="out",
    ),
    Breakage(
        "other firewalls",
        "nft add table inet site; "
        "nft 'add chain inet site passing { type filter hook forward priority 10; policy drop; }'",
        "nft delete table inet site",
    ),
    Breakage("port forward", _ONE_RULE, "podwatch restore", name="one port rule"),
    Breakage(
        "port forward", "nft delete table inet netavark", "podwatch restore", name="the table"
    ),
    Breakage(
        "masquerade",
        "nft flush chain inet netavark POSTROUTING",
        "podwatch restore",
        kind="out",
    ),
    Breakage("bridge", "ip link set podman0 down", "ip link set podman0 up"),
    Breakage(
        "link",
        "ls /sys/class/net/podman0/brif | head -n 1 >/tmp/link; ip link set $(cat /tmp/link) "
        "nomaster",
        "ip link set $(cat /tmp/link) master podman0",
    ),
    Breakage("container", "podman pause web-a", "podman unpause web-a", name="paused"),
    Breakage(
        "container",
        "podman run -d --name deaf -p 8090:81 local/busybox /busybox httpd -f -p 80 -h /",
        "podman rm -f -t 0 deaf",
        name="nobody listens",
    ),
)


@pytest.fixture(scope="module")
def stopped(there: Installed) -> Iterator[Installed]:
    """The host with its containers, and podwatch stopped once it has its copy."""
    there.until(lambda: there.status()["state"] == "ok", "ok")
    there.host.run(["systemctl", "stop", "podwatch"])
    yield there
    there.host.run(["systemctl", "start", "podwatch"])


def _explain(there: Installed) -> list[dict[str, Any]]:
    said = there.host.run(["podwatch", "explain", "--json"], check=False)
    ways: list[dict[str, Any]] = json.loads(said.stdout)["ways"]
    return ways


def _works(there: Installed, way: dict[str, Any]) -> bool | None:
    """Whether a way works, tried for real; None where the lab has nobody to try it."""
    if way["kind"] == "in":
        is_v6 = "([" in way["title"]
        port, protocol = way["port"]
        probes = [
            probe
            for each in there.containers.containers
            for probe in each.probes
            if port <= probe.port < port + way["count"]
            and probe.protocol == protocol
            and (":" in probe.address) == is_v6
        ]
        if not probes:
            address = HOST_V6 if is_v6 else HOST_V4
            return there.host.client.http(port, address) is not None
        return not any(probe.ask(there.host.client, 1.0) for probe in probes)
    name = {"pod pod": "pod-web"}.get(way["container"], way["container"])
    is_v6 = "(fd" in way["title"]
    if name == "deaf":
        return None
    return there.host.seen_as(name, ipv6=is_v6) == (HOST_V6 if is_v6 else HOST_V4)


def _compare(there: Installed, ways: list[dict[str, Any]]) -> None:
    for way in ways:
        if way["kind"] == "isolation":
            continue
        works = _works(there, way)
        if works is not None:
            told = [f"{hop['mark']} {hop['place']}: {hop['what']}" for hop in way["hops"]]
            assert (way["mark"] == "open") == works, f"{way['title']}: {told}"


def test_a_healthy_host(stopped: Installed) -> None:
    """Every way is open and does work; text, one container, one port and the picture agree."""
    ways = _explain(stopped)

    assert {each["mark"] for each in ways} == {"open"}
    assert {each["kind"] for each in ways} == {"in", "out", "isolation"}
    _compare(stopped, ways)
    whole = stopped.host.run(["podwatch", "explain"])
    assert "✗" not in whole.stdout
    assert len(whole.stdout.splitlines()) == len(ways)
    one = stopped.host.run(["podwatch", "explain", "web-a"]).stdout
    assert "8081/tcp → web-a" in one
    assert "web-b" not in one
    port = stopped.host.run(["podwatch", "explain", "5300/udp"]).stdout
    assert "5300/udp → dual-udp" in port
    assert stopped.host.run(["podwatch", "explain", "nobody"], check=False).code == 3
    stopped.host.run(["podwatch", "explain", "--all", "--svg", "/tmp/ways.svg"])
    picture = ET.fromstring(stopped.host.read("/tmp/ways.svg"))  # noqa: S314 - our own text
    assert "web-a" in "".join(picture.itertext())


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_each_breakage_is_named(stopped: Installed, breakage: Breakage) -> None:
    """The hop that is broken is the first that explain calls so, and everything else is as told."""
    stopped.host.shell(breakage.breaks)
    try:
        ways = _explain(stopped)
        broken = [each for each in ways if each["mark"] == "broken"]
        first = [
            next(hop for hop in each["hops"] if hop["mark"] == "broken")
            for each in broken
            if each["kind"] == breakage.kind
        ]
        assert breakage.hop in [each["place"] for each in first], ways
        assert all(each["advice"] for each in first)
        _compare(stopped, [each for each in ways if each["container"] in TRIED])
        assert stopped.host.run(["podwatch", "explain"], check=False).code == 2
    finally:
        stopped.host.shell(breakage.mends)
    stopped.until(lambda: {each["mark"] for each in _explain(stopped)} == {"open"}, "mended")
