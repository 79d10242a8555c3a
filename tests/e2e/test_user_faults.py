# SPDX-License-Identifier: Apache-2.0
"""A user's containers taken off the network in every way: each seen, named and put back.

While podwatch is paused each fault closes exactly the ways that the lab says: so it is without
podwatch, too. No container is ever started anew.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.installed import on_one_suite
from tests.e2e.of_user import OfUser, booted, watched
from tests.lab.client import HOST_V4
from tests.lab.user_containers import standard_set
from tests.lab.user_faults import (
    FAULTS,
    LINKS,
    UserFault,
    kill_name_server,
    kill_port,
    kill_relay,
    kill_uplink,
)

pytestmark = pytest.mark.e2e

SUITES = ("trixie", "forky", "bookworm")


@pytest.fixture(scope="module", params=SUITES)
def there(request: pytest.FixtureRequest) -> Iterator[OfUser]:
    """A user whose containers podwatch watches."""
    with booted(request.param) as host:
        yield watched(host)


@contextmanager
def nothing_touched(there: OfUser) -> Iterator[None]:
    """After the block all is open, and it is the same containers, namespace and kinds of relay."""
    lives, netns, relays = there.containers.lives(), there.user.netns(), there.user.relays()
    yield
    there.until_whole()
    there.until(lambda: there.status()["state"] == "ok", "ok")
    assert there.containers.lives() == lives
    assert there.user.netns() == netns
    assert there.user.relays() == relays


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_is_lost_is_told_and_put_back(there: OfUser, fault: UserFault) -> None:
    """In a pause exactly these ways are closed, and told; after it, and the next time, all open.

    The history has it by its name, and as verified. podman goes on with what was put back.
    """
    fault = fault.on(there.host.suite)
    there.start_anew()
    with nothing_touched(there):
        with _paused(there):
            fault.strike(there.containers)
            there.until(lambda: there.status()["state"] == "lost", "told")
            assert there.containers.closed() == fault.closes
            assert fault.named in json.dumps(there.status(), ensure_ascii=False)
            assert there.check().code == 2
            if fault.mends:
                fault.mends(there.containers)
        there.until_whole()
        if fault.mends:
            return
        if fault in LINKS:
            there.start_anew()  # it leaves alone what is lost again right after its repair
        counted = len(there.history())
        fault.strike(there.containers)
        there.until(lambda: len(there.history()) > counted, "in the history")
        there.until(lambda: there.history()[-1]["verified"], "verified")
        losses = [what for incident in there.history()[counted:] for what in incident["missing"]]
        assert any(fault.named in what for what in losses), losses
        start = ["run", "--rm", "--network=n1", "local/busybox", "/busybox", "true"]
        there.user.podman(*start)


@contextmanager
def _paused(there: OfUser) -> Iterator[None]:
    there.user.run(["podwatch", "pause"])
    try:
        yield
    finally:
        there.user.run(["podwatch", "resume"])


def test_what_was_put_back_outlives_podwatch(there: OfUser) -> None:
    """Relays it started are no part of its unit: it is stopped, and every way stays open."""
    with nothing_touched(there):
        kill_uplink(there.containers)
        kill_name_server(there.containers)
        kill_port(there.containers, "web1", "rootlessport")
        there.until_whole()
        there.systemctl("stop", "podwatch")
        assert there.containers.closed() == set()
        there.systemctl("start", "podwatch")


@pytest.mark.parametrize("how", ["stop", "kill --signal=KILL"])
def test_what_is_lost_while_podwatch_does_not_run_is_put_back(there: OfUser, how: str) -> None:
    """Stopped or killed meanwhile, it knows at its start what should be there."""
    with nothing_touched(there):
        there.systemctl(*how.split(), "podwatch")
        kill_uplink(there.containers)
        kill_port(there.containers, "web1", "rootlessport")
        there.systemctl("start", "podwatch")
        there.until_whole()


def _readdress(there: OfUser, old: str, new: str) -> None:
    """Give the host another address on its link."""
    there.host.run(f"ip address del {old}/24 dev eth0; ip address add {new}/24 dev eth0")
    there.host.run(["ip", "route", "replace", "default", "via", "192.0.2.2"])
    there.containers.host_address = new


@on_one_suite
def test_a_changed_address_of_the_host_is_told_and_mended_for_who_wants_it(there: OfUser) -> None:
    """pasta goes on with the old one: told, and nothing is done; with the setting, all is open."""
    with nothing_touched(there):
        uplink = there.user.uplink()
        _readdress(there, HOST_V4, "192.0.2.9")
        try:
            closed = there.containers.closed()
            assert "web1 host.containers.internal" in closed
            assert not any(way.endswith((" port", " out", " name")) for way in closed)
            there.until(lambda: "took over 192.0.2.1" in json.dumps(there.status()), "told", 30)
            assert there.user.uplink() == uplink
            with there.configured("[restore]\nhost_address = true\n"):
                there.until(
                    lambda: not any(way.startswith("web1 ") for way in there.containers.closed()),
                    "mended",
                    30,
                )
        finally:
            _readdress(there, "192.0.2.9", HOST_V4)
            with there.configured("[restore]\nhost_address = true\n"):
                there.until_whole(30)


def test_a_start_without_a_default_route_is_mended_when_there_is_one(there: OfUser) -> None:
    """pasta copies the routes there are at its start: those of the host come later, and reach."""
    there.user.podman("rm", "--all", "--force", "--time=0", timeout=90)
    there.user.podman("network", "prune", "--force")
    there.host.run("ip route del default")
    there.containers = standard_set(there.user)
    assert {f"{name} out" for name in ("web", "web1")} <= there.containers.closed()
    there.host.run("ip route add default via 192.0.2.2")
    lives = there.containers.lives()
    of_bridges = {f"{box.name} out" for box in there.containers.boxes.values() if box.address}
    there.until(lambda: not there.containers.closed() & of_bridges, "out")
    if "web out" in there.containers.closed():
        assert "podman restart web" in json.dumps(there.status())
    assert there.containers.lives() == lives


def test_a_lost_count_is_told_with_its_cure(there: OfUser) -> None:
    """Before it podman would take the namespace from running containers; after it, it does not."""
    if there.host.suite == "bookworm":
        return  # podman 4.3 counts nobody
    count = f"{there.user.runtime}/containers/networks/rootless-netns/ref-count"
    with nothing_touched(there):
        counted = there.user.read(count)
        there.user.run(["rm", count])
        there.until(lambda: "ref-count" in json.dumps(there.status()["warnings"]), "told")
        (warning,) = there.status()["warnings"]
        there.user.run(warning["advice"])
        assert there.user.read(count) == counted
        there.until(lambda: there.status()["state"] == "ok", "ok")
        there.user.podman("unshare", "--rootless-netns", "true")


def test_a_lost_link_and_uplink_are_put_back_by_podman_itself(there: OfUser) -> None:
    """podman is started outside of podwatch's sandbox: its pasta would not run in there."""
    with nothing_touched(there):
        counted = len(there.history())
        there.user.run(
            there.user.in_netns(
                [
                    "sh",
                    "-c",
                    "ip link del $(ip -o link show master podman1 | cut -d' ' -f2 | "
                    "cut -d@ -f1 | head -n 1)",
                ]
            )
        )
        kill_uplink(there.containers)
        there.until_whole(40)
        done = [way for incident in there.history()[counted:] for way in incident["methods"]]
        assert "rewire" in done


