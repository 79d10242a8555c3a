# SPDX-License-Identifier: Apache-2.0
"""Every rule in place, and no packet forwarded: what netavark set in the kernel was set back."""

import pytest

from tests.e2e.conftest import SUITES
from tests.e2e.installed import Installed, on_one_suite
from tests.lab.client import HOST_LINK

pytestmark = pytest.mark.e2e

of_each_netavark = pytest.mark.parametrize("there", ["bookworm", *SUITES], indirect=True)
"""Without state, with it, and with files in sysctl.d of its own."""

_SITE = "/etc/sysctl.d/99-site.conf"


# Debian 12's container image has no sysctl(8); systemd's own program reads the same files.
_RESET = "if command -v sysctl; then sysctl -q --system; else systemctl restart systemd-sysctl; fi"


def _path(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def _value(there: Installed, name: str) -> str:
    return there.host.read(_path(name)).strip()


def _set(there: Installed, name: str, value: str) -> None:
    there.host.shell(f"echo {value} > {_path(name)}")


@of_each_netavark
@pytest.mark.parametrize("setting", ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
def test_forwarding_comes_back(there: Installed, setting: str) -> None:
    """A site's file that forbids forwarding is applied: back at once, named, nothing reloaded."""
    before, incidents = there.reloads(), there.incidents()
    there.host.write(_SITE, f"{setting} = 0\n")
    try:
        there.host.shell(_RESET, check=False)
        there.until(lambda: _value(there, setting) == "1", "set again", 1)
    finally:
        there.host.run(["rm", _SITE])
    there.until(lambda: there.incidents() > incidents, "told", 3)
    there.until_whole()
    incident = there.status()["last_incident"]

    assert f"{setting} is 0, not 1" in incident["missing"]
    assert incident["verified"]
    assert incident["methods"] == ["sysctls"]
    assert there.reloads() == before


@of_each_netavark
@pytest.mark.parametrize("which", ["bridge", "uplink"])
def test_forwarding_of_one_link_comes_back(there: Installed, which: str) -> None:
    """The host forwards, and one link does not: back at once, named, nothing reloaded."""
    bridge = there.status()["networks"][0]["bridge"]
    setting = f"net.ipv4.conf.{bridge if which == 'bridge' else HOST_LINK}.forwarding"
    before, incidents = there.reloads(), there.incidents()
    _set(there, setting, "0")
    there.until(lambda: _value(there, setting) == "1", "set again", 1)
    there.until(lambda: there.incidents() > incidents, "told", 3)
    there.until_whole()
    (missing,) = there.status()["last_incident"]["missing"]

    assert missing.endswith(f"{setting} is 0, not 1")
    assert there.reloads() == before


@on_one_suite
def test_forwarding_of_a_link_beside_the_uplink_is_told(there: Installed) -> None:
    """Its neighbours reach no port, and it may be meant so: named with what to do, and left."""
    setting = "net.ipv4.conf.site0.forwarding"

    def told() -> str:
        return there.host.run(["podwatch", "status"], check=False).stdout

    there.host.shell("ip link add site0 type veth peer name site1")
    try:
        there.host.shell("ip addr add 198.51.100.1/24 dev site0; ip link set site0 up")
        there.host.shell("ip link set site1 up; systemctl reload podwatch")
        there.until(lambda: _value(there, setting) == "1", "forwarding as all others do", 3)
        there.until(lambda: there.status()["state"] == "ok", "looked at", 5)
        _set(there, setting, "0")
        there.until(lambda: there.status()["state"] == "degraded", "told", 3)
        assert f"{setting} is 0: what comes in by site0 is not forwarded" in told()
        assert f"sysctl -w {setting}=1" in told()
        explained = there.host.run(["podwatch", "explain", "web-a"], check=False).stdout
        assert "what comes in by site0 is not forwarded" in explained
        assert _value(there, setting) == "0"
        _set(there, setting, "1")
        there.until(lambda: there.status()["state"] == "ok", "as it was", 3)
    finally:
        there.host.shell("ip link del site0")
    there.until_whole()


@of_each_netavark
def test_a_host_that_never_forwarded_is_made_no_router(there: Installed) -> None:
    """Nobody saw it forward and netavark does not say that it had it do so: told, left alone."""
    setting = "net.ipv4.ip_forward"
    incidents = there.history()
    there.host.shell("systemctl stop podwatch; rm -f /run/podwatch/rules.json")
    there.host.shell("mkdir /run/kept; mv /run/sysctl.d/10-netavark-* /run/kept/", check=False)
    try:
        _set(there, setting, "0")
        there.host.run(["systemctl", "start", "podwatch"])
        there.until(lambda: there.status()["state"] == "lost", "told", 5)
        (told,) = [
            warning for warning in there.status()["warnings"] if warning["kind"] == "forwarding"
        ]
        assert setting in told["what"]
        assert _value(there, setting) == "0"
        assert there.history() == incidents

        there.host.shell("mv /run/kept/* /run/sysctl.d/", check=False)
        if there.host.suite == "forky":  # its netavark says what it set
            there.host.run(["systemctl", "reload", "podwatch"])
        else:
            _set(there, setting, "1")
        there.until(lambda: _value(there, setting) == "1", "set again", 5)
    finally:
        _set(there, setting, "1")
        there.host.shell("mv /run/kept/* /run/sysctl.d/; rmdir /run/kept", check=False)
        there.host.run(["systemctl", "restart", "podwatch"])
    there.until_whole()


@on_one_suite
def test_route_localnet_alone_comes_back_without_a_look(there: Installed) -> None:
    """No event tells of it: it is read with the heartbeat, long before the next slow look."""
    setting = f"net.ipv4.conf.{there.status()['networks'][0]['bridge']}.route_localnet"
    _set(there, setting, "0")
    there.until(lambda: _value(there, setting) == "1", "set again", 22)
    there.until_whole()


@of_each_netavark
def test_a_bridges_settings_come_back(there: Installed) -> None:
    """rp_filter of a bridge at once, where netavark sets it; route_localnet at the next look."""
    bridge = f"net.ipv4.conf.{there.status()['networks'][0]['bridge']}"
    if there.host.suite != "bookworm":  # netavark 1.4 leaves rp_filter alone
        _set(there, f"{bridge}.rp_filter", "1")
        there.until(lambda: _value(there, f"{bridge}.rp_filter") == "2", "set again", 1)
    _set(there, f"{bridge}.route_localnet", "0")
    there.host.run(["systemctl", "reload", "podwatch"])
    there.until(lambda: _value(there, f"{bridge}.route_localnet") == "1", "set again", 1)
    there.until_whole()


@of_each_netavark
def test_what_was_seen_is_known_after_a_restart(there: Installed) -> None:
    """A bridge's setting that was set back while podwatch was stopped is missing all the same."""
    bridge = f"net.ipv4.conf.{there.status()['networks'][0]['bridge']}"
    there.host.run(["systemctl", "stop", "podwatch"])
    _set(there, f"{bridge}.route_localnet", "0")
    assert there.check().code == 2
    there.host.run(["systemctl", "start", "podwatch"])
    there.until(lambda: _value(there, f"{bridge}.route_localnet") == "1", "set again", 5)
    there.until_whole()


@on_one_suite
def test_a_fight_over_a_setting_is_a_slow_one(there: Installed) -> None:
    """Somebody who sets it back again and again is not fought with at his pace."""
    restored = there.status()["counters"]["restored"]
    there.host.shell(
        f"for n in $(seq 100); do echo 0 > {_path('net.ipv4.ip_forward')}; sleep 0.05; done"
    )
    there.until_whole(60)

    assert there.status()["counters"]["restored"] - restored <= 12


@on_one_suite
def test_switched_off_it_is_only_told(there: Installed) -> None:
    """restore.sysctls = false: lost, said which setting, and left alone."""
    with there.configured("[restore]\nsysctls = false\n"):
        _set(there, "net.ipv4.ip_forward", "0")
        there.until(lambda: there.status()["state"] == "lost", "told", 3)
        told = there.host.run(["podwatch", "status"], check=False).stdout
        assert "net.ipv4.ip_forward is 0, not 1" in told
        assert _value(there, "net.ipv4.ip_forward") == "0"
    there.until_whole()
