# SPDX-License-Identifier: Apache-2.0
"""The links adapter against the real kernel: bridges, veths and namespaces of the test's own."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from podwatch.adapters import links
from podwatch.daemon.inside import Inside
from podwatch.words.errors import LinksUnreadable
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration


def ip(*words: str) -> None:
    """Run the real ip."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def container(bridge: str, port: str, *addresses: str) -> Iterator[int]:
    """A namespace behind a port of the bridge, as netavark makes one, without name or file.

    Gives a process that is in it.
    """
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            peer = ["peer", "name", "eth0", "netns", str(holder.pid)]
            ip("link", "add", port, "type", "veth", *peer)
            ip("link", "set", port, "up", "master", bridge)
            inside = ["nsenter", "-t", str(holder.pid), "-n", "ip"]
            subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
            for address in addresses:
                subprocess.run([*inside, "address", "add", address, "dev", "eth0"], check=True)
            yield holder.pid
        finally:
            holder.kill()


def bridge(name: str, *addresses: str) -> None:
    """A bridge that is up."""
    ip("link", "add", name, "type", "bridge")
    for address in addresses:
        ip("address", "add", address, "dev", name)
    ip("link", "set", name, "up")


@in_private_network
def test_links_and_their_addresses_are_read() -> None:
    """A bridge, its port and what they have: all of it is told, and that a link is down as well."""
    bridge("podman7", "10.88.0.1/16", "fd88::1/64")
    ip("link", "add", "down0", "type", "bridge")
    with container("podman7", "veth7", "10.88.0.2/16"):
        found = links.read()
    assert found.by_name.keys() == {"lo", "podman7", "down0", "veth7"}
    port, there = found.by_name["veth7"], found.by_name["podman7"]
    assert (port.kind, port.master, port.is_up) == ("veth", "podman7", True)
    assert port.netns_id is not None
    assert (there.kind, there.master, there.is_up, there.netns_id) == ("bridge", "", True, None)
    assert len(there.mac.split(":")) == 6
    assert not found.by_name["down0"].is_up
    wanted = {ip_interface("10.88.0.1/16"), ip_interface("fd88::1/64")}
    assert wanted <= set(found.addresses["podman7"])
    assert "down0" not in found.addresses


@in_private_network
def test_addresses_in_namespaces() -> None:
    """Of every container its addresses are told, without any name or file of its namespace."""
    bridge("podman7", "10.88.0.1/16")
    bridge("podman8")
    with (
        container("podman7", "veth0", "10.88.0.2/16", "fd88::2/64"),
        container("podman7", "veth1", "10.88.0.3/16"),
        container("podman8", "veth2", "10.89.0.2/24"),
    ):
        found = Inside().at("now")
    wanted = {"10.88.0.2", "fd88::2", "10.88.0.3", "10.89.0.2"}
    assert found is not None
    assert {str(one) for one in found if not one.is_link_local} == wanted


@in_private_network
def test_what_is_in_a_namespace() -> None:
    """Each interface there is told with its addresses, and the host's end of it by its index."""
    bridge("podman7", "10.88.0.1/16")
    with container("podman7", "veth0", "10.88.0.2/16"):
        port = links.read().by_name["veth0"]
        assert port.netns_id is not None
        found = {inner.name: inner for inner in links.inside([port.netns_id])[port.netns_id]}
        missing = links.inside([port.netns_id + 99])
    inner = found["eth0"]
    assert (inner.kind, inner.peer, inner.is_up) == ("veth", port.index, False)
    assert inner.addresses == (ip_interface("10.88.0.2/16"),)
    assert found["lo"].addresses == ()
    assert missing == {}


