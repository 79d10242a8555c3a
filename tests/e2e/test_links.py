# SPDX-License-Identifier: Apache-2.0
"""The network under the rules: every fault of it is seen, named, and healed or told.

Some of each kind are struck with podwatch paused, too, where they have to be seen and left alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, installed, on_one_suite
from tests.e2e.ways import explained
from tests.lab.network_faults import (
    HEALED,
    LINKS,
    TOLD,
    Means,
    NetworkFault,
    inner_network,
    script,
)
from tests.lab.reality import really
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e

_ELSEWHERE = {"dual": 8082, "inner": 8082, "podman": 8085}
"""A port of a container on another network than the one that is struck."""
_PAUSED = (
    "bridge down",
    "addresses flushed",
    "routes flushed",
    "veth off its bridge",
    "ports isolated",
    "internal bridge down",
    "bridge deleted",
    "address inside deleted",
)
"""Faults that are struck while podwatch is paused, too: some of each kind."""
_OF_OLD = ("bridge down", "addresses flushed", "veth off its bridge")
"""Faults that are struck on Debian 12, too."""


@pytest.fixture(scope="module")
def ready(there: Installed) -> Installed:
    """The standard containers, and two on an internal network."""
    inner_network(there.host)
    agree(there, is_open=True)
    return there


def told_of(incidents: list[dict[str, Any]]) -> str:
    """All that incidents say is missing."""
    return "; ".join(what for incident in incidents for what in incident["missing"])


def insides(there: Installed, network: str) -> str:
    """The links and addresses of the containers that are not on a network, as they see them."""
    lines = """
    form='{{.State.Pid}} {{.HostConfig.NetworkMode}} {{range $k, $_ := .NetworkSettings.Networks}}'
    podman ps -q | xargs podman inspect --format "$form {{$k}}{{end}}" | while read pid networks; do
        case " $networks " in *" host "*|*" $1 "*) ;; *) nsenter -t "$pid" -n ip -br address;; esac
    done
    """
    return there.host.run(["sh", "-ec", lines, "sh", network]).stdout


@contextmanager
def nobody_else_harmed(there: Installed, fault: NetworkFault) -> Iterator[None]:
    """During the block a port on another network goes on answering, and its insides stay."""
    before = insides(there, fault.network)
    with there.host.client.watch([_ELSEWHERE[fault.network]], interval_s=0.05) as watch:
        yield
        fault.mend(there.host)
    assert watch.failures == 0
    assert insides(there, fault.network) == before


def is_healed(there: Installed, fault: NetworkFault) -> None:
    """Strike, and see every way open again, by the least that does it, and in the history."""
    there.start_anew()
    reloads, before = there.reloads(), len(there.history())

    with nobody_else_harmed(there, fault):
        fault.strike(there.host)
        if fault.silent:
            there.host.run(["systemctl", "restart", "podwatch"])
        there.until(lambda: len(there.history()) > before, "in the history")
        agree(there, is_open=True)

    there.until(lambda: there.status()["state"] == "ok", "ok")
    incidents = there.history()[before:]
    assert all(text in told_of(incidents) for text in fault.named), told_of(incidents)
    assert all(incident["verified"] for incident in incidents)
    assert (there.reloads() > reloads) == (fault.healed_by is Means.RELOAD)


@pytest.mark.parametrize("fault", HEALED, ids=str)
def test_it_is_healed(ready: Installed, fault: NetworkFault) -> None:
    """Every way is open again, by the least that does it; history names what was lost."""
    is_healed(ready, fault)


@pytest.fixture(scope="module", params=("bookworm-netavark", "bookworm-cni"))
def old(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """Debian 12, whose netavark keeps no state, and where CNI may be in its place."""
    suite, _, kind = str(request.param).partition("-")
    conf = containers_conf(suite, network_backend="cni" if kind == "cni" else None)
    with installed(suite, containers_conf=conf) as there:
        # netavark 1.4 gives a bridge no MAC: it changes as ports leave and join it, and containers
        # need half a minute to notice (netavark PR 844).
        there.host.shell(
            "cd /sys/class/net; for name in *podman*; do "
            "ip link set $name address $(cat $name/address); done"
        )
        yield there


@pytest.mark.parametrize("fault", [fault for fault in LINKS if fault.name in _OF_OLD], ids=str)
def test_it_is_healed_on_debian_12(old: Installed, fault: NetworkFault) -> None:
    """What is expected is known there as well: it is healed over netlink, too."""
    is_healed(old, fault)


@on_one_suite
@pytest.mark.parametrize("fault", [fault for fault in HEALED if fault.name in _PAUSED], ids=str)
def test_it_is_named_and_left_while_paused(ready: Installed, fault: NetworkFault) -> None:
    """A pause holds: status and explain name what is lost, and it is repaired after its end."""
    ready.start_anew()
    ready.host.run(["podwatch", "pause", "--for", "10m"])
    try:
        ready.until(lambda: "paused" in str(ready.status()["blocked"]), "paused")
        fault.strike(ready.host)
        if fault.silent:
            ready.host.run(["systemctl", "restart", "podwatch"])

        def is_named() -> bool:
            shown = ready.host.run(["podwatch", "status"], check=False)
            return shown.code == 2 and all(text in shown.stdout for text in fault.named)

        ready.until(is_named, "named")
        agree(ready, is_open=not fault.closes)
        closed = {way.kind for way, works in really(ready.host).items() if not works}
        assert closed >= set(fault.closes.split())
        assert any(way["mark"] == "broken" for way in explained(ready)) == bool(fault.closes)
        assert ready.status()["counters"]["restored"] == 0
    finally:
        ready.host.run(["podwatch", "resume"])
    agree(ready, is_open=True)
    ready.until(lambda: ready.status()["state"] == "ok", "ok")


@pytest.mark.parametrize("fault", TOLD, ids=str)
def test_it_is_told_and_left(ready: Installed, fault: NetworkFault) -> None:
    """What is somebody's will, or not podwatch's to heal: named with advice, nothing is done."""
    ready.start_anew()
    reloads = ready.reloads()
    fault.strike(ready.host)
    left = as_it_is(ready)
    try:
        ready.until(lambda: told_with_advice(ready, fault), "told")
        agree(ready, is_open=not fault.closes)
        closed = {way.kind for way, works in really(ready.host).items() if not works}
        assert closed >= set(fault.closes.split())
        assert as_it_is(ready) == left
    finally:
        fault.mend(ready.host)
    agree(ready, is_open=True)
    ready.until(lambda: ready.status()["state"] == "ok", "ok")
    assert ready.reloads() == reloads


def as_it_is(there: Installed) -> str:
    """The host's links with their masters, addresses and routes, and who answers for names."""
    shown = "ip -o link | sed 's/ qlen.*//; s/<[^>]*>//'; ip -br address; ip route; ip rule"
    return there.host.shell(f"{shown}; pgrep -x aardvark-dns").stdout


