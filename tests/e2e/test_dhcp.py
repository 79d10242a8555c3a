# SPDX-License-Identifier: Apache-2.0
"""DHCP for macvlan networks: real proxies, a real server on the LAN, leases of two minutes."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.installed import CONFIG, STATUS, built_package
from tests.e2e.lan import CNI, NETAVARK, PATHS, Lan
from tests.lab.containers import ContainerSet, import_image, web
from tests.lab.dhcp_server import dhcp_server
from tests.lab.host import Host

pytestmark = pytest.mark.e2e

LAN = ("--driver=macvlan", "--opt=parent=eth0")
BACKOFF = '[dhcp]\nbackoff = "3s"\nbackoff_max = "6s"\n'
CNI_CONF = """
[containers]
pids_limit = 0
cgroups = "disabled"
default_ulimits = ["memlock=8388608:8388608", "nofile=20000:20000", "nproc=9000:9000"]
[engine]
cgroup_manager = "cgroupfs"
[network]
network_backend = "cni"
"""

SLOW_NETAVARK = """#!/bin/sh
/usr/lib/podman/netavark.quick "$@" || exit
case "$*" in *" setup "*) sleep 2 ;; esac
"""


@pytest.fixture(scope="module", params=("trixie", "forky", "bookworm"))
def lan(request: pytest.FixtureRequest) -> Iterator[Lan]:
    """A host whose proxy is stopped and disabled, without any network that wants DHCP."""
    suite = request.param
    conf = CNI_CONF if suite == "bookworm" else None
    socket, service = CNI if suite == "bookworm" else NETAVARK
    with Host(suite, containers_conf=conf) as host, dhcp_server(host.client) as server:
        host.run(["systemctl", "disable", "--now", socket, service])
        host.run(["systemctl", "mask", "--now", "netavark-firewalld-reload.service"], check=False)
        import_image(host)
        host.write(CONFIG, BACKOFF)
        host.install(built_package())
        there = Lan(host, ContainerSet(host), server, socket, service)
        there.until(lambda: host.exists(STATUS), "started")
        yield there


@pytest.fixture(autouse=True)
def _no_containers_left(lan: Lan) -> Iterator[None]:
    """Remove what a test started, whatever became of it."""
    yield
    lan.remove_all()


@pytest.fixture
def four(lan: Lan) -> dict[str, str]:
    """Four containers with leases, and their addresses by name."""
    addresses = lan.run_four()
    lan.until_well(4)
    return addresses


def test_nothing_is_touched_without_dhcp(lan: Lan) -> None:
    """No network wants DHCP: neither socket is touched, and no unit is started for it."""
    lan.host.podman("network", "create", "plain")
    lan.host.podman("network", "create", *LAN, "--subnet=192.0.2.0/24", "static")
    web(lan.host, "static", networks=["static"], extra=["--ip=192.0.2.60"])
    lan.until(lambda: lan.check().code == 0, "ok", 10)
    lan.remove_all()

    assert lan.dhcp()["state"] == ""
    assert lan.host.unit_show(lan.socket, "ActiveState", "UnitFileState") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }
    assert "podwatch-network@" not in lan.host.journal()


def test_a_network_brings_the_socket(lan: Lan) -> None:
    """A network with DHCP is created: its socket is enabled and listens."""
    lan.host.podman("network", "create", *LAN, "lan")
    lan.until(lan.serves, "serving", 2)

    web(lan.host, "first", networks=["lan"])
    address = lan.address("first")
    assert address in lan.server.acknowledged()
    assert lan.host.client.http(80, address) == "first"
    lan.until_well(1)
    (holder,) = lan.dhcp()["containers"]
    assert (holder["name"], holder["address"], holder["network"]) == ("first", address, "lan")
    assert "first" in lan.host.run(["podwatch", "status"]).stdout
    assert lan.host.run(["podwatch", "check"], check=False).code == 0


@pytest.mark.parametrize(
    "damage",
    [
        "systemctl stop {socket}",
        "rm {path}",
        "systemctl kill --signal=KILL {service}",
        "systemctl kill --signal=TERM {service}",
        "systemctl restart {service}",
    ],
    ids=["stopped", "path", "killed", "terminated", "restarted"],
)
def test_damage_heals(lan: Lan, damage: str) -> None:
    """Socket stopped, path removed, proxy ended: all is back, with the lease and the address.

    CNI's daemon removes the path itself when it is told to end.
    """
    web(lan.host, "web", networks=["lan"])
    lan.until_well(1)
    address, position = lan.address("web"), len(lan.server.log())
    before, cursor = lan.dhcp()["proxy"]["pid"], lan.host.journal_cursor()
    command = damage.format(socket=lan.socket, path=lan.path, service=lan.service)
    lan.host.shell(command)
    lan.until(lambda: lan.well(1, before=before) and lan.serves(), "healthy again")

    assert lan.server.acknowledged(position) == [address]
    assert lan.address("web") == address
    told = lan.host.journal("podwatch", since_cursor=cursor)
    assert "listens: podwatch has" in told or "does not know the lease of" in told, told
    assert told.count("web, network lan: the lease of") == 1, told
    assert lan.host.client.http(80, address) == "web"


def test_each_is_renewed_once_in_turn(lan: Lan, four: dict[str, str]) -> None:
    """The proxy of four containers is killed: each is renewed once, one after another."""
    cursor, position = lan.host.journal_cursor(), len(lan.server.log())
    lan.kill_proxy()
    lan.until(lambda: len(lan.reload_times(cursor)) >= 4, "renewed", 20)
    lan.until_well(4)
    times = sorted(lan.reload_times(cursor))

    assert len({unit for _, _, unit in times}) == len(times) == 4
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
    assert sorted(lan.server.acknowledged(position)) == sorted(four.values())
    assert {name: lan.address(name) for name in four} == four
    told = lan.host.journal("podwatch", since_cursor=cursor)
    assert "the proxy does not know the lease of 4 containers" in told
    for name in four:
        assert told.count(f"{name}, network lan: the lease of") == 1, told


@pytest.mark.parametrize("lan", ["trixie", "bookworm"], indirect=True)  # netavark's and CNI's
def test_a_silent_server_costs_one_address(lan: Lan, four: dict[str, str]) -> None:
    """With the server dead one container is tried and three keep their address; then all heal."""
    cursor = lan.host.journal_cursor()
    lan.server.stop()
    try:
        lan.kill_proxy()
        # CNI's daemon asks for minutes; netavark's proxy for eight seconds: two tries are seen.
        tries, limit_s = (1, 150) if lan.socket == CNI[0] else (2, 60)
        lan.until(lambda: len(lan.reload_times(cursor)) >= tries, "tried", limit_s)

        assert len({unit for _, _, unit in lan.reload_times(cursor)}) == 1
        kept = [name for name, address in four.items() if lan.address(name) == address]
        assert len(kept) >= 3
        assert lan.status()["state"] == "lost"
        assert "lease" in lan.host.run(["podwatch", "status"], check=False).stdout
    finally:
        lan.server.start()
    lan.until_well(4, 90)
    addresses = {name: lan.address(name) for name in four}
    # While CNI's one try lasted the leases ran out: the same addresses come, in any order.
    assert sorted(addresses.values()) == sorted(four.values())
    assert lan.socket == CNI[0] or addresses == four


@pytest.mark.parametrize("lan", ["trixie", "forky"], indirect=True)  # CNI has a way of its own
def test_a_slow_start_is_seen(lan: Lan) -> None:
    """podman holds its lock for 2 s after the lease: the container is seen with it all the same."""
    netavark = "/usr/lib/podman/netavark"
    lan.host.run(["mv", netavark, f"{netavark}.quick"])
    lan.host.write(netavark, SLOW_NETAVARK, mode=0o755)
    try:
        web(lan.host, "slow", networks=["lan"])
    finally:
        lan.host.run(["mv", f"{netavark}.quick", netavark])
    lan.until_well(1, 5)


def test_panic_mode(lan: Lan) -> None:
    """In firewalld's panic mode no container is reloaded for its lease; afterwards it is."""
    web(lan.host, "both", networks=["lan", "podman"], publish=["8088:80"])
    lan.until_well(1)
    cursor = lan.host.journal_cursor()
    lan.host.run(["firewall-cmd", "--panic-on"])
    lan.kill_proxy()
    lan.until(lambda: "panic" in lan.dhcp().get("next_try", ""), "held back", 20)
    held = lan.reload_times(cursor)
    lan.host.run(["firewall-cmd", "--panic-off"])
    lan.until_well(1)

    assert held == []
    assert len(lan.reload_times(cursor)) == 1


