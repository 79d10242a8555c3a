# SPDX-License-Identifier: Apache-2.0
"""Debian 12 with CNI and without firewalld: its firewall plugin lets containers through itself."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, built_package
from tests.lab.containers import standard_set, web
from tests.lab.host import Host
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """Such a host with podwatch installed and the standard containers running."""
    conf = containers_conf("bookworm", network_backend="cni")
    with Host("bookworm", containers_conf=conf, firewalld=False) as host:
        host.install(built_package())
        there = Installed(host, standard_set(host))
        there.until_whole(30)
        yield there


def forwarded(there: Installed) -> list[str]:
    """The rules of both families by which containers are let through."""
    saved = there.host.shell("iptables-save -t filter; ip6tables-save -t filter").stdout
    return [line for line in saved.splitlines() if line.startswith("-A") and "CNI-FORWARD" in line]


@pytest.mark.parametrize(
    "fault",
    ["iptables -F", "iptables -F; iptables -X; ip6tables -F; ip6tables -X", "nft flush ruleset"],
)
def test_what_lets_containers_through_comes_back(there: Installed, fault: str) -> None:
    """CNI-FORWARD is put back as it was, without a container being touched."""
    before = forwarded(there)
    assert len(before) > 15
    there.host.shell(fault)
    there.until_whole(10)
    assert forwarded(there) == before
    assert there.reloads() == 0


def test_what_was_seen_is_known_after_a_restart(there: Installed) -> None:
    """What was lost while podwatch was stopped is missed by `check`, and by the next daemon."""
    before = forwarded(there)
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.shell("iptables -F; iptables -X; ip6tables -F; ip6tables -X")
    assert there.check().code == 2
    there.host.run(["systemctl", "start", "podwatch"])
    there.until(lambda: forwarded(there) == before, "restored", 10)
    there.until_whole(10)
    assert there.reloads() == 0


def test_an_internal_network_is_told_as_one(there: Installed) -> None:
    """CNI forwards its ports all the same, but nobody answers there; all its rules are expected."""
    there.host.podman("network", "create", "--internal", "inn")
    web(there.host, "inner", networks=["inn"], publish=["7010:80"])
    try:
        there.until(
            lambda: "inn" in {network["name"] for network in there.status()["networks"]}, "seen"
        )
        assert there.check().code == 0
        assert any("--dports 7010" in line for line in _nat(there))
        said = there.host.run(["podwatch", "explain", "inner"], check=False)
        assert said.code == 0  # closed on purpose: it is nobody's loss
        assert (
            "– network         inn is internal: nothing outside of it gets an answer" in said.stdout
        )
        assert "– inner out by inn: closed" in said.stdout
        assert there.host.client.http(7010) is None
        assert there.host.seen_as("inner") is None
        there.host.shell("iptables -t nat -F CNI-HOSTPORT-DNAT")
        there.until(lambda: any("--dports 7010" in line for line in _nat(there)), "restored")
    finally:
        there.host.podman("rm", "--force", "--time=0", "inner")
        there.host.podman("network", "rm", "inn")
    there.until_whole()


def test_a_rule_of_a_running_container_is_kept(there: Installed) -> None:
    """With CNI's cache of a running container gone podman is believed: its rules are not taken."""
    key = web(there.host, "kept", publish=["8096:80"])
    there.until(lambda: there.host.client.http(8096) == "kept", "answering")
    there.host.shell(f"mkdir /root/aside; mv /var/lib/cni/results/*{key}* /root/aside")

    done = there.host.run(["podwatch", "restore", "--stale"], check=False)

    assert "taking away" not in done.stdout, done
    assert there.host.client.http(8096) == "kept"
    there.host.shell("mv /root/aside/* /var/lib/cni/results/")
    there.host.podman("rm", "--force", "--time=0", "kept")
    there.until_whole()


def _nat(there: Installed) -> list[str]:
    return there.host.run(["iptables-save", "-t", "nat"]).stdout.splitlines()


def test_who_is_not_root_sees_nothing_here_and_says_so(there: Installed) -> None:
    """Debian 12 stays root: with nonroot.conf all is unknown, and nothing is lost or touched."""
    drop_in = "/etc/systemd/system/podwatch.service.d/nonroot.conf"
    there.host.run(["install", "-Dm644", "/usr/share/podwatch/units/nonroot.conf", drop_in])
    before = there.host.shell("iptables-save; ip6tables-save").stdout
    there.host.run(["systemctl", "daemon-reload"])
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until(lambda: there.status()["state"] == "unknown", "unknown")
    told = there.host.run(["podwatch", "status"], check=False).stdout

    assert "podwatch has to run as root here: without nonroot.conf" in told
    assert (there.status()["missing"], there.status()["counters"]["incidents"]) == ([], 0)
    assert _rules(there.host.shell("iptables-save; ip6tables-save").stdout) == _rules(before)
    there.host.run(["rm", drop_in])
    there.host.run(["systemctl", "daemon-reload"])
    there.start_anew()
    there.until_whole(10)


def _rules(saved: str) -> list[str]:
    return [line for line in saved.splitlines() if line.startswith("-A")]
