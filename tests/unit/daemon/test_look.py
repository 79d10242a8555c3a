# SPDX-License-Identifier: Apache-2.0
"""The census of podman's containers: whom podwatch takes for running, and when it asks again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon import look
from podwatch.daemon.look import CENSUS_AGAIN_MAX_S, CENSUS_AGAIN_S, Census, interferes
from podwatch.drivers.firewalld import POLICIES
from podwatch.words.network import Container, FirewallDriver, Setup
from podwatch.words.snapshot import Firewalld

RUNNING = Container("aa", "web")
ENDED = Container("aa", "web", running=False)
CREATED = Container("aa", "web", created=True)


def census(container: Container, before: Census | None = None, now: float = 100.0) -> Census:
    """The census after podman listed one container that netavark has state of, stamped `1`."""
    return (before or Census()).next({container.id: container}, 1, [container.id], now)


def runs(found: Census, stamp: object = 1) -> bool:
    """Whether the container counts as running."""
    return found.at(stamp)["aa"].running


def test_an_ended_container_may_be_starting_again() -> None:
    """podman still calls a container ended while it sets its network up: it is asked again."""
    found = census(ENDED)
    assert runs(found)
    assert found.again_at == 100.0 + CENSUS_AGAIN_S
    assert runs(census(RUNNING, found))


def test_an_ended_container_is_dead_while_the_state_is_the_same() -> None:
    """That a container has ended, said twice, is believed until netavark's state changes."""
    found = census(ENDED, census(ENDED))
    assert not runs(found)
    assert not runs(census(ENDED, found))
    assert runs(found, stamp=2)
    assert found.again_at is None


def test_a_container_podman_does_not_know_is_dead() -> None:
    """netavark's state of a container that podman has removed is a left-over."""
    assert not Census().next({}, 1, ["aa"], 100.0).containers["aa"].running


def test_a_created_container_may_be_starting() -> None:
    """A container that is only created counts as running, and podman is asked again."""
    found = census(CREATED)
    assert runs(found)
    assert found.again_at == 100.0 + CENSUS_AGAIN_S


def test_a_container_that_stays_created_has_failed_to_start() -> None:
    """Still created when podman is asked again, with the same state: its start has failed."""
    assert not runs(census(CREATED, census(CREATED)))
    changed = census(CREATED).next({"aa": CREATED}, 2, ["aa"], 100.0)
    assert runs(changed, stamp=2)


def test_a_container_that_runs_after_all_is_running() -> None:
    """A slow start is no failed start once podman says that the container runs."""
    found = census(RUNNING, census(CREATED, census(CREATED)))
    assert runs(found)
    assert found.again_at is None


def test_podman_is_not_asked_for_ever() -> None:
    """The pauses grow, and come to an end; a change of the rules makes podwatch ask once more."""
    found, now, pauses = census(CREATED), 100.0, []
    while found.again_at is not None:
        pauses.append(found.again_at - now)
        now = found.again_at
        found = census(CREATED, found, now)
    assert pauses[0] == CENSUS_AGAIN_S
    assert pauses == sorted(pauses)
    assert sum(pauses) < 2 * CENSUS_AGAIN_MAX_S
    doubted = found.doubted(now)
    assert doubted.again_at == now + CENSUS_AGAIN_S
    assert census(CREATED, doubted, now).again_at is None


def test_only_what_is_created_is_doubted() -> None:
    """A change of the rules makes nobody ask podman when every container is known to run."""
    assert census(RUNNING).doubted(100.0).again_at is None


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
    monkeypatch.setattr(look, "_UFW_FILE", file)
    monkeypatch.setattr(look, "_NFTABLES_FILES", (tmp_path / "absent", file))

    assert interferes(unit) is told


class _JustSetUp:
    """What is expected, on a host where a network is set up while it is read for the first time."""

    stamp: object = None
    listed = None
    asks_podman = False
    driver = FirewallDriver.UNKNOWN

    async def read(self) -> Setup:
        self.stamp = 1
        return Setup(self.driver)

    def is_current(self) -> bool:
        return True


class _Firewalld:
    """firewalld, which has the new network's source only from the second question on."""

    asked = 0
    policies: tuple[str, ...] = ()

    async def read(self, policies: tuple[str, ...] = ()) -> Firewalld:
        self.policies = policies
        self.asked += 1
        return Firewalld(
            running=True, sources={"10.88.0.0/16": "trusted"} if self.asked > 1 else {}
        )


def test_firewalld_is_not_older_than_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer from before a network was set up is no loss of it: firewalld is asked again."""
    monkeypatch.setattr(look, "table_exists", lambda *_: False)
    firewalld: Any = _Firewalld()
    expected: Any = _JustSetUp()
    looker = look.Looker(expected, {}, firewalld, None, None)

    for asked in (2, 3):  # and once a look where nothing has changed
        found = asyncio.run(looker.look())
        assert found.firewalld is not None
        assert found.firewalld.sources == {"10.88.0.0/16": "trusted"}
        assert firewalld.asked == asked
        assert firewalld.policies == ()


def test_policies_are_asked_for_where_the_rules_are_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With netavark's firewalld driver; again, too, where it was not known when first asked."""
    monkeypatch.setattr(look, "table_exists", lambda *_: False)
    firewalld: Any = _Firewalld()
    expected: Any = _JustSetUp()
    expected.stamp, expected.driver = 1, FirewallDriver.FIREWALLD
    looker = look.Looker(expected, {}, firewalld, None, None)

    for asked in (2, 3):
        asyncio.run(looker.look())
        assert (firewalld.asked, firewalld.policies) == (asked, POLICIES)
