# SPDX-License-Identifier: Apache-2.0
"""What only podman can put right of a container's link: that container alone is reloaded.

And the networks that leave no state on the host: internal ones.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, installed

pytestmark = pytest.mark.e2e

_INNER = "10.89.77"
_A_LINK = "ip link add {0} type veth peer name {0}-far; ip link set {0}-far up; ip link set {0} up"


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """A host with the standard containers, and one on an internal network."""
    with installed("trixie") as host:
        host.host.podman("network", "create", "--internal", "--subnet", f"{_INNER}.0/24", "inner")
        for name in ("inner-a", "inner-b"):
            busybox = ("local/busybox", "/busybox", "sleep", "100000")
            host.host.podman("run", "-d", "--name", name, "--network", "inner", *busybox)
        # netavark makes no rules for it, and firewalld rejects what it does not trust.
        trust = ["firewall-cmd", "--quiet", "--zone=trusted", f"--add-source={_INNER}.0/24"]
        host.host.run(trust)
        agree(host, is_open=True)
        yield host


def veth(there: Installed, name: str) -> str:
    """The host's end of a container's link."""
    index = there.host.podman("exec", name, "/busybox", "cat", "/sys/class/net/eth0/iflink")
    links = there.host.run(["ip", "-o", "link"]).stdout.splitlines()
    line = next(line for line in links if line.startswith(f"{index.strip()}: "))
    return line.split()[1].partition("@")[0]


def inside(there: Installed, name: str, script: str) -> None:
    """Run a command in a container's network namespace, as root of the host."""
    path = there.host.podman("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", name)
    there.host.shell(f"nsenter --net={path.strip()} {script}")


def delete_veth(there: Installed, name: str) -> None:
    """The link itself."""
    there.host.run(["ip", "link", "delete", veth(there, name)])


def set_down(there: Installed, name: str) -> None:
    """The container's end of it."""
    inside(there, name, "ip link set eth0 down")


def flush(there: Installed, name: str) -> None:
    """Its addresses: nothing tells of it, so somebody has to look."""
    inside(there, name, "ip address flush dev eth0")
    there.host.run(["systemctl", "reload", "podwatch"])


def reloaded_since(there: Installed, cursor: str) -> set[str]:
    """The containers, by id, that were reloaded."""
    told = there.host.shell(
        f"journalctl --no-pager --quiet _PID=1 --after-cursor='{cursor}' -o cat"
    ).stdout
    begun = [line for line in told.splitlines() if line.startswith("Starting podwatch-reload@")]
    return {line.partition("@")[2].partition(".")[0] for line in begun}


def id_of(there: Installed, name: str) -> str:
    """A container's id."""
    return there.host.podman("inspect", "--format", "{{.Id}}", name).strip()


@pytest.mark.parametrize(
    ("name", "fault", "told"),
    [
        ("dual-web", delete_veth, "its link to "),
        ("web-a", set_down, "its interface eth0 is down"),
        ("isolated-web", flush, "its interface has lost "),
        ("inner-a", delete_veth, "its link to "),
        ("inner-b", set_down, "its interface eth0 is down"),
    ],
    ids=["veth", "down", "address", "internal veth", "internal down"],
)
def test_who_lost_his_link_is_reloaded_alone(
    there: Installed, name: str, fault: Callable[[Installed, str], None], told: str
) -> None:
    """Seen, named, healed by one reload of that container, verified; every way is open again."""
    before, cursor = there.incidents(), there.host.journal_cursor()
    fault(there, name)
    there.until(lambda: there.incidents() == before + 1, "seen", 90)
    there.until(lambda: there.status()["last_incident"]["verified"], "healed")
    there.until_whole(30)
    agree(there, is_open=True)
    last = there.history()[-1]
    (missing,) = last["missing"]
    assert missing.startswith(f"{name} on network ")
    assert told in missing
    assert last["places"] == 1
    assert [how.partition(" in ")[0] for how in last["how"]] == [
        "podman network reload of 1 container"
    ]
    assert reloaded_since(there, cursor) == {id_of(there, name)}


def test_who_is_paused_is_left_until_he_is_unpaused(there: Installed) -> None:
    """A frozen container cannot be reloaded: that is said, and done afterwards."""
    link, cursor = veth(there, "web-b"), there.host.journal_cursor()
    there.host.podman("pause", "web-b")
    there.host.run(["ip", "link", "delete", link])
    there.until(lambda: there.status()["state"] == "lost", "lost")
    there.until(
        lambda: (
            "podman unpause"
            in there.host.shell(
                f"journalctl -u podwatch --no-pager -o cat --after-cursor='{cursor}'"
            ).stdout
        ),
        "told why not",
    )
    assert reloaded_since(there, cursor) == set()
    there.host.podman("unpause", "web-b")
    there.until_whole(30)
    assert reloaded_since(there, cursor) == {id_of(there, "web-b")}


