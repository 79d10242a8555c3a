# SPDX-License-Identifier: Apache-2.0
"""NetworkManager and systemd-networkd for real, which take Podman's bridges for theirs.

What they take away is put back, unless a profile of theirs wants it so: then it is told, with what
to tell them. On Debian 13; the host's own link is left out of it.
"""

import json
import time
from collections.abc import Iterator

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, on_one_suite

pytestmark = [pytest.mark.e2e, on_one_suite]

_NOT_THE_LAN = "[keyfile]\nunmanaged-devices=interface-name:eth0\n"
_EVERYTHING = "[Match]\nName=*\nType=!loopback\n[Network]\nDHCP=yes\n"
_LAN = """[Match]
Name=eth0
[Network]
Address=192.0.2.1/24
Address=2001:db8::1/64
Gateway=192.0.2.2
Gateway=2001:db8::2
IPv6AcceptRA=no
"""
NETWORKD = "/etc/systemd/network"


@pytest.fixture
def manager(there: Installed) -> Iterator[Installed]:
    """The host with NetworkManager running."""
    there.host.write("/etc/NetworkManager/conf.d/lan.conf", _NOT_THE_LAN)
    there.host.run(["systemctl", "start", "NetworkManager"])
    there.until(lambda: "(externally)" in there.host.run(["nmcli", "-t", "device"]).stdout, "up")
    there.start_anew()
    yield there
    there.host.shell(
        "nmcli networking on; systemctl stop NetworkManager; "
        "rm -rf /etc/NetworkManager/conf.d/* /etc/NetworkManager/system-connections/* "
        "/run/NetworkManager /var/lib/NetworkManager/*",
        check=False,
    )
    agree(there, is_open=True)


@pytest.fixture
def networkd(there: Installed) -> Iterator[Installed]:
    """The host with systemd-networkd running, which has the host's own link and no other."""
    there.start_anew()
    there.host.write(f"{NETWORKD}/10-lan.network", _LAN)
    there.host.run(["systemctl", "start", "systemd-networkd"])
    yield there
    there.host.shell(
        f"rm -f {NETWORKD}/*; systemctl stop systemd-networkd.socket systemd-networkd", check=False
    )
    agree(there, is_open=True)


def bridge_of_dual(there: Installed) -> str:
    """The bridge of the network that has both address families and names."""
    return str(json.loads(there.host.podman("network", "inspect", "dual"))[0]["network_interface"])


def until_healed(there: Installed, told: str) -> None:
    """Every way is open, and history tells of what was lost."""
    there.until(lambda: bool(there.incidents()), "noticed")
    agree(there, is_open=True)
    incidents = there.history()[-there.incidents() :]
    assert told in "; ".join("; ".join(incident["missing"]) for incident in incidents)


def test_networkmanager_that_starts_anew_is_nothing(manager: Installed) -> None:
    """It finds bridges and links as they are, and lets them be: no loss, nothing done."""
    before = len(manager.history())
    manager.host.run(["systemctl", "restart", "NetworkManager"])
    manager.until(lambda: "(externally)" in manager.host.run(["nmcli", "-t", "dev"]).stdout, "up")
    agree(manager, is_open=True)

    assert len(manager.history()) == before
    assert manager.incidents() == 0
    looked = ["podwatch", "check", "--all"]
    manager.until(lambda: "unmanaged-devices" in manager.host.run(looked).stdout, "told before")


def test_networking_off_and_on(manager: Installed) -> None:
    """`nmcli networking off` takes all addresses from all bridges: they are back, before `on`."""
    manager.host.run(["nmcli", "networking", "off"])
    until_healed(manager, "10.88.0.1/16")
    manager.host.run(["nmcli", "networking", "on"])
    agree(manager, is_open=True)

    assert manager.reloads() == 0


def test_a_bridge_disconnected(manager: Installed) -> None:
    """`nmcli device disconnect` takes a bridge's addresses: they are back, and last."""
    manager.host.run(["nmcli", "device", "disconnect", bridge_of_dual(manager)])
    until_healed(manager, "10.89.10.1/24")
    assert manager.reloads() == 0


def test_a_profile_for_a_bridge_is_told(manager: Installed) -> None:
    """A profile of the administrator's that has a bridge is not fought: told, with the remedy.

    Its first steps are put right. Whether a later one is left alone depends on how soon it comes.
    """
    bridge, before = bridge_of_dual(manager), manager.incidents()
    profile = f"type bridge ifname {bridge} con-name mine ipv4.method disabled bridge.stp no"
    manager.host.shell(f"nmcli connection add {profile}; nmcli connection up mine")
    manager.until(lambda: manager.incidents() > before, "noticed")
    left = "somebody wants it so, and it is left alone"

    def is_settled() -> bool:
        told, last = manager.status(), manager.status()["last_incident"]
        is_whole = told["state"] == "ok" and last["verified"]
        return left in told["next_try"] or (is_whole and time.time() > last["restored_at"] + 5)

    manager.until(is_settled, "left alone, or put right for good", 20)
    is_open = manager.status()["state"] == "ok"
    agree(manager, is_open=is_open)
    reloads = manager.reloads()

    told = manager.host.run(["podwatch", "status"], check=False).stdout
    assert bridge in told
    assert (left in told) is not is_open
    assert "unmanaged-devices" in told
    manager.host.shell("nmcli connection down mine; nmcli connection delete mine")
    manager.host.run(["podwatch", "restore"])
    agree(manager, is_open=True)
    assert manager.reloads() == reloads


def test_networkd_that_starts_anew_is_nothing(networkd: Installed) -> None:
    """Without a file that matches Podman's bridges it lets them be: no loss, nothing done."""
    before = len(networkd.history())
    networkd.host.run(["systemctl", "restart", "systemd-networkd"])
    agree(networkd, is_open=True)

    assert len(networkd.history()) == before
    assert networkd.incidents() == 0


def test_a_file_that_matches_everything(networkd: Installed) -> None:
    """networkd takes all addresses, and all links off their bridges: healed, told how to end it."""
    networkd.host.write(f"{NETWORKD}/90-all.network", _EVERYTHING)
    networkd.host.run(["systemctl", "restart", "systemd-networkd"])
    until_healed(networkd, "10.89.10.1/24")
    told = ["podwatch", "status"]
    networkd.until(lambda: "Unmanaged=yes" in networkd.host.run(told).stdout, "told at a heartbeat")
    # Who takes an IPv6 address, or a port off its bridge, the kernel does not say: what is found
    # lost of these alone has no name. It names who takes an IPv4 address.
    whose = {one["cause"] for one in networkd.history()[-networkd.incidents() :]}
    named = [one for one in whose if ", by " in one]
    assert named, whose
    assert all("unit systemd-networkd.service" in one for one in named), whose
    networkd.start_anew()
    networkd.host.run(["networkctl", "reconfigure", bridge_of_dual(networkd)])
    until_healed(networkd, "10.89.10.1/24")
    assert networkd.reloads() == 0


def test_what_is_advised_for_networkd_cures(networkd: Installed) -> None:
    """With the file that the note tells of, networkd's restart takes nothing."""
    cure = "[Match]\nName=podman* veth*\n[Link]\nUnmanaged=yes\n"
    networkd.host.write(f"{NETWORKD}/90-all.network", _EVERYTHING)
    networkd.host.write(f"{NETWORKD}/05-podman.network", cure)
    before = len(networkd.history())
    networkd.host.run(["systemctl", "restart", "systemd-networkd"])
    agree(networkd, is_open=True)

    assert len(networkd.history()) == before