def test_masked(lan: Lan) -> None:
    """A masked socket is the administrator's no: told, and left alone until it is unmasked."""
    lan.host.run(["systemctl", "mask", "--now", lan.socket])
    lan.until(lambda: "masked" in lan.dhcp().get("summary", ""), "told", 5)
    cursor = lan.host.journal_cursor()
    lan.host.podman("network", "create", *LAN, "--opt=mtu=1400", "lan2")
    lan.until(lambda: "lan2" in lan.dhcp()["networks"], "looked again", 5)
    lan.host.podman("network", "rm", "lan2")
    lan.until(lambda: "lan2" not in lan.dhcp()["networks"], "looked once more", 5)

    assert lan.host.unit_state(lan.socket) != "active"
    enabled = lan.host.run(["systemctl", "is-enabled", lan.socket], check=False).stdout
    assert enabled.startswith("masked")
    jobs = [entry.get("UNIT") for entry in lan.host.journal_json(since_cursor=cursor)]
    assert lan.socket not in jobs
    assert lan.host.run(["podwatch", "status"], check=False).code == lan.check().code == 1
    lan.host.run(["systemctl", "unmask", lan.socket])
    lan.until(lan.serves, "serving", 5)


@pytest.mark.parametrize("lan", ["trixie", "forky"], indirect=True)  # CNI has a way of its own
def test_a_mixed_container_keeps_its_legs(lan: Lan) -> None:
    """While the socket is down the others alone are reloaded; a reload would cost it its bridge."""
    web(lan.host, "mixed", networks=["podman", "lan"], publish=["8090:80"])
    web(lan.host, "plain", publish=["8091:80"])
    lan.until_well(1)
    legs = lan.legs("mixed")
    config = '[restore]\nmethods = ["reload"]\nbackoff = "200ms"\nbackoff_max = "2s"\nlimit = 100\n'
    with lan.configured(f"{config}{BACKOFF}"):
        lan.host.run(["systemctl", "mask", "--now", lan.socket])
        lan.until(lambda: "masked" in lan.dhcp().get("summary", ""), "told", 5)
        lan.host.nft("delete", "table", "inet", "netavark")
        lan.until(
            lambda: "held back: mixed (on network lan" in str(lan.status()["last_incident"]),
            "held back",
            30,
        )
        lan.until(lambda: lan.host.client.http(8091) == "plain", "answering", 10)
        assert "mixed (on network lan" in lan.host.run(["podwatch", "status"], check=False).stdout
        assert lan.legs("mixed") == legs
        assert len(legs) == 2
        lan.host.run(["systemctl", "unmask", lan.socket])
        # Whether it answers is podman's: with two default routes either may come first.
        lan.until(lambda: lan.status()["state"] == "ok", "ok", 10)
        lan.until_well(1)
        assert lan.legs("mixed") == legs
    lan.host.write(CONFIG, BACKOFF)
    lan.host.run(["systemctl", "reload", "podwatch"])