def told_with_advice(there: Installed, fault: NetworkFault) -> bool:
    """Whether the status names it, and says what to do."""
    status = there.status()
    told = [f"{one['what']} {one['advice']}" for one in status["warnings"] if one["advice"]]
    return all(text in " ".join(told) for text in fault.named)


@on_one_suite
def test_a_bridge_set_down_twice_is_left(ready: Installed) -> None:
    """Down again while podwatch waits is somebody's will: told and left, until it is up again."""
    ready.start_anew()
    down = script("ip link set $bridge down")
    ready.host.shell(down)
    agree(ready, is_open=True)
    ready.host.shell(down)
    ready.until(lambda: ready.status()["state"] == "lost", "lost")
    left = as_it_is(ready)
    agree(ready, is_open=False)
    shown = ready.host.run(["podwatch", "status"], check=False).stdout
    assert "ip link set" in shown, shown
    assert as_it_is(ready) == left

    ready.host.shell(script("ip link set $bridge up"))
    agree(ready, is_open=True)


@on_one_suite
def test_a_bridge_deleted_while_nobody_watches_has_its_mac_again(ready: Installed) -> None:
    """Its containers go on sending to the one they know, for half a minute."""
    ready.start_anew()
    mac = script("cat /sys/class/net/$bridge/address")
    before = ready.host.shell(mac).stdout
    ready.host.run(["systemctl", "stop", "podwatch"])
    ready.host.shell(script("ip link del $bridge"))
    ready.host.run(["systemctl", "start", "podwatch"])
    agree(ready, is_open=True)
    assert ready.host.shell(mac).stdout == before
