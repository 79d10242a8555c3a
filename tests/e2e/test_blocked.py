# SPDX-License-Identifier: Apache-2.0
"""Where a repair would do harm there is none: the state says why, and it heals when that ends."""

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, on_one_suite
from tests.lab.containers import web

pytestmark = pytest.mark.e2e

RELOAD_ONLY = '[restore]\nmethods = ["reload"]\nbackoff = "200ms"\nbackoff_max = "2s"\n'
_STRICT = (
    "sed -i '/^StrictForwardPorts/d' /etc/firewalld/firewalld.conf; "
    "echo StrictForwardPorts={} >> /etc/firewalld/firewalld.conf; systemctl restart firewalld"
)


def _blocked(there: Installed, kind: str) -> bool:
    return any(obstacle["kind"] == kind for obstacle in there.status()["blocked"])


def _why(there: Installed) -> str:
    """What the status says the next try waits for."""
    return str(there.status()["next_try"])


def test_panic_mode(there: Installed) -> None:
    """In firewalld's panic mode every way is told closed that is; afterwards all is put back."""
    there.host.run(["firewall-cmd", "--panic-on"])
    there.until(lambda: _blocked(there, "panic"), "blocked by panic mode")
    agree(there, is_open=False)
    there.host.nft("delete", "table", "inet", "netavark")
    there.until(lambda: there.status()["state"] == "lost", "lost")

    assert "inet netavark" not in there.host.nft("list", "tables")

    there.host.run(["firewall-cmd", "--panic-off"])
    there.until_whole()


def test_strict_forward_ports(there: Installed) -> None:
    """Under StrictForwardPorts=yes no network is reloaded, and every container keeps its own."""
    with there.configured(RELOAD_ONLY):
        there.host.shell(_STRICT.format("yes"))
        there.until(lambda: _blocked(there, "strict_forward_ports"), "blocked by strict ports")
        before = there.reloads()
        there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
        there.until(lambda: there.status()["state"] == "lost", "lost")
        looks = there.status()["counters"]["looks"]
        there.until(lambda: there.status()["counters"]["looks"] >= looks + 2, "looked twice", 30)

        assert there.reloads() == before
        assert there.containers.probe_egress() == []

        there.host.shell(_STRICT.format("no"))
        there.until(lambda: not there.status()["missing"], "healed", 20)
    there.until_whole(20)


@on_one_suite
def test_a_failing_nft(there: Installed) -> None:
    """With an nft program that fails no network is reloaded; with a working one it heals."""
    with there.configured(RELOAD_ONLY):
        before = there.reloads()
        there.host.shell(
            "mv /usr/sbin/nft /usr/sbin/nft.real; printf '#!/bin/sh\\nexit 1\\n' > /usr/sbin/nft; "
            "chmod 755 /usr/sbin/nft"
        )
        try:
            failed = there.status()["counters"]["failed"]
            there.host.run(["nft.real", "delete", "table", "inet", "netavark"])
            there.until(lambda: there.status()["counters"]["failed"] > failed, "refused", 30)
            there.until(lambda: "the nft program does not work" in _why(there), "told")
            assert there.status()["state"] == "lost"
            assert there.reloads() == before
        finally:
            there.host.run(["mv", "/usr/sbin/nft.real", "/usr/sbin/nft"])
        there.until_whole(20)


@on_one_suite
def test_a_hanging_podman(there: Installed) -> None:
    """A podman that hangs costs no container its network, and is not piled up."""
    with there.configured(RELOAD_ONLY):
        there.host.shell(
            "mv /usr/bin/podman /usr/bin/podman.real; "
            "printf '#!/bin/sh\\nexec sleep 600\\n' > /usr/bin/podman; chmod 755 /usr/bin/podman"
        )
        try:
            failed = there.status()["counters"]["failed"]
            before = there.reloads()
            there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            there.until(lambda: there.status()["counters"]["failed"] > failed, "refused", 40)
            there.until(lambda: "podman ps did not answer" in _why(there), "told")
            assert there.status()["state"] == "lost"
            assert there.reloads() == before
            running = there.host.shell("pgrep -fc 'sleep 600' || true").stdout
            assert int(running) <= 2
            assert "NETAVARK-HOSTPORT-DNAT" in there.host.nft("list", "table", "inet", "netavark")
        finally:
            there.host.shell(
                "mv /usr/bin/podman.real /usr/bin/podman; systemctl stop podwatch-inspect.service"
            )
        there.until_whole(30)


@on_one_suite
def test_a_podman_that_failed_once_is_asked_again(there: Installed) -> None:
    """A listing that failed is repeated by the slow look: the container gets its name."""
    unit = "podwatch-inspect.service"
    with there.configured('[look]\ninterval = "10s"\n'):
        cursor = there.host.journal_cursor()
        there.host.run(["systemctl", "mask", "--runtime", unit])
        try:
            web(there.host, "tardy")
            there.until(
                lambda: "podman ps did not answer" in there.host.journal("podwatch", cursor),
                "told",
            )
        finally:
            there.host.run(["systemctl", "unmask", "--runtime", unit])
        there.until(lambda: "tardy" in str(there.status()["containers"]), "named", 20)
        there.host.podman("rm", "--force", "--time=0", "tardy")
