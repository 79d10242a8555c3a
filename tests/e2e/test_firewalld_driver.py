# SPDX-License-Identifier: Apache-2.0
"""Hosts whose netavark has firewalld make all the rules: what firewalld loses comes back."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, built_package
from tests.e2e.ways import compare, explained
from tests.lab.containers import standard_set
from tests.lab.host import Host
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e

_FORWARD = "port=8081:proto=tcp:toport=80:toaddr=10.88.0.2"
_REMOVE_FORWARD = f"firewall-cmd --policy=netavark_portfwd --remove-forward-port={_FORWARD}"
_RICH = (
    'rule family="ipv4" destination address="{}" forward-port port="{}" protocol="tcp" '
    'to-port="{}" to-addr="{}"'
)
_OF_AN_ADDRESS = _RICH.format("192.0.2.1", 8084, 81, "10.89.10.2")
_FROM_THE_HOST = _RICH.format("127.0.0.1", 8082, 80, "10.88.0.3")


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """Debian 13 with the firewalld driver, without netavark's own reload unit."""
    conf = containers_conf("trixie") + '[network]\nfirewall_driver = "firewalld"\n'
    with Host("trixie", containers_conf=conf, firewalld_reload_unit=False) as host:
        host.install(built_package())
        there = Installed(host, standard_set(host))
        there.until(lambda: there.check().code == 0, "ok", 20)
        yield there


@pytest.mark.parametrize(
    "fault",
    [
        "firewall-cmd --reload",
        "systemctl restart firewalld",
        "systemctl stop firewalld; systemctl start firewalld",
    ],
)
def test_what_firewalld_forgets_is_set_up_again(there: Installed, fault: str) -> None:
    """Every published port answers again, by `podman network reload`."""
    before = there.containers.probe_ports()
    assert before == []
    reloads = there.reloads()

    there.host.shell(fault)

    there.until(lambda: there.reloads() > reloads, "reloaded", 20)
    there.until(lambda: not there.containers.probe_ports() and there.check().code == 0, "whole", 30)


@pytest.mark.parametrize(
    ("fault", "told", "reload"),
    [
        (
            _REMOVE_FORWARD,
            "web-a: 8081/tcp → 10.88.0.2:80 is not forwarded",
            True,
        ),
        (
            f"firewall-cmd --policy=netavark_portfwd --remove-rich-rule='{_OF_AN_ADDRESS}'",
            "dual-web: 192.0.2.1:8084/tcp → 10.89.10.2:81 is not forwarded",
            True,
        ),
        (
            f"firewall-cmd --policy=netavark_host_fwd --remove-rich-rule='{_FROM_THE_HOST}'",
            "web-b: 8082/tcp → 10.88.0.3:80 (127.0.0.1) is not forwarded",
            True,
        ),
        (
            "firewall-cmd --permanent --delete-policy=netavark_portfwd; firewall-cmd --reload",
            "firewalld's policy netavark_portfwd is gone",
            True,
        ),
        (  # a reload of podman's does not bring it back while the other subnet is there
            "firewall-cmd --zone=netavark_zone --remove-source=fd10:89:10::/64",
            "network dual: fd10:89:10::/64 is not a source of firewalld's zone netavark_zone",
            False,
        ),
    ],
    ids=["port", "address", "localhost", "policy", "source"],
)
def test_what_is_removed_by_hand_is_named_and_comes_back(
    there: Installed, fault: str, told: str, *, reload: bool
) -> None:
    """A forward, a policy, a source: told whose it is, and there again; others' stay single."""
    losses, reloads = there.incidents(), there.reloads()
    there.host.shell(fault)

    there.until(lambda: there.incidents() > losses, "noticed", 10)
    there.until(lambda: not there.containers.probe_ports() and there.check().code == 0, "whole", 30)
    assert told in there.host.journal("podwatch")
    assert (there.reloads() > reloads) == reload
    listed = there.host.shell("firewall-cmd --info-policy=netavark_portfwd").stdout.splitlines()
    forwards = [line for line in listed if "port=" in line]
    assert len(forwards) == len(set(forwards)) == 11