def test_a_lost_ipv6_address_alone_is_told(there: Installed) -> None:
    """The container may have switched IPv6 off: a reload would cost it IPv4, too."""
    cursor = there.host.journal_cursor()
    there.until_whole(30)
    inside(there, "dual-udp", "sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
    there.host.run(["systemctl", "reload", "podwatch"])
    there.until(lambda: there.status()["state"] == "lost", "lost", 90)
    try:
        told = there.host.run(["podwatch", "status"], check=False).stdout
        assert "its interface has lost fd10:89:10::3" in told
        assert "disable_ipv6; only if that is 0: podman network reload dual-udp" in told
        closed = there.containers.probe_ports()
        assert [way for way in closed if "2001:db8::1" not in way] == []
        assert reloaded_since(there, cursor) == set()
    finally:
        inside(there, "dual-udp", "sysctl -qw net.ipv6.conf.all.disable_ipv6=0")
        there.host.podman("network", "reload", "dual-udp")
        there.until_whole(30)


def test_churn_is_no_loss(there: Installed) -> None:
    """Containers that start, stop, join and leave networks are missed by nobody."""
    before, cursor = there.incidents(), there.host.journal_cursor()
    there.host.shell(
        "for n in $(seq 20); do "
        "podman run -d --name churn-$n --network $(test $((n % 2)) = 0 && echo inner || echo dual) "
        "local/busybox /busybox sleep 1000 >/dev/null; "
        "test $((n % 4)) != 0 || podman network connect isolated churn-$n; done; "
        "for n in 4 8 12 16 20; do podman network disconnect isolated churn-$n; done; "
        "for n in 2 5; do podman restart -t 0 churn-$n >/dev/null; done; "
        "podman rm -f -t 0 $(seq -f churn-%g 20) >/dev/null",
        timeout=300,
    )
    there.until(lambda: there.status()["state"] in ("ok", "degraded"), "well")
    assert there.check().code in (0, 1)
    assert there.incidents() == before
    assert reloaded_since(there, cursor) == set()


@pytest.fixture
def parent(there: Installed) -> Iterator[str]:
    """A link of its own, with a macvlan network on it, and a container on that."""
    link = "lan7"
    there.host.shell(
        f"{_A_LINK.format(link)}; "
        f"podman network create -d macvlan -o parent={link} --subnet 10.89.66.0/24 over; "
        "podman run -d --name tv --network over local/busybox /busybox sleep 10000"
    )
    there.until(lambda: "tv" in there.host.run(["podwatch", "status", "--all"]).stdout, "known")
    yield link
    gone = "podman rm -f -t 0 tv; podman network rm over; ip link delete lan7"
    there.host.shell(gone, check=False)


def test_a_parent_is_told_of_and_left_alone(there: Installed, parent: str) -> None:
    """Down, up again, renamed, gone: each is named with what to do, and nobody is reloaded.

    Once a parent that was gone is back, its container is, as his interface went with it.
    """
    cursor = there.host.journal_cursor()

    def told() -> str:
        return there.host.run(["podwatch", "status"], check=False).stdout

    there.host.run(["ip", "link", "set", parent, "down"])
    there.until(lambda: f"its parent {parent} is down, which cuts off tv" in told(), "down")
    assert f"ip link set {parent} up" in told()
    assert (there.status()["state"], there.check().code) == ("lost", 2)
    there.host.run(["ip", "link", "set", parent, "up"])
    there.until(lambda: there.status()["state"] == "ok", "up again")

    there.host.shell(f"ip link set {parent} down; ip link set {parent} name lan8")
    there.host.shell("ip link set lan8 up")
    there.until(lambda: f"its parent {parent} is called lan8 now" in told(), "renamed")
    assert there.status()["state"] == "degraded"
    there.host.shell(f"ip link set lan8 down; ip link set lan8 name {parent}")
    there.host.run(["ip", "link", "set", parent, "up"])
    there.until(lambda: there.status()["state"] == "ok", "called as before")

    there.host.run(["ip", "link", "delete", parent])
    there.until(lambda: f"its parent {parent} is not there, which cuts off tv" in told(), "gone")
    assert reloaded_since(there, cursor) == set()
    there.host.shell(_A_LINK.format(parent))
    there.until(lambda: reloaded_since(there, cursor) == {id_of(there, "tv")}, "reloaded")
    there.until(lambda: there.status()["state"] == "ok", "back, and the container on it")


def test_nobody_is_reloaded_into_nothing(there: Installed) -> None:
    """A pid file that names a stranger: he would be sent SIGHUP, and then no name server found.

    The link that is gone is told, with why it is not put back; it is, once the file is right.
    """
    pid_file = "/run/containers/networks/aardvark-dns/aardvark.pid"
    saved = there.host.read(pid_file)
    there.host.shell("systemd-run --quiet --unit=stranger sleep 600")
    stranger = there.host.unit_show("stranger", "MainPID")["MainPID"]
    with there.configured("[restore]\nnames = false\n"):
        there.until_whole(30)
        cursor = there.host.journal_cursor()
        try:
            there.host.shell(f"printf {stranger} > {pid_file}")
            delete_veth(there, "isolated-web")

            def held_back() -> bool:
                lost = [loss["what"] for loss in there.status()["missing"]]
                is_told = any("its link to " in what for what in lost)
                return is_told and saved in there.status()["next_try"]

            there.until(held_back, "told, and how to repair it")
            assert reloaded_since(there, cursor) == set()
            assert there.host.unit_state("stranger") == "active"
        finally:
            there.host.shell(f"printf {saved} > {pid_file}")
        there.until_whole(30)
        assert reloaded_since(there, cursor) == {id_of(there, "isolated-web")}
        assert there.host.unit_state("stranger") == "active"
    there.host.run(["systemctl", "stop", "stranger"])