def test_failed(lan: Lan) -> None:
    """A socket that fails at each start is tried at growing intervals, and heals when it can."""
    cursor = lan.host.journal_cursor()
    spoilt = f"/etc/systemd/system/{lan.socket}.d/spoilt.conf"
    lan.host.write(spoilt, "[Socket]\nExecStartPre=/bin/false\n")
    lan.host.shell(f"systemctl daemon-reload; systemctl stop {lan.socket}")
    lan.until(lambda: "failed" in lan.dhcp().get("summary", ""), "told", 10)
    time.sleep(8)  # the length of the observation
    tries = lan.host.journal(lan.socket, since_cursor=cursor).count("Failed to listen")
    lan.host.shell(f"rm {spoilt}; systemctl daemon-reload")
    lan.until(lan.serves, "serving", 20)

    assert 1 < tries <= 6


def test_missing(lan: Lan) -> None:
    """A unit that does not exist is told with the package that brings it; then it is managed."""
    where = lan.host.unit_show(lan.socket, "FragmentPath")["FragmentPath"]
    lan.host.shell(
        f"systemctl disable --now {lan.socket}; mv {where} /root/; systemctl daemon-reload"
    )
    lan.until(lambda: "does not exist" in lan.dhcp().get("summary", ""), "told", 5)
    told, checked = lan.host.run(["podwatch", "status"], check=False), lan.check()
    lan.host.shell(f"mv /root/{lan.socket} {where}; systemctl daemon-reload")
    lan.until(lan.serves, "serving", 5)

    assert told.code == checked.code == 2
    assert "install " in told.stdout


