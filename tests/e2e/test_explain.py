# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain` against what really happens: it names the broken hop, and calls open what is.

podwatch itself is stopped, or it would heal what is broken here. Every way that explain tells is
tried: ports from the client, ways out from the container, isolation from the other isolated network
(netavark's isolation keeps isolated networks from each other, not the others from them).
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed
from tests.e2e.ways import Breakage, compare, explained, first_broken
from tests.lab.containers import web
from tests.lab.faults import ALL

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
]

_ONE_RULE = next(fault.script for fault in ALL if fault.name == "one rule deleted")


TRIED = ("web-a", "dual-web", "pod pod", "deaf", "")
"""Containers whose ways are tried while something is broken: silence takes its time. Isolation is a
network's way, and no container's."""


BREAKAGES = (
    Breakage("forwarding", "sysctl -w net.ipv4.ip_forward=0", "sysctl -w net.ipv4.ip_forward=1"),
    Breakage("firewalld", "firewall-cmd --panic-on", "firewall-cmd --panic-off"),
    Breakage(
        "firewalld zone",
        "firewall-cmd --zone=trusted --remove-source=10.88.0.0/16",
        "firewall-cmd --zone=trusted --add-source=10.88.0.0/16",
        kind="out",
        name="no zone",
    ),
    Breakage(
        "firewalld zone",
        "firewall-cmd --zone=drop --change-source=10.88.0.0/16",
        "firewall-cmd --zone=trusted --change-source=10.88.0.0/16",
        kind="out",
        name="zone drop",
    ),
    Breakage(
        "firewalld policy",
        "P='firewall-cmd --permanent --policy=site'; firewall-cmd --permanent --new-policy=site && "
        "$P --add-ingress-zone=trusted && $P --add-egress-zone=ANY && $P --set-target=REJECT && "
        "firewall-cmd --reload; podwatch restore || :",  # the way that the policy closes is lost
        "firewall-cmd --permanent --delete-policy=site; firewall-cmd --reload; podwatch restore",
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
        "port forward",
        "chain=$(nft list table inet netavark | grep -o 'nv_[0-9a-f]*_10_88_0_0_nm16_dnat' | "
        "head -n 1); nft insert rule inet netavark $chain tcp dport 8081 dnat ip to 10.88.0.99:80",
        "podwatch restore --stale",
        name="a dead container's rule",
    ),
    Breakage(
        "masquerade",
        "nft flush chain inet netavark POSTROUTING",
        "podwatch restore",
        kind="out",
    ),
    Breakage(
        "isolation",
        "nft flush chain inet netavark NETAVARK-ISOLATION-2",
        "podwatch restore",
        kind="isolation",
    ),
    Breakage("bridge", "ip link set podman0 down", "ip link set podman0 up"),
    Breakage(
        "link",
        "ls /sys/class/net/podman0/brif | head -n 1 >/tmp/link; ip link set $(cat /tmp/link) "
        "nomaster",
        "ip link set $(cat /tmp/link) master podman0",
    ),
)

NO_FAULTS = (
    Breakage("closed", "podman pause web-a", "podman unpause web-a", name="paused"),
    Breakage(
        "note",
        "podman run -d --name deaf -p 8090:81 local/busybox /busybox httpd -f -p 80 -h /",
        "podman rm -f -t 0 deaf",
        name="nobody listens",
    ),
)
"""What keeps a port from answering and is no fault of the network, by what its hop is called."""


@pytest.fixture(scope="module")
def stopped(there: Installed) -> Iterator[Installed]:
    """The host with one more isolated network, and podwatch stopped once it has its copy."""
    there.host.podman("network", "create", "--subnet=10.89.30.0/24", "--opt=isolate=true", "apart")
    web(there.host, "apart-web", networks=["apart"])
    there.until(
        lambda: (
            there.status()["state"] == "ok"
            and "apart" in {network["name"] for network in there.status()["networks"]}
        ),
        "ok",
    )
    there.host.run(["systemctl", "stop", "podwatch"])
    yield there
    there.host.run(["systemctl", "start", "podwatch"])


