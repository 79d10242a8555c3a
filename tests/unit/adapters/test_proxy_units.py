# SPDX-License-Identifier: Apache-2.0
"""The DHCP proxies' sockets, enabled and started by units of podwatch's own."""

import asyncio
from collections.abc import Sequence

import pytest

from podwatch.adapters.proxy_units import ProxyUnits
from podwatch.words.dhcp import PROXIES
from podwatch.words.errors import RestoreFailed


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


def test_each_proxy_has_its_instance() -> None:
    """The instance is the proxy's name: the unit makes of it that of socket and service."""
    systemd = FakeSystemd()
    units = ProxyUnits(systemd)
    for proxy in PROXIES.values():
        asyncio.run(units.enable(proxy.socket))
        asyncio.run(units.start(proxy.socket, also_reset=(proxy.service,), restart=False))

    assert systemd.ran == [
        "podwatch-dhcp-enable@netavark-dhcp-proxy.service",
        "podwatch-dhcp-restart@netavark-dhcp-proxy.service",
        "podwatch-dhcp-enable@cni-dhcp.service",
        "podwatch-dhcp-restart@cni-dhcp.service",
    ]


def test_a_unit_that_fails_is_told_with_its_journal() -> None:
    """In systemd's word."""
    unit = "podwatch-dhcp-restart@cni-dhcp.service"
    with pytest.raises(RestoreFailed, match=f"^{unit}: failed$") as caught:
        asyncio.run(ProxyUnits(FakeSystemd("failed")).start("cni-dhcp.socket", restart=True))
    assert caught.value.hint == f"journalctl -u {unit}"
