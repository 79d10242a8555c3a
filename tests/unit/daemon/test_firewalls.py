# SPDX-License-Identifier: Apache-2.0
"""Other firewalls: which units are active and interfere, and how seldom they are asked for."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon import firewalls
from podwatch.daemon.firewalls import DropsListing, Neighbours, interferes
from podwatch.words.errors import BusUnavailable, RulesUnreadable
from podwatch.words.links import NETWORKD


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
    """systemd, with these units active, or so; None for a bus that is not there."""

    def __init__(self, active: Sequence[str] | None, state: str = "active") -> None:
        self.active = active
        self.state = state
        self.asked: list[tuple[str, ...]] = []

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """What it says of these."""
        self.asked.append(tuple(names))
        if self.active is None:
            raise BusUnavailable("no bus")
        return {name: self.state if name in self.active else "inactive" for name in names}


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


def test_who_may_configure_bridges_is_asked_for_at_every_look() -> None:
    """systemd-networkd takes them when it starts: that it runs is known at the look that tells."""
    systemd: Any = FakeSystemd([])
    neighbours = Neighbours(systemd, lambda: 1000.0)
    assert asyncio.run(neighbours.active()) == ()
    systemd.active = [NETWORKD, "docker.service"]
    assert asyncio.run(neighbours.active()) == (NETWORKD,)
    assert systemd.asked[-1].count(NETWORKD) == 1


@pytest.mark.parametrize(("state", "runs"), [("reloading", True), ("deactivating", False)])
def test_a_unit_that_reloads_runs(state: str, *, runs: bool) -> None:
    """And one that is stopped does so no more."""
    systemd: Any = FakeSystemd([NETWORKD], state)
    assert (asyncio.run(Neighbours(systemd).active()) == (NETWORKD,)) is runs


def test_a_host_that_does_not_tell_has_no_neighbours() -> None:
    """Without systemd, or without its bus: what they do is seen in the rules anyway."""
    silent: Any = FakeSystemd(None)
    assert asyncio.run(Neighbours(None).active()) == ()
    assert asyncio.run(Neighbours(silent).active()) == ()


def test_whether_a_firewall_interferes_is_looked_at_once_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was found to do counts until then, and what it was found not to do."""
    file, now = tmp_path / "ufw.conf", 1000.0
    file.write_text("# ufw\nENABLED=yes\n")
    monkeypatch.setattr(firewalls, "_UFW_FILE", file)
    monkeypatch.setattr(firewalls, "_NFTABLES_FILES", ())
    systemd: Any = FakeSystemd(["ufw.service", "nftables.service"])
    neighbours = Neighbours(systemd, lambda: now)

    def active() -> tuple[str, ...]:
        return asyncio.run(neighbours.active())

    assert active() == ("ufw.service",)
    file.write_text("# ufw\nENABLED=no\n")
    now = 1059.75
    assert active() == ("ufw.service",)
    assert "nftables.service" not in systemd.asked[-1]
    now = 1060.0
    assert active() == ()
    assert "nftables.service" in systemd.asked[-1]
    file.write_text("# ufw\nENABLED=yes\n")
    now = 1119.75
    assert active() == ()
    now = 1120.0
    assert active() == ("ufw.service",)


def test_a_silent_systemd_is_asked_for_all_again_at_once() -> None:
    """Who interferes is still not known."""
    systemd: Any = FakeSystemd(None)
    neighbours = Neighbours(systemd, lambda: 1000.0)
    assert asyncio.run(neighbours.active()) == ()
    systemd.active = ["docker.service"]
    assert asyncio.run(neighbours.active()) == ("docker.service",)


def test_the_chains_of_others_are_listed_again_only_after_a_transaction() -> None:
    """While the ruleset's generation is the same, so are they; a failure is no answer."""
    asked: list[str] = []

    class Lists:
        """nft, which has no chain of anybody's, or fails."""

        fails = False

        async def list_chains(self) -> str:
            """Every chain."""
            asked.append("list chains")
            if self.fails:
                raise RulesUnreadable("no answer")
            return ""

    nft: Any = Lists()
    numbers = [1]
    listing = DropsListing(nft, lambda: numbers[-1])

    async def body() -> None:
        assert await listing.of(frozenset()) == ()
        assert await listing.of(frozenset()) == ()
        assert len(asked) == 1
        assert await listing.of(frozenset({"inet netavark"})) == ()
        assert len(asked) == 2
        numbers.append(2)
        nft.fails = True
        assert await listing.of(frozenset({"inet netavark"})) == ()
        assert await listing.of(frozenset({"inet netavark"})) == ()
        assert len(asked) == 4

    asyncio.run(body())