def test_switched_off(lan: Lan) -> None:
    """With dhcp.manage = false a stopped socket stays stopped; true brings it back."""
    with lan.configured("[dhcp]\nmanage = false\n"):
        lan.until(lambda: lan.dhcp().get("state", "") == "", "off", 5)
        lan.host.run(["systemctl", "stop", lan.socket])
        lan.host.podman("network", "create", *LAN, "--opt=mtu=1400", "lan2")
        lan.host.podman("network", "rm", "lan2")
        assert lan.host.unit_state(lan.socket) == "inactive"
    lan.until(lan.serves, "serving", 5)
    lan.host.write(CONFIG, BACKOFF)
    lan.host.run(["systemctl", "reload", "podwatch"])


def test_the_backend_decides(lan: Lan) -> None:
    """With both sockets installed, the one of the backend in use is managed, the other not."""
    cni = lan.socket == NETAVARK[0]
    (other, _), back = (CNI, "cni") if cni else (NETAVARK, "netavark")
    network: dict[str, Any] = {"name": "theirs", "ipam_options": {"driver": "dhcp"}}
    file = "/etc/containers/networks/theirs.json"
    if cni:
        lan.host.shell("cp /usr/share/podwatch/units/cni-dhcp.* /etc/systemd/system/")
        network = {"name": "theirs", "plugins": [{"type": "macvlan", "ipam": {"type": "dhcp"}}]}
        file = "/etc/cni/net.d/theirs.conflist"
    else:
        listen = f"[Socket]\nListenStream={PATHS[other]}\n[Install]\nWantedBy=sockets.target\n"
        lan.host.write(f"/etc/systemd/system/{other}", listen)
        lan.host.write(f"/etc/systemd/system/{NETAVARK[1]}", "[Service]\nExecStart=/bin/true\n")
    lan.host.write(file, json.dumps(network))
    lan.host.shell(f"systemctl daemon-reload; systemctl stop {lan.socket}")
    lan.until(lan.serves, "serving", 10)
    assert lan.host.unit_state(other) == "inactive"

    conf = "/etc/containers/containers.conf.d/backend.conf"
    lan.host.write(conf, f'[network]\nnetwork_backend = "{back}"\n')
    lan.until(lambda: lan.host.unit_state(other) == "active", "switched", 10)
    assert lan.host.run(["systemctl", "is-enabled", other]).stdout == "enabled\n"
    lan.host.run(["systemctl", "stop", lan.socket])
    lan.until(lambda: lan.dhcp()["socket"]["unit"] == other, "told", 5)
    assert lan.host.unit_state(lan.socket) == "inactive"

    lan.host.run(["rm", conf, file])
    lan.until(lan.serves, "serving", 10)
    lan.host.run(["systemctl", "stop", other])
    lan.until(lambda: lan.dhcp()["state"] == "ok", "ok", 10)
    assert lan.host.unit_state(other) == "inactive"


def test_no_network_no_care(lan: Lan) -> None:
    """When the last network with DHCP is gone, a stopped socket is left as it is."""
    lan.host.podman("network", "rm", "lan")
    lan.until(lambda: lan.dhcp()["state"] == "", "no DHCP", 5)
    lan.host.run(["systemctl", "stop", lan.socket])
    lan.host.podman("network", "create", "other")

    assert lan.host.unit_state(lan.socket) == "inactive"
    assert json.loads(lan.host.read(STATUS))["state"] == "ok"
