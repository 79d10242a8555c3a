# SPDX-License-Identifier: Apache-2.0
"""Other firewalls: which units are active and interfere, and how seldom they are asked for."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon import firewalls
from podwatch.daemon.firewalls import Neighbours, interferes
from podwatch.words.errors import BusUnavailable


@pytest.mark.parametrize(
    ("unit", "text", "told"),
    [
        ("ufw.service", "# ufw\nENABLED=yes\nLOGLEVEL=low\n", True),
        ("ufw.service", "ENABLED=no\n", False),
        ("ufw.service", "#ENABLED=yes\n", False),
        ("ufw.service", None, False),
        ("nftables.service", "#!/usr/sbin/nft -f\n\nflush ruleset\n\ntable inet filter {}\n", True),
        ("nftables.service", "#!/usr/sbin/nft -f\n#flush ruleset\n", False),
        ("nftables.service", None, False),
        ("docker.service", None, True),
    ],
)
def test_which_firewall_interferes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, text: str | None, told: object
) -> None:
    """An active unit counts by its file: ufw that is enabled, nftables that flushes everything."""
    file = tmp_path / "its.conf"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(firewalls, "_UFW_FILE", file)
    monkeypatch.setattr(firewalls, "_NFTABLES_FILES", (tmp_path / "absent", file))

    assert interferes(unit) is told


class FakeSystemd:
    """systemd, with these units active; None for a bus that is not there."""

    def __init__(self, active: Sequence[str] | None) -> None:
        self.active = active
        self.asked: list[tuple[str, ...]] = []

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """What it says of these."""
        self.asked.append(tuple(names))
        if self.active is None:
            raise BusUnavailable("no bus")
        return {name: "active" if name in self.active else "inactive" for name in names}


def test_neighbours_are_named_and_others_asked_for_once_a_minute() -> None:
    """netavark's own at every look; of the others only those that were active, between minutes."""
    systemd: Any = FakeSystemd(["docker.service", "netavark-firewalld-reload.service"])
    neighbours = Neighbours(systemd)

    async def body() -> None:
        for _ in range(2):
            found = await neighbours.active()
            assert found == ("netavark-firewalld-reload.service", "docker.service")
        assert "ufw.service" in systemd.asked[0]
        assert "ufw.service" not in systemd.asked[1]
        assert "docker.service" in systemd.asked[1]
        systemd.active = []
        assert await neighbours.active() == ()
        assert await neighbours.active() == ()
        assert "docker.service" not in systemd.asked[3]

    asyncio.run(body())


def test_a_host_that_does_not_tell_has_no_neighbours() -> None:
    """Without systemd, or without its bus: what they do is seen in the rules anyway."""
    silent: Any = FakeSystemd(None)
    assert asyncio.run(Neighbours(None).active()) == ()
    assert asyncio.run(Neighbours(silent).active()) == ()
