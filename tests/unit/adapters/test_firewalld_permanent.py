# SPDX-License-Identifier: Apache-2.0
"""firewalld's permanent configuration on a bus of the test's own: good answers, and any others.

The real firewalld is asked in tests/integration/test_firewalld.py.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.dbus import SystemBus
from podwatch.adapters.firewalld_permanent import PermanentFirewalld
from podwatch.words.errors import BusUnavailable, StateUnreadable
from podwatch.words.snapshot import Permanent
from tests.unit.adapters.system_bus import FakeBus, RefusedError, Reply, Variant
from tests.unit.adapters.test_odd_replies import ODD

GOOD: dict[str, Reply] = {
    "Hello": ("s", [":1.7"]),
    "version": ("v", [Variant("s", "2.3.1")]),
    "FirewallBackend": ("v", [Variant("s", "nftables")]),
    "getZoneByName": ("o", ["/zone/8"]),
    "getSources": ("as", [["10.88.0.0/16"]]),
    "getZoneOfSource": ("s", ["work"]),
    "addSource": ("", []),
    "removeSource": ("", []),
}
DROPS = {"INPUT": "DROP", "FORWARD": "DROP", "OUTPUT": "DROP"}


class Stage:
    """firewalld's answers, what it was asked, and the adapter that asks."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
        self.path = tmp_path / "bus"
        self.conf = tmp_path / "firewalld.conf"
        self.replies = dict(GOOD)
        self.asked: list[str] = []
        self.bus = SystemBus()
        self.firewalld = PermanentFirewalld(self.bus, self.conf)

    def _answer(self, asked: Any) -> Reply:
        name = asked.body[1] if asked.member == "Get" else asked.member
        self.asked.append(f"{asked.path} {name} {' '.join(map(str, asked.body))}".strip())
        if name not in self.replies:
            raise RefusedError("org.fedoraproject.FirewallD1.Exception", "NOT_ENABLED")
        return self.replies[name]

    def do(self, *names: str) -> Any:
        """What `read`, `add` or `remove` gives with these arguments."""
        doing, *subnets = names

        async def body() -> Any:
            async with FakeBus(self._answer).at(self.path):
                try:
                    if doing == "read":
                        return await self.firewalld.read(subnets)
                    return await getattr(self.firewalld, doing)(*subnets)
                finally:
                    self.bus.close()

        return asyncio.run(body())


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A firewalld 2.3.1 whose zone trusted has one source."""
    return Stage(tmp_path, monkeypatch)


def test_what_is_trusted_and_where_the_others_are(stage: Stage) -> None:
    """Only what zone trusted does not have is asked for one by one."""
    found = stage.do("read", "10.88.0.0/16", "10.89.0.0/24")
    assert found == Permanent(
        "2.3.1",
        by_nftables=True,
        sources={"10.88.0.0/16": "trusted", "10.89.0.0/24": "work"},
        policy=DROPS,
    )
    assert [asked for asked in stage.asked if "getZoneOfSource" in asked] == [
        "/org/fedoraproject/FirewallD1/config getZoneOfSource 10.89.0.0/24"
    ]
    stage.replies["getZoneOfSource"] = ("s", [""])
    assert stage.do("read", "10.89.0.0/24").sources == {"10.88.0.0/16": "trusted"}


def test_the_policy_is_its_files(stage: Stage) -> None:
    """Of a firewalld that has the setting; a file that cannot be read makes all of it unknown."""
    stage.conf.write_text("ReloadPolicy=FORWARD:ACCEPT\n")
    assert stage.do("read").policy == {**DROPS, "FORWARD": "ACCEPT"}
    stage.replies["version"] = ("v", [Variant("s", "1.3.3")])
    assert stage.do("read").policy == {}
    stage.replies["version"] = GOOD["version"]
    stage.conf.unlink()
    stage.conf.mkdir()
    with pytest.raises(StateUnreadable, match="not a regular file"):
        stage.do("read")


def test_the_stamp_tells_of_another_file(stage: Stage) -> None:
    """None where there is no file."""
    assert stage.firewalld.stamp() is None
    stage.conf.write_text("a")
    before = stage.firewalld.stamp()
    assert stage.firewalld.stamp() == before
    stage.conf.write_text("ab")
    assert stage.firewalld.stamp() != before


@pytest.mark.parametrize(("doing", "member"), [("add", "addSource"), ("remove", "removeSource")])
def test_a_source_is_changed_in_zone_trusted(stage: Stage, doing: str, member: str) -> None:
    """In the permanent one, whose object is asked for each time; a refusal names itself as one."""
    stage.do(doing, "10.89.0.0/24")
    assert stage.asked[-1] == f"/zone/8 {member} 10.89.0.0/24"
    del stage.replies[member]
    with pytest.raises(BusUnavailable, match="NOT_ENABLED") as caught:
        stage.do(doing, "10.89.0.0/24")
    assert caught.value.hint == "org.fedoraproject.FirewallD1.Exception"


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("name", [name for name in GOOD if name != "Hello"])
def test_odd_replies_are_no_answer(stage: Stage, name: str, odd: Reply) -> None:
    """An answer of other types is BusUnavailable, or does not matter; nothing else."""
    stage.replies[name] = odd
    try:
        found = stage.do("read", "10.89.0.0/24")
    except BusUnavailable:
        return
    assert odd[0] == GOOD[name][0] or name in ("addSource", "removeSource")
    assert found.version in ("2.3.1", "")