@in_private_network
def test_a_namespace_without_a_veth_is_given_a_number(tmp_path: Path) -> None:
    """As that of a container with a macvlan alone: by its file, and the same number each time."""
    bridge("podman7")
    with container("podman7", "veth0") as pid:
        of_veth = links.read().by_name["veth0"].netns_id
        lone = subprocess.Popen(["unshare", "--net", "sleep", "60"])
        try:
            files = {name: tmp_path / name for name in ("veth", "lone", "gone")}
            inodes = {}
            for name, process in (("veth", pid), ("lone", lone.pid)):
                files[name].touch()
                deadline = time.monotonic() + 10
                own, path = os.stat("/proc/self/ns/net").st_ino, f"/proc/{process}/ns/net"
                while os.stat(path).st_ino == own and time.monotonic() < deadline:
                    time.sleep(0.01)
                subprocess.run(["mount", "--bind", path, str(files[name])], check=True)
                inodes[name] = files[name].stat().st_ino
            found = links.numbers(frozenset(inodes.values()), tmp_path)
            assert found[inodes["veth"]] == of_veth
            assert links.numbers(frozenset(inodes.values()), tmp_path) == found
            assert links.numbers(frozenset({inodes["lone"]}), tmp_path).keys() == {inodes["lone"]}
            inside = links.inside(found.values())
            assert [inner.name for inner in inside[found[inodes["lone"]]]] == ["lo"]
            assert {inner.name for inner in inside[found[inodes["veth"]]]} == {"lo", "eth0"}
        finally:
            lone.kill()
            lone.wait()
    assert links.numbers(frozenset({1}), tmp_path / "none") == {}


@in_private_network
def test_an_interface_that_is_set_down_inside() -> None:
    """The host's end of the veth loses its carrier, and so what is inside is asked for anew."""
    bridge("podman7")
    with container("podman7", "veth0") as pid:
        inner = ("nsenter", "-t", str(pid), "-n", "ip", "link", "set", "eth0")
        subprocess.run([*inner, "up"], check=True)
        inside = Inside()
        was = links.read()
        before = inside.namespaces(was)
        subprocess.run([*inner, "down"], check=True)
        now = links.read()
        after = inside.namespaces(now)
    assert was.by_name["veth0"].has_carrier
    assert not now.by_name["veth0"].has_carrier
    assert [[one.is_up for one in some if one.name == "eth0"] for some in before.values()] == [
        [True]
    ]
    assert [[one.is_up for one in some if one.name == "eth0"] for some in after.values()] == [
        [False]
    ]


@in_private_network
def test_who_lost_its_bridge_is_still_inside() -> None:
    """A container whose port was taken off the bridge is there all the same."""
    bridge("podman7")
    with container("podman7", "veth0", "10.88.0.2/16"):
        ip("link", "set", "veth0", "nomaster")
        found = Inside().at("now")
    assert found is not None
    assert ip_address("10.88.0.2") in found


@in_private_network
def test_nobody_is_inside_what_has_gone() -> None:
    """No namespace is no failure: nobody is there."""
    bridge("podman7", "10.88.0.1/16")
    assert Inside().at("now") == {}
    with container("podman7", "veth0", "10.88.0.2/16"):
        pass
    deadline = time.monotonic() + 10  # the kernel takes a namespace down in the background
    while Inside().at("now") != {} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert Inside().at("now") == {}


@in_private_network
def test_a_host_of_many_containers_fits_into_no_datagram() -> None:
    """A list that is longer than one datagram is read as a whole."""
    bridge("podman7")
    for number in range(200):
        peer = ("type", "veth", "peer", "name", f"peer{number}")
        ip("link", "add", f"veth{number}", "master", "podman7", *peer)
    assert len(links.read().by_name) == 402
    assert Inside().at("now") == {}


@in_private_network
def test_who_may_not_ask_is_told_nothing_of_the_dead() -> None:
    """Without CAP_NET_ADMIN the host is read, and who is in a namespace cannot be told."""
    bridge("podman7", "10.88.0.1/16")
    with container("podman7", "veth0", "10.88.0.2/16"):
        os.seteuid(65534)
        try:
            assert links.read().by_name["veth0"].master == "podman7"
            assert Inside().at("now") is None
        finally:
            os.seteuid(0)