def test_the_hosts_metrics_are_not_a_users(there: OfUser) -> None:
    """Where root's podwatch answers, a user's does not, and it starts all the same."""
    path = "/etc/podwatch/podwatch.conf.d/metrics.conf"
    there.host.write(path, '[metrics]\nlisten = "127.0.0.1:9842"\n')
    try:
        there.start_anew()
        assert there.status()["state"] == "ok"
    finally:
        there.host.run(["rm", path])


def test_what_podman_keeps_of_networks_is_removed(there: OfUser) -> None:
    """It is told with what helps, nothing is reloaded, and what helps does."""
    if there.host.suite == "bookworm":
        return  # podman 4.3 keeps it elsewhere
    lives, counted = there.containers.lives(), len(there.history())
    there.user.run(["rm", "-rf", f"{there.user.runtime}/containers/networks"])
    there.until(lambda: "stop all containers" in json.dumps(there.status()), "told")
    assert there.status()["state"] == "lost"
    assert "podman network reload" not in json.dumps(there.status())
    assert there.containers.lives() == lives
    there.user.podman("stop", "--all", "--time=0", check=False, timeout=90)
    there.user.podman("start", "--all", check=False, timeout=90)
    there.containers.look()
    there.until_whole(60)
    there.until(lambda: there.status()["state"] == "ok", "ok")
    tried = [way for incident in there.history()[counted:] for way in incident["methods"]]
    assert "reload" not in tried
    assert "escalate" not in tried


def test_nothing_is_left_when_podman_removes_everything(there: OfUser) -> None:
    """`podman rm -af` ends each relay that podwatch put back, and the namespace with its mount."""
    kill_uplink(there.containers)
    kill_name_server(there.containers)
    kill_port(there.containers, "web1", "rootlessport")
    kill_relay(there.containers, "web")
    there.until_whole()
    there.user.podman("rm", "--all", "--force", "--time=0", timeout=90)
    there.until(lambda: not any(there.user.relays().values()), "without a relay")
    there.until(lambda: not there.user.netns(), "unmounted")
    there.until(lambda: there.status()["state"] == "ok", "ok")
    units = ["list-units", "--no-legend", "--state=active,failed", "podwatch-*"]
    there.until(lambda: not there.systemctl(*units), "without a unit")
