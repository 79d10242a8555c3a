# SPDX-License-Identifier: Apache-2.0
"""The guard does what netavark's rules do, no less and no more: every way is tried for real.

With netavark's rules alone, with both, with the guard alone, and with neither. An answer says which
address it came from, and which one the asker was seen under.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.differential.asking import NO_ANSWER, Ask, World
from tests.integration.differential.configurations import Box
from tests.integration.differential.conftest import skip_without_needs
from tests.integration.differential.guarded import (
    CLIENT,
    CLIENT_ADDRESSES,
    DIRECT,
    HOST_ADDRESSES,
    OUTSIDE,
    PROTOCOLS,
    addresses_of,
)
from tests.integration.differential.stage import Stage
from tests.integration.differential.trial import LEGACY, MARKED, Answers, Host, Trial, different
from tests.lab import rootfs

pytestmark = pytest.mark.integration

HOSTS = (
    Host("trixie"),
    Host("forky"),
    Host("experimental"),
    Host("experimental", MARKED),
    Host("bookworm", "iptables"),
    Host("bookworm", LEGACY),
    Host("forky", "iptables"),
)


@dataclass(frozen=True)
class Tried:
    """Who was there, and what came of every question."""

    suite: str
    boxes: list[Box]
    netavark: Answers
    both: Answers
    guard: Answers
    neither: Answers


@pytest.fixture(scope="module", params=HOSTS, ids=str)
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """Every way, tried with a suite's netavark."""
    skip_without_needs()
    host: Host = request.param
    with Stage(rootfs.build(host.suite)) as stage, World() as world:
        trial = Trial(host, stage, world)
        alone = trial.ask()
        with trial.guarded.guard(trial.held()):
            both = trial.ask(alone)
            trial.without_netavark()
            guard_alone = trial.ask(alone)
        yield Tried(host.suite, trial.boxes, alone, both, guard_alone, trial.ask())


def test_the_guard_alone_is_as_netavark_alone(tried: Tried) -> None:
    """With the guard alone every way is as open or closed, with the same addresses."""
    assert different(tried.netavark, tried.guard) == []


def test_both_are_as_netavark_alone(tried: Tried) -> None:
    """With the guard beside netavark's rules nothing is another than with these alone."""
    assert different(tried.netavark, tried.both) == []


def test_each_port_is_there_and_gone(tried: Tried) -> None:
    """Each published port is answered from outside until both are gone: no two lists are empty."""
    for box in tried.boxes:
        published = [port for port in box.ports if not port.host_ip and not is_internal(box)]
        for port in published:
            ways = [Ask(CLIENT, HOST_ADDRESSES[0], port.host, port.protocol)]
            if any(":" in subnet for net in box.networks for subnet in net.subnets):
                ways.append(Ask(CLIENT, HOST_ADDRESSES[2], port.host, port.protocol))
            for way in ways:
                client = CLIENT_ADDRESSES[":" in way.address]
                said = tried.guard[way, True]
                assert said.startswith(f"{box.name} at "), way
                assert said.endswith(f" {port.container} sees {client}"), way
                assert box.name not in tried.neither[way, True], way


def test_what_goes_out_has_the_hosts_address(tried: Tried) -> None:
    """What leaves a network has an address of the host's, that it is told to have from 2.0 on."""
    for box in tried.boxes:
        if is_internal(box):
            continue
        told = box.name == "outbound" and tried.suite == "experimental"
        for client, host in zip(CLIENT_ADDRESSES, HOST_ADDRESSES[told::2], strict=True):
            for protocol in PROTOCOLS:
                way = Ask(box.name, client, OUTSIDE, protocol)
                if (way, True) in tried.guard:
                    assert tried.guard[way, True].endswith(f" sees {host}"), way
                    assert not tried.neither[way, True].endswith(f" sees {host}"), way


def test_names_are_asked_where_the_server_listens(tried: Tried) -> None:
    """A question to port 53 is answered by aardvark-dns on its other port, until both are gone.

    That of Debian 12 listens on UDP alone.
    """
    for protocol in ("udp",) if tried.suite == "bookworm" else ("udp", "tcp"):
        way = Ask("named", "10.89.5.1", 53, protocol, "named.dns.podman")
        assert tried.guard[way, True] == "code 0, 1 addresses 10.89.5.10"
        assert tried.neither[way, True] == "refused"


def test_isolated_networks_do_not_reach_each_other(tried: Tried) -> None:
    """From one isolated network to another nothing goes with the guard alone; with neither it does.

    From a strictly isolated one nothing goes to any other.
    """
    apart = [box for box in tried.boxes if len(box.networks) == 1 and isolation(box)]
    assert len(apart) >= 2
    for box in apart:
        others = tried.boxes if isolation(box) == "strict" else apart
        for other in others:
            for address in addresses_of(other) if other is not box else ():
                way = Ask(box.name, address, DIRECT)
                if (way, True) in tried.guard and not is_internal(other):
                    assert tried.guard[way, True] == NO_ANSWER, way
                    assert tried.neither[way, True].startswith(other.name), way


def isolation(box: Box) -> str:
    """How the first of a container's networks is isolated."""
    return box.networks[0].isolate.replace("false", "")


def is_internal(box: Box) -> bool:
    """Whether a container is on internal networks alone."""
    return all(net.internal for net in box.networks)
