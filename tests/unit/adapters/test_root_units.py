# SPDX-License-Identifier: Apache-2.0
"""What units of root's do for a podwatch that is not; the program for sources runs itself here."""

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from podwatch.adapters.root_units import RootUnits
from podwatch.words.dhcp import PROXIES
from podwatch.words.errors import RestoreFailed

PROGRAM = Path(__file__).resolve().parents[3] / "units/trust"
NETWORK = '{"subnets":["10.88.0.0/16","fd10:89:10::/64"],"bridge_name":"podman0","dns_port":53}'
ALLOWED = ("10.88.0.0/16", "fd10:89:10::/64")


class FakeSystemd:
    """Runs units as told; stands in for adapters.systemd.Systemd."""

    def __init__(self, says: str = "done") -> None:
        self.says = says
        self.ran: list[str] = []

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Each ends the same way."""
        assert (at_once, timeout_s) == (1, 10.0)
        self.ran += names
        return dict.fromkeys(names, self.says)


def trust(tmp_path: Path, subnet: str, driver: str = "nftables") -> tuple[int, str, str]:
    """Run root's program where netavark has one network; its exit status, orders and errors."""
    state = tmp_path / "state"
    (state / "networks").mkdir(parents=True, exist_ok=True)
    (state / "networks" / "one").write_text(NETWORK)
    (state / "firewall-driver").write_text(driver)
    busctl = tmp_path / "busctl"
    busctl.write_text('#!/bin/sh\necho "$*"\n')
    busctl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [PROGRAM, subnet, state], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.rstrip("\n"), done.stderr


def test_each_proxy_has_its_instance() -> None:
    """The instance is the proxy's name: the unit makes of it that of socket and service."""
    systemd = FakeSystemd()
    units = RootUnits(systemd)
    for proxy in PROXIES.values():
        asyncio.run(units.enable(proxy.socket))
        asyncio.run(units.start(proxy.socket, also_reset=(proxy.service,), restart=False))

    assert systemd.ran == [
        "podwatch-dhcp-enable@netavark-dhcp-proxy.service",
        "podwatch-dhcp-restart@netavark-dhcp-proxy.service",
        "podwatch-dhcp-enable@cni-dhcp.service",
        "podwatch-dhcp-restart@cni-dhcp.service",
    ]


def test_each_subnet_has_its_instance() -> None:
    """systemd makes a slash of its dash again."""
    systemd = FakeSystemd()
    for subnet in ALLOWED:
        asyncio.run(RootUnits(systemd).trust(subnet, "trusted"))

    assert systemd.ran == [
        "podwatch-trust@10.88.0.0-16.service",
        "podwatch-trust@fd10:89:10::-64.service",
    ]


def test_a_unit_that_fails_is_told_with_its_journal() -> None:
    """In systemd's word."""
    unit = "podwatch-trust@10.88.0.0-16.service"
    with pytest.raises(RestoreFailed, match=f"^{unit}: failed$") as caught:
        asyncio.run(RootUnits(FakeSystemd("failed")).trust(ALLOWED[0], "trusted"))
    assert caught.value.hint == f"journalctl -u {unit}"


@pytest.mark.parametrize(
    ("driver", "zone"),
    [("nftables", "trusted"), ("iptables\n", "trusted"), ("firewalld", "netavark_zone")],
)
@pytest.mark.parametrize("subnet", ALLOWED)
def test_root_puts_podmans_subnets_where_netavark_does(
    tmp_path: Path, subnet: str, driver: str, zone: str
) -> None:
    """By firewalld's own method, in the zone of netavark's driver."""
    code, asked, errors = trust(tmp_path, subnet, driver)

    assert (code, errors) == (0, "")
    assert asked.endswith(f".zone changeZoneOfSource ss {zone} {subnet}")


@pytest.mark.parametrize(
    "subnet",
    [
        *("0.0.0.0/0", "::/0", "10.0.0.0/8", "10.88.0.0/1", "0.88.0.0/16", "10.88.0.0", "./."),
        *("", ".*", "53", "-v"),
    ],
)
def test_root_trusts_no_other(tmp_path: Path, subnet: str) -> None:
    """Whoever has taken podwatch over may ask for whatever the rule's pattern lets through."""
    code, asked, errors = trust(tmp_path, subnet)

    assert (code, asked) == (1, "")
    assert "is no subnet of a network of Podman's" in errors


def test_root_makes_no_sources_where_netavark_makes_none(tmp_path: Path) -> None:
    """Where its driver is another, or nothing says which."""
    assert trust(tmp_path, ALLOWED[0], "none")[:2] == (1, "")
    (tmp_path / "state/firewall-driver").unlink()
    gone = subprocess.run([PROGRAM, ALLOWED[0], tmp_path / "state"], stderr=-3, check=False)
    assert gone.returncode != 0