def test_a_healthy_host(stopped: Installed) -> None:
    """Every way is open and does work; text, one container, one port and the picture agree."""
    ways = explained(stopped)

    assert {way["mark"] for way in ways} == {"open"}
    assert {way["kind"] for way in ways} == {"in", "out", "isolation", "neighbours", "names"}
    compare(stopped, ways)
    whole = stopped.host.run(["podwatch", "explain"])
    assert "✗" not in whole.stdout
    assert whole.stdout.count("✓ ") == len(ways)
    assert whole.stdout.count("note: each reload of firewalld drops ") == 1
    one = stopped.host.run(["podwatch", "explain", "web-a"]).stdout
    assert "8081/tcp → web-a" in one
    assert re.search(r"8081/tcp is kept by a listening socket of conmon \(pid \d+\)", one)
    assert "8082/tcp" not in one, "of another container that has a port"
    assert "web-a, web-b with each other on podman: open" in one
    member = stopped.host.run(["podwatch", "explain", "pod-web"]).stdout
    assert "8086/tcp → pod pod" in member
    refused = stopped.host.run(["podwatch", "explain", "host-web"], check=False)
    assert "host-web has no rules to explain: the host's network" in refused.stderr
    assert "the network of pod-web" in member
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
        ways = explained(stopped)
        first = first_broken(ways, breakage.kind)
        assert breakage.hop in [hop["place"] for hop in first], ways
        assert all(hop["advice"] for hop in first)
        compare(stopped, [way for way in ways if way["container"] in TRIED])
        assert stopped.host.run(["podwatch", "explain"], check=False).code == 2
    finally:
        stopped.host.shell(breakage.mends)
    stopped.until(lambda: {way["mark"] for way in explained(stopped)} == {"open"}, "mended")


def test_isolation_is_told_of_a_container(stopped: Installed) -> None:
    """A rule that lets everything past it is told of whoever is on an isolated network."""
    stopped.host.shell("nft insert rule inet netavark FORWARD accept")
    try:
        for name, code in (("isolated-web", 2), ("web-a", 0)):
            told = stopped.host.run(["podwatch", "explain", name], check=False)
            assert told.code == code
            assert ("isolation of isolated: BROKEN" in told.stdout) == bool(code)
    finally:
        stopped.host.shell(
            "nft delete rule inet netavark FORWARD handle $(nft -a list chain inet netavark "
            "FORWARD | sed -n 's/^[[:space:]]*accept # handle //p')"
        )
    stopped.until(lambda: {way["mark"] for way in explained(stopped)} == {"open"}, "mended")


@pytest.mark.parametrize("no_fault", NO_FAULTS, ids=str)
def test_what_is_no_fault_of_the_network(stopped: Installed, no_fault: Breakage) -> None:
    """A container that is paused, or that listens to nobody, is told, and nothing is broken."""
    stopped.host.shell(no_fault.breaks)
    try:
        ways = explained(stopped)
        told = {hop["mark"] for way in ways for hop in way["hops"] if hop["place"] == "container"}
        assert no_fault.hop in told
        compare(stopped, [way for way in ways if way["container"] in TRIED])
        assert stopped.host.run(["podwatch", "explain"], check=False).code == 0
        assert stopped.host.run(["podwatch", "check"], check=False).code == 0
    finally:
        stopped.host.shell(no_fault.mends)


_HEALTHY = r"""
set -e
podman network create --subnet=10.89.50.0/24 na
podman network create --subnet=10.89.51.0/24 nb
web() {
    podman run --detach --name "$@" local/busybox /busybox sh -c \
        "echo $1 >/index.html; for p in 80 9101; do /busybox httpd -p \$p -h /; done; \
        exec /busybox httpd -f -p 9102 -h /"
}
web two --network=na --network=nb -p 7081:80
web twodual --network=na --network=dual -p 7082:80
web range --network=nb --network=na -p 9101-9102:9101-9102
web here --network=na -p 127.0.0.1:7083:80
web there --network=na -p 192.0.2.1:7083:80
web both --network=na --network=nb -p 127.0.0.1:7085:80 -p 192.0.2.1:7085:80
web protocols --network=na --network=nb -p 7086:80 -p 7086:80/sctp
web split --network=apart --network=nb -p 7089:80
web lan-too --network=na --network=lan -p 7090:80
podman pod create --name=twice --network=na --network=nb --publish=7092:80
web in-twice --pod=twice
"""


