# SPDX-License-Identifier: Apache-2.0
"""What the guard is there for: no connection is lost while netavark's rules are.

On hosts without firewalld, where nobody else keeps the kernel's NAT hooks. `make bench` measures
all of it, beside firewalld as well.
"""

from collections.abc import Iterator

import pytest

from tests.bench.guard import BY_NFT, SETTINGS, WITHOUT, GuardBench, host_of
from tests.bench.guard_report import ANCHOR, FULL, OFF, broken_promises, summed
from tests.e2e.conftest import SUITES, SharedHosts
from tests.lab.faults import Fault

pytestmark = pytest.mark.e2e

CONTAINERS = 5


@pytest.fixture(scope="module", params=SUITES)
def bench(request: pytest.FixtureRequest, shared_hosts: SharedHosts) -> Iterator[GuardBench]:
    """A host without firewalld, with containers that are asked for connections all the time."""
    shared_hosts.drop_all()
    with host_of(request.param, CONTAINERS) as there:
        there.set(next(setting for setting in SETTINGS if setting.name == WITHOUT))
        yield there


@pytest.mark.parametrize("fault", BY_NFT, ids=str)
def test_a_full_guard_keeps_every_connection(bench: GuardBench, fault: Fault) -> None:
    """Through a fault of nft's no new connection is lost, in or out, and no old one reset."""
    strike = bench.strike(fault, FULL)

    assert not broken_promises([strike], [fault.name])
    assert strike.losses.new_in.asked
    assert strike.losses.new_out.asked


@pytest.mark.parametrize("fault", BY_NFT, ids=str)
def test_the_anchor_keeps_established_connections(bench: GuardBench, fault: Fault) -> None:
    """Through a fault of nft's no established connection is reset."""
    strike = bench.strike(fault, ANCHOR)

    assert not broken_promises([strike], [fault.name])


def test_without_a_guard_connections_are_lost_and_reset(bench: GuardBench) -> None:
    """Through the same faults, with the guard off, new connections are lost and old ones reset."""
    found = summed(bench.strike(fault, OFF) for fault in BY_NFT)

    assert found.lost_in
    assert found.broken
    assert found.healed == found.runs