@in_private_network
def test_what_is_above_a_host_is_no_container_on_it() -> None:
    """Where the host is a container itself its uplink leads to a namespace it has no say over."""
    script = "input(); from podwatch.adapters import links; links.read(); print(links.inside([0]))"
    host = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", script]
    with subprocess.Popen(host, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as inner:
        deadline = time.monotonic() + 10
        own = os.stat("/proc/self/ns/net").st_ino
        while os.stat(f"/proc/{inner.pid}/ns/net").st_ino == own and time.monotonic() < deadline:
            time.sleep(0.01)
        ip("link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", str(inner.pid))
        ip("address", "add", "192.0.2.1/24", "dev", "veth0")
        assert inner.communicate("\n")[0] == "{0: ()}\n"


@in_private_network
def test_a_kernel_that_refuses_is_an_error_with_a_reason() -> None:
    """What cannot be asked is unreadable, and the message says why."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    with pytest.raises(LinksUnreadable, match="Too many open files"):
        links.read()
    assert Inside().at("now") is None


@in_private_network
def test_a_bridge_keeps_its_mac() -> None:
    """A bridge has the MAC of its lowest port, until it is told to keep the one it has."""
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    bridge("podman7", "10.88.0.1/16")

    def change(mac: str) -> bool:
        before = links.read().by_name["podman7"].mac
        veth = ("type", "veth", "peer", "name", "other")
        ip("link", "add", "port", "address", mac, "master", "podman7", *veth)
        after = links.read().by_name["podman7"].mac
        ip("link", "delete", "port")
        return before != after

    assert change("00:00:00:00:00:09")
    links.keep_mac(links.read().by_name["podman7"])
    assert not change("00:00:00:00:00:08")


@in_private_network
def test_the_mac_of_a_bridge_that_has_gone() -> None:
    """Between the list and the order it may go: then there is nothing to keep."""
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    bridge("podman7")
    seen = links.read().by_name["podman7"]
    ip("link", "delete", "podman7")
    links.keep_mac(seen)


@in_private_network
def test_which_way_a_packet_goes() -> None:
    """To the bridge, until a route or a rule of somebody else's takes it, or its address goes."""
    bridge("podman7", "10.88.0.1/16", "fd88::1/64")
    bridge("tun0", "192.0.2.1/24")
    to = ip_address("10.88.0.2")

    def way() -> list[str | None]:
        return links.ways([(to, None, "")])

    with container("podman7", "veth0", "10.88.0.2/16"):
        both = [(to, None, ""), (ip_address("fd88::2"), None, "")]
        assert links.ways(both) == ["podman7", "podman7"]
        ip("route", "add", "10.88.0.0/24", "dev", "tun0")
        assert way() == ["tun0"]
        ip("route", "delete", "10.88.0.0/24", "dev", "tun0")
        for nowhere in ("unreachable", "prohibit", "blackhole"):
            ip("rule", "add", "to", "10.88.0.0/16", nowhere)
            assert way() == [""]
            ip("rule", "delete", "to", "10.88.0.0/16", nowhere)
        assert way() == ["podman7"]
        ip("address", "flush", "dev", "podman7")
        assert way() == [""]
        assert links.ways([(to, ip_address("192.0.2.9"), "none")]) == [None]


@in_private_network
def test_which_way_an_answer_goes() -> None:
    """What a container sends comes in by its bridge, and a rule for that takes it elsewhere."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridge("podman7", "10.88.0.1/16")
    bridge("eth7", "192.0.2.1/24")
    bridge("tun0", "198.51.100.1/24")
    asked = [(ip_address("192.0.2.2"), ip_address("10.88.0.2"), "podman7")]
    with container("podman7", "veth0", "10.88.0.2/16"), container("tun0", "veth1"):
        with container("eth7", "veth2"):
            assert links.ways(asked) == ["eth7"]
            ip("route", "add", "default", "dev", "tun0", "table", "77")
            ip("rule", "add", "from", "10.88.0.0/16", "lookup", "77")
            assert links.ways(asked) == ["tun0"]


@pytest.mark.parametrize("family", ["-4", "-6"])
@in_private_network
def test_rules_of_others_are_told_from_the_kernels_own(family: str) -> None:
    """A VPN's rule, of either IP version."""
    assert not links.has_rules()
    ip(family, "rule", "add", "pref", "100", "lookup", "77")
    assert links.has_rules()
    ip(family, "rule", "del", "pref", "100")
    assert not links.has_rules()