def test_many_healthy_containers_are_called_so(stopped: Installed) -> None:
    """Two networks, ranges, one port on two addresses: no hop is broken, no advice does harm."""
    host = stopped.host
    host.shell(_HEALTHY, timeout=180)
    try:
        infra = host.podman("pod", "inspect", "twice", "--format", "{{.InfraContainerID}}")
        infra_name = host.podman("inspect", infra, "--format", "{{.Name}}")
        asked = "two twodual range here there both protocols split lan-too twice".split()
        for name in (*asked, infra_name):
            told = host.run(["podwatch", "explain", name], check=False)
            assert told.code == 0, told.stdout + told.stderr
            assert "→ delete" not in told.stdout
            assert "restore --stale" not in told.stdout
        assert re.search(
            r"– port forward    7081/tcp goes by n[ab]: tcp dport 7081 dnat",
            told_of(stopped, "two"),
        )
        answers = {7081: "two", 7082: "twodual", 9101: "range", 9102: "range", 7083: "there"}
        answers |= {7085: "both", 7086: "protocols", 7089: "split", 7092: "in-twice"}
        assert {port: host.client.http(port) for port in answers} == answers
        # What is quoted is what is there: who types it in adds no second spelling.
        rules = {" ".join(line.split()) for line in host.nft("list", "ruleset").splitlines()}
        quoted = re.findall(r": (ip daddr .* dnat .*)$", told_of(stopped, "here"), re.M)
        assert quoted
        assert rules.issuperset(quoted)
        assert "not Podman's" not in host.run(["podwatch", "check", "--all"], check=False).stdout
    finally:
        host.shell("podman pod rm -f twice; podman rm -f -t 0 " + " ".join(asked[:-1]))
        host.shell("podman network rm na nb")


def told_of(there: Installed, target: str) -> str:
    """What explain says of a container."""
    return there.host.run(["podwatch", "explain", target], check=False).stdout


def test_ports_of_localhost(stopped: Installed) -> None:
    """conmon keeps them both; on 127.0.0.1 the container answers, on ::1 nobody does, and why."""
    web(stopped.host, "local", networks=["dual"], publish=["127.0.0.1:7001:80", "[::1]:7002:80"])
    try:
        told = {}
        for port, host in ((7001, "127.0.0.1"), (7002, "[::1]")):
            said = stopped.host.run(["podwatch", "explain", str(port)], check=False)
            assert f"{host}:{port}/tcp is kept by a listening socket of conmon" in said.stdout
            ask = ["curl", "-gsS", "-m", "3", f"http://{host}:{port}/"]
            works = stopped.host.run(ask, check=False, timeout=20).code == 0
            assert (f"✓ {host}:{port}/tcp" in said.stdout) == works, said.stdout
            assert said.code == 0, "nothing is lost that never was there"
            told[port] = said.stdout
        assert "✓ 127.0.0.1:7001/tcp → local" in told[7001]
        assert "– host address    nothing is routed from ::1 out of the host" in told[7002]
    finally:
        stopped.host.podman("rm", "--force", "--time=0", "local")


def test_each_port_of_a_range(stopped: Installed) -> None:
    """A port is told by its own rule and listener, a range with who of it is silent."""
    web(stopped.host, "half", publish=["9100-9102:9100-9102"], ports=[9100])
    try:
        for port, is_open in ((9100, True), (9101, False)):
            said = stopped.host.run(["podwatch", "explain", str(port)], check=False)
            assert f"{port}/tcp → half (10.88.0." in said.stdout
            assert f"tcp dport {port} " in said.stdout
            assert said.code == 0, said.stdout
            assert ("nothing in it listens on" in said.stdout) == (not is_open), said.stdout
            assert (stopped.host.client.http(port) == "half") == is_open
        whole = stopped.host.run(["podwatch", "explain", "half"]).stdout
        assert "of 9100-9102/tcp nothing in it listens on 9101, 9102" in whole
    finally:
        stopped.host.podman("rm", "--force", "--time=0", "half")


def test_a_container_that_was_never_started(stopped: Installed) -> None:
    """It is told as not running, with what to do."""
    stopped.host.podman("create", "--name", "new", "--publish=7020:80", "local/busybox", "/busybox")
    try:
        said = stopped.host.run(["podwatch", "explain", "new"], check=False)
        assert (said.code, said.stderr) == (
            3,
            "podwatch: new is not running\n  → podman start new\n",
        )
    finally:
        stopped.host.podman("rm", "new")
