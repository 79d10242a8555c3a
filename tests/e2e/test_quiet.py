# SPDX-License-Identifier: Apache-2.0
"""Nothing is done, and nothing is told, when nothing is wrong."""

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, on_one_suite
from tests.lab.containers import many
from tests.lab.network_faults import HARMLESS, script

pytestmark = pytest.mark.e2e

_CHURN = """
for c in "$@"; do podman restart -t 0 "$c" >/dev/null; podman rename "$c" "r$c"; done
for c in "$@"; do podman stop -t 0 "r$c" >/dev/null; done
for c in "$@"; do podman start "r$c" >/dev/null; done
for i in 1 2 3 4 5; do
    podman network create n$i >/dev/null; podman network rm n$i >/dev/null
done
"""


def test_the_first_containers_are_no_riddle(there: Installed) -> None:
    """podwatch was there before any container: nothing was unknown while the first were set up."""
    told = there.host.journal("podwatch")

    assert "watches Podman's network rules" in told
    assert "unknown" not in told
    assert "missing" not in told


_LINKS_OF_OTHERS = """
ip link add virbr0 type bridge; ip addr add 192.168.122.1/24 dev virbr0; ip link set virbr0 up
dnsmasq --pid-file=/run/virbr0.pid --interface=virbr0 --bind-interfaces --except-interface=lo
for i in 1 2 3; do
    ip link add tap$i type veth peer name guest$i; ip link set guest$i up
    ip link set tap$i master virbr0 up; ip link set tap$i down; ip link set tap$i nomaster
    ip addr add 198.51.100.$i/24 dev tap$i; ip addr flush dev tap$i; ip link del tap$i
done
ip route add 198.51.100.0/24 via 192.0.2.2; ip route del 198.51.100.0/24
ip addr add 192.0.2.77/24 dev eth0; ip addr del 192.0.2.77/24 dev eth0
kill $(cat /run/virbr0.pid)
ip link set virbr0 down; ip link set virbr0 up; ip addr flush dev virbr0; ip link del virbr0
"""
_NETWORKS = """
for i in 1 2 3 4 5; do
    podman network create --ipv6 --subnet 10.90.$i.0/24 --subnet fd90:$i::/64 m$i >/dev/null
    podman run -d --name first$i --network m$i --network dual local/busybox /busybox sleep 600
    podman run -d --name second$i --network m$i --publish 2400$i:80 local/busybox /busybox sleep 600
    podman network disconnect dual first$i; podman network connect podman first$i
    podman rm -f -t 0 first$i second$i >/dev/null; podman network rm m$i >/dev/null
    podman network create --internal --disable-dns --subnet 10.91.$i.0/24 n$i >/dev/null
    podman run -d --name third$i --network n$i local/busybox /busybox sleep 600
    sleep 2  # it is there, and podwatch knows it
    podman rm -f -t 0 third$i >/dev/null; podman network rm n$i >/dev/null
done
"""


def nothing_invented(there: Installed, lines: str) -> None:
    """What a shell script does is neither loss nor repair, nor anything for the journal."""
    cursor, before = there.host.journal_cursor(), there.status()["counters"]
    there.host.shell(lines, timeout=240)
    agree(there, is_open=True)

    told = there.host.journal("podwatch", since_cursor=cursor)
    assert "missing" not in told, told
    after = there.status()["counters"]
    assert {name: after[name] - before[name] for name in before if name != "looks"} == {
        "incidents": 0,
        "restored": 0,
        "failed": 0,
    }
    assert there.reloads() == 0


def test_links_of_others_are_no_loss(there: Installed) -> None:
    """A bridge as libvirt's with its name server, links and routes of others come and go."""
    nothing_invented(there, _LINKS_OF_OTHERS)


def test_what_closes_no_way_is_no_loss(there: Installed) -> None:
    """Settings of Podman's own bridges that close no way are nobody's loss, nor is their end."""
    nothing_invented(there, script(*(change.strikes for change in HARMLESS)))
    nothing_invented(there, script(*(change.mends for change in HARMLESS)))


@on_one_suite
def test_networks_that_come_and_go_are_no_loss(there: Installed) -> None:
    """Networks and bridges made and removed, containers joining and leaving: nothing is done."""

    def bridges() -> str:
        return there.host.run(["ip", "-br", "link", "show", "type", "bridge"]).stdout

    before = bridges()
    nothing_invented(there, _NETWORKS)
    there.until(lambda: bridges() == before, "without a bridge that nobody needs")


@on_one_suite
def test_churn_is_no_loss(there: Installed) -> None:
    """Starting, stopping, restarting and renaming 50 containers is neither loss nor repair."""
    before = there.incidents()
    churned = many(there.host, 50)
    names = " ".join(container.name for container in churned.containers)
    there.host.shell(f"set -e; set -- {names}\n{_CHURN}", timeout=240)
    there.until_whole(20)

    assert there.incidents() == before
    assert there.reloads() == 0
    there.host.shell("podman rm -f -t 0 $(podman ps -q --filter name=^r) >/dev/null", timeout=120)


def test_rules_of_others_are_no_loss(there: Installed) -> None:
    """Rules in other tables, made and removed, concern nobody."""
    before = there.incidents()
    there.host.shell(
        "nft add table inet theirs; nft add chain inet theirs c; "
        "nft add rule inet theirs c accept; nft flush table inet theirs; "
        "nft delete table inet theirs"
    )
    there.until_whole(8)

    assert there.incidents() == before
    assert there.reloads() == 0


def test_ufw_leaves_the_rules(there: Installed) -> None:
    """`ufw enable` and `ufw reload` remove no rule of netavark's: no loss, no repair."""
    before = there.incidents()
    there.host.shell("ufw --force enable; ufw reload; ufw --force disable")
    there.until(lambda: there.check().code == 0, "ok", 10)

    assert there.incidents() == before
    assert there.reloads() == 0


def test_a_firewalld_that_stops_is_no_riddle(there: Installed) -> None:
    """`systemctl stop firewalld`, heard while firewalld is asked, leaves nothing unknown."""
    cursor = there.host.journal_cursor()
    for _ in range(3):
        there.host.run(["systemctl", "stop", "firewalld"])
        there.until_whole()
        there.host.run(["systemctl", "start", "firewalld"])
        there.until_whole()

    assert "unknown" not in there.host.journal("podwatch", since_cursor=cursor)