def test_explain_tells_where_packets_stop(there: Installed) -> None:
    """Every way is told as it is tried; a forward that is gone is named in firewalld's words."""
    there.until(lambda: there.status()["state"] == "ok", "ok")
    there.host.run(["systemctl", "stop", "podwatch"])
    ways = explained(there)
    compare(there, ways)
    assert not [way for way in ways if way["mark"] == "unknown"]
    assert {way["mark"] for way in ways if way["kind"] == "in"} == {"open"}

    there.host.shell(_REMOVE_FORWARD)
    ways = explained(there)
    compare(there, [way for way in ways if way["container"] == "web-a"])
    (way,) = [way for way in ways if way["kind"] == "in" and way["mark"] == "broken"]
    (hop,) = [hop for hop in way["hops"] if hop["mark"] == "broken"]
    assert hop["place"] == "port forward"
    assert hop["what"] == f"missing in netavark_portfwd: forward-port {_FORWARD}"
    assert hop["advice"] == "podwatch restore"

    there.host.run(["podwatch", "restore"])
    assert not there.containers.probe_ports()
    there.host.run(["systemctl", "start", "podwatch"])


def test_a_policy_that_does_not_masquerade_is_reported(there: Installed) -> None:
    """No reload of podman's sets it again: lost, with the command that does."""
    there.host.shell("firewall-cmd --policy=netavark_policy --remove-masquerade")
    there.until(lambda: there.status()["state"] == "lost", "lost", 10)
    (warning,) = there.status()["warnings"]
    there.host.shell(warning["advice"])
    there.until(lambda: there.status()["state"] == "ok", "ok", 10)


def test_a_stopped_firewalld_is_reported(there: Installed) -> None:
    """Without firewalld nothing can be set up, and nothing is tried: the status says so."""
    reloads = there.reloads()
    there.host.shell("systemctl stop firewalld")
    there.until(lambda: there.status()["state"] == "lost", "lost", 10)
    assert "firewalld does not run" in str(there.status()["warnings"])
    assert there.reloads() == reloads
    there.host.shell("systemctl start firewalld")
    there.until(lambda: not there.containers.probe_ports() and there.check().code == 0, "whole", 30)


@pytest.fixture(scope="module")
def older() -> Iterator[Installed]:
    """Debian 12 with the firewalld driver: netavark 1.4 keeps no state that would name it."""
    conf = containers_conf("bookworm") + 'env = ["NETAVARK_FW=firewalld"]\n'  # of the engine
    with Host("bookworm", containers_conf=conf) as host:
        host.install(built_package())
        there = Installed(host, standard_set(host))
        there.until(lambda: there.status()["driver"] == "firewalld", "told apart", 20)
        yield there


def made(there: Installed) -> list[str]:
    """What netavark made in firewalld, and what of it is in iptables."""
    asked = "firewall-cmd --info-policy=netavark_portfwd; firewall-cmd --info-zone=netavark_zone"
    listed = there.host.shell(f"{asked}; iptables-save | grep NETAVARK || true").stdout
    return sorted(listed.split())


def test_a_zone_that_rejects_questions_for_names_is_told_with_its_cure(older: Installed) -> None:
    """netavark 1.4 makes its zone with the default target: names of no container resolve."""
    ask = ["podman", "exec", "dual-web", "/busybox", "timeout", "3", "/busybox", "nslookup"]
    asked = [*ask, "-type=a", "dual-udp"]
    assert older.host.run(asked, check=False).code != 0
    older.until(lambda: len(older.status()["warnings"]) == 2, "told of both networks", 20)
    for warning in older.status()["warnings"]:
        assert (
            "netavark_zone, which rejects what its containers ask aardvark-dns" in warning["what"]
        )
        older.host.shell(warning["advice"])
    older.until(lambda: older.status()["state"] == "ok", "ok", 30)
    assert older.host.run(asked, check=False).code == 0


def test_without_state_the_driver_is_told_by_its_rules(older: Installed) -> None:
    """No rule in iptables, and the subnets in netavark_zone: watched there, and set up again."""
    assert older.status()["driver"] == "firewalld"
    whole = made(older)
    assert "NETAVARK" not in str(whole)
    losses = older.incidents()

    older.host.shell("firewall-cmd --reload")

    older.until(lambda: older.incidents() > losses, "noticed", 10)
    older.until(lambda: made(older) == whole and older.check().code == 0, "whole", 30)


def test_where_nothing_tells_the_driver_nothing_is_done(older: Installed) -> None:
    """Lost before podwatch started: unknown, and what it advises makes it known."""
    whole, reloads = made(older), older.reloads()
    older.host.shell("systemctl stop podwatch; firewall-cmd --reload; systemctl start podwatch")

    older.until(lambda: older.status()["state"] == "unknown", "unknown", 10)
    (unknown,) = older.status()["unknown"]
    assert unknown["what"] == "netavark's firewall driver"
    assert older.reloads() == reloads
    older.host.run(unknown["hint"].split())
    older.until(lambda: made(older) == whole and older.check().code == 0, "whole", 10)
    older.until(lambda: older.status()["state"] == "ok", "ok", 10)
    assert older.reloads() == reloads
