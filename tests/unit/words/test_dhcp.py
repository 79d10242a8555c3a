# SPDX-License-Identifier: Apache-2.0
"""What the facts about DHCP amount to: whether the proxy is there, and knows a lease."""

from dataclasses import replace

import pytest

from podwatch.words.dhcp import PROXIES, Backend, DhcpSnapshot, Holder, Lease, Unit

SERVING = DhcpSnapshot(
    Backend.NETAVARK,
    socket=Unit(load="loaded", active="active"),
    service=Unit(pid=7, started=1000.0),
    path_exists=True,
    listening=True,
    leases={"aa:01": Lease("192.0.2.70")},
)
HOLDER = Holder("1a", "web", "lan", "aa:01", "192.0.2.70", leased=1000.0)


@pytest.mark.parametrize(
    ("unit", "exists", "masked"),
    [
        (Unit(), False, False),
        (Unit(load="loaded"), True, False),
        (Unit(load="masked"), True, True),
        (Unit(load="loaded", file="masked-runtime"), True, True),
    ],
)
def test_a_unit_may_be_forbidden(unit: Unit, *, exists: bool, masked: bool) -> None:
    """By its state or by its file; one that systemd did not find is not there."""
    assert (unit.exists, unit.masked) == (exists, masked)


@pytest.mark.parametrize(
    "change",
    [{"socket": Unit(load="loaded")}, {"path_exists": False}, {"listening": False}],
    ids=["unit", "path", "listener"],
)
def test_a_proxy_serves_with_unit_path_and_listener(change: dict[str, object]) -> None:
    """A container that starts finds it only where all three are there."""
    assert SERVING.serving
    assert not replace(SERVING, **change).serving  # type: ignore[arg-type]


def test_a_proxy_is_its_process() -> None:
    """Another process, or one of that number started later, is another proxy; none is none."""
    assert SERVING.proxy == PROXIES[Backend.NETAVARK]
    assert SERVING.generation == "7 1000.0"
    assert replace(SERVING, service=Unit(started=1000.0)).generation == ""


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True),
        ({"service": Unit()}, False),
        ({"leases": {}}, False),
        ({"leases": None}, False),
        ({"backend": Backend.CNI}, True),
        ({"backend": Backend.CNI, "leases": None}, True),
        ({"backend": Backend.CNI, "service": Unit(pid=7, started=1000.5)}, False),
        ({"backend": Backend.CNI, "service": Unit(started=1000.0)}, False),
    ],
)
def test_a_proxy_knows_the_leases_it_made(change: dict[str, object], *, known: bool) -> None:
    """netavark's has them in a file; CNI's knows those since it was started."""
    assert replace(SERVING, **change).is_known(HOLDER) == known  # type: ignore[arg-type]
