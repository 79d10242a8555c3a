# SPDX-License-Identifier: Apache-2.0
"""What comes next: podman 6 and netavark 2 of Debian experimental, a smoke of the faults on them.

They are held to little here on purpose: their rules are compared one by one in
tests/integration/differential, and a fault is healed the same way whoever's rules are lost.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, installed
from tests.e2e.ways import compare, explained
from tests.lab.faults import DEMONSTRATED, Fault

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """A host with podman 6 and netavark 2."""
    with installed("experimental") as host:
        yield host


def test_it_is_what_it_is_named(there: Installed) -> None:
    """podman is of version 6 or later, netavark of 2 or later, and nftables its driver."""
    told = there.host.run(["podman", "--version"]).stdout.split()[-1]
    assert int(told.partition(".")[0]) >= 6
    told = there.host.run(["/usr/lib/podman/netavark", "--version"]).stdout.split()[-1]
    assert int(told.partition(".")[0]) >= 2
    assert there.host.read("/run/containers/networks/firewall/firewall-driver") == "nftables"


@pytest.mark.parametrize("fault", DEMONSTRATED, ids=str)
def test_every_fault_is_healed(there: Installed, fault: Fault) -> None:
    """After a fault all ports answer, all containers get out, and a look finds everything."""
    fault.strike(there.host)

    there.until_whole(8)


def test_the_copy_healed_it(there: Installed) -> None:
    """No container was reloaded for any of it, and nothing is odd about the host."""
    assert there.reloads() == 0
    there.until(lambda: there.status()["state"] == "ok", "ok")


def test_the_reload_command_alone_heals_too(there: Installed) -> None:
    """Without a copy podman 6 and netavark 2 bring the rules back themselves."""
    with there.configured('[restore]\nmethods = ["reload"]\nbackoff = "200ms"\n'):
        there.host.nft("delete", "table", "inet", "netavark")
        there.until_whole(12)
    assert there.reloads() > 0


def test_every_way_is_explained(there: Installed) -> None:
    """Each container and port is told as it is tried."""
    ways = explained(there)
    compare(there, ways)
    assert {way["mark"] for way in ways} == {"open"}
