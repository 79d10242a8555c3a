# SPDX-License-Identifier: Apache-2.0
"""A reload that would cost a container its network is not made, and why is told."""

import json

import pytest

from tests.e2e.installed import Installed

pytestmark = pytest.mark.e2e

_AARDVARK = "/run/containers/networks/aardvark-dns"
_RELOAD_ONLY = (
    '[restore]\nmethods = ["reload"]\nnames = false\nlinks = false\n'
    'quiet = 0\nbackoff = "200ms"\nbackoff_max = "1s"\n'
)


def inside(there: Installed, name: str) -> set[str]:
    """The addresses of a container, as it sees them."""
    told = there.host.podman("exec", name, "/busybox", "ip", "-o", "address", "show", "dev", "eth0")
    words = [line.split() for line in told.splitlines()]
    return {word[3] for word in words if "link" not in word}


def bridge_of(there: Installed, network: str) -> str:
    """The bridge of a network."""
    told = there.host.podman("network", "inspect", network)
    return str(json.loads(told)[0]["network_interface"])


def test_a_healthy_container_keeps_its_network(there: Installed) -> None:
    """aardvark-dns dead, a bridge down and up, the table gone: held back, told, then healed."""
    names = ("dual-web", "isolated-web", "pod-web")
    before = {name: inside(there, name) for name in names}
    bridge = bridge_of(there, "dual")
    gateway = "fd10:89:10::1/64"
    assert gateway in there.host.run(["ip", "-6", "address", "show", "dev", bridge]).stdout
    with there.configured(_RELOAD_ONLY):
        reloads, incidents = there.reloads(), there.incidents()
        there.host.shell(
            f"kill -9 $(cat {_AARDVARK}/aardvark.pid); ip link set {bridge} down; "
            f"ip link set {bridge} up; nft delete table inet netavark"
        )
        repair = f"ip addr add {gateway} dev {bridge} nodad"
        there.until(lambda: repair in there.status()["next_try"], "told how to repair it")
        assert there.status()["state"] == "lost"
        assert {name: inside(there, name) for name in names} == before
        assert repair in there.host.journal("podwatch")

        there.host.shell(repair)
        there.until_whole(30)
        assert {name: inside(there, name) for name in names} == before
        there.until(lambda: there.status()["last_incident"]["verified"], "over")
    assert there.reloads() > reloads
    assert there.incidents() > incidents
    assert repair in "\n".join(there.history()[-1]["how"])
    resolves = "podman exec dual-web /busybox nslookup dual-udp"
    there.until(lambda: there.host.shell(resolves, check=False).code == 0, "names are back")


def test_a_dead_name_server_is_started_by_a_reload(there: Installed) -> None:
    """With every address there a dead aardvark-dns holds nobody back: the reload starts it."""
    with there.configured(_RELOAD_ONLY):
        cursor = there.host.journal_cursor()
        there.host.shell(f"kill -9 $(cat {_AARDVARK}/aardvark.pid); nft delete table inet netavark")
        lost = "table inet netavark is gone"
        there.until(lambda: lost in there.host.journal("podwatch", cursor), "lost")
        there.until_whole(30)
    assert there.host.shell(f"cat /proc/$(cat {_AARDVARK}/aardvark.pid)/comm").stdout.strip() == (
        "aardvark-dns"
    )


def test_nobody_is_sent_a_signal_in_its_place(there: Installed) -> None:
    """A pid file that names somebody else holds back who asks for names; others are reloaded."""
    saved = there.host.read(f"{_AARDVARK}/aardvark.pid")
    started = "systemd-run --quiet --unit=stranger sleep 600; systemctl show -P MainPID stranger"
    pid = there.host.shell(started).stdout.strip()
    with there.configured(_RELOAD_ONLY):
        try:
            there.host.shell(f"printf {pid} > {_AARDVARK}/aardvark.pid")
            there.host.nft("delete", "table", "inet", "netavark")
            repair = f"printf {saved} > {_AARDVARK}/aardvark.pid"
            there.until(lambda: repair in there.status()["next_try"], "told how to repair it")
            assert there.host.unit_state("stranger") == "active"
            there.host.shell(repair)
            there.until_whole(30)
            assert there.host.unit_state("stranger") == "active"
        finally:
            there.host.shell(f"printf {saved} > {_AARDVARK}/aardvark.pid; systemctl stop stranger")
