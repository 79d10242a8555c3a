# SPDX-License-Identifier: Apache-2.0
"""firewalld and systemd as whoever owns their names may play them: any types in their answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.units import UnitWatch
from podwatch.words.errors import BusUnavailable
from podwatch.words.rules import Chain
from podwatch.words.snapshot import Zone
from tests.unit.adapters.system_bus import FakeBus, Reply, Variant

GOOD: dict[str, Reply] = {
    "Hello": ("s", [":1.7"]),
    "AddMatch": ("", []),
    "Subscribe": ("", []),
    "GetNameOwner": ("s", [":1.8"]),
    "getActiveZones": ("a{sa{sas}}", [{"trusted": {"sources": ["10.88.0.0/16"]}}]),
    "queryPanicMode": ("b", [False]),
    "GetAll": ("a{sv}", [{"FirewallBackend": Variant("s", "nftables")}]),
    "getPolicies": ("as", [["netavark_portfwd"]]),
    "getPolicySettings": (
        "a{sv}",
        [
            {
                "forward_ports": Variant("a(ssss)", [["8081", "tcp", "80", "10.88.0.2"]]),
                "rich_rules": Variant("as", ["rule"]),
                "masquerade": Variant("b", True),  # noqa: FBT003
            }
        ],
    ),
    "LoadUnit": ("o", ["/unit"]),
    "LoadState": ("v", [Variant("s", "loaded")]),
    "ActiveState": ("v", [Variant("s", "active")]),
    "Result": ("v", [Variant("s", "success")]),
    "MainPID": ("v", [Variant("u", 7)]),
    "ExecMainStartTimestamp": ("v", [Variant("t", 8_000_000)]),
    "GetUnitFileState": ("s", ["enabled"]),
}

ODD: list[Reply] = [
    ("", []),
    ("s", ["x"]),
    ("as", [["x"]]),
    ("ss", ["x", "y"]),
    ("a{sv}", [{"x": Variant("i", 7)}]),
    ("a{sas}", [{"x": ["y"]}]),
    ("v", [Variant("as", ["x"])]),
    ("v", [Variant("d", 1e300)]),
    ("x", [-(2**63)]),
]


def bus_of(replies: dict[str, Reply]) -> FakeBus:
    """A bus on which every call, or every property asked for, has one of these answers."""

    def answer(asked: Any) -> Reply:
        return replies[asked.body[1] if asked.member == "Get" else asked.member]

    return FakeBus(answer)


async def ask(path: Path, replies: dict[str, Reply]) -> tuple[object, object]:
    """What both adapters read on such a bus; an error where they raised BusUnavailable."""
    found: list[object] = []
    firewalld, units = FirewalldWatch(), UnitWatch((), lambda: None)
    async with bus_of(replies).at(path):
        for asking in (firewalld.read(["netavark_portfwd", "other"]), units.read("some.service")):
            try:
                found.append(await asyncio.wait_for(asking, 10))
            except BusUnavailable as exc:
                found.append(exc)
        firewalld.bus.close()
        units.bus.close()
    return found[0], found[1]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clients look for the bus."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus,guid=00")
    return tmp_path / "bus"


def test_good_replies_are_read(path: Path) -> None:
    """The answers that firewalld and systemd give are understood."""
    firewalld, unit = asyncio.run(ask(path, GOOD))

    assert getattr(firewalld, "sources", None) == {"10.88.0.0/16": "trusted"}
    texts = ("forward-port port=8081:proto=tcp:toport=80:toaddr=10.88.0.2", "rule", "masquerade")
    chain = Chain("netavark_portfwd", texts)
    assert getattr(firewalld, "policies", None) == {"netavark_portfwd": chain}
    assert (getattr(unit, "pid", None), getattr(unit, "started", None)) == (7, 8.0)


@pytest.mark.parametrize("odd", ODD, ids=str)
@pytest.mark.parametrize("name", [name for name in GOOD if name not in ("Hello", "AddMatch")])
def test_odd_replies_are_no_answer(path: Path, name: str, odd: Reply) -> None:
    """An answer of other types than it has is BusUnavailable, or does not matter; nothing else."""
    found = asyncio.run(ask(path, {**GOOD, name: odd}))

    if odd[0] != GOOD[name][0] and name != "Subscribe":
        assert any(isinstance(each, BusUnavailable) for each in found)


@pytest.mark.parametrize("key", ["forward_ports", "rich_rules", "masquerade"])
def test_odd_settings_of_a_policy_are_no_answer(path: Path, key: str) -> None:
    """A setting of another type than it has is BusUnavailable; one that is not there is empty."""
    (settings,) = GOOD["getPolicySettings"][1]
    odd = {**settings, key: Variant("a(ss)", [["8081", "tcp"]])}
    found = asyncio.run(ask(path, {**GOOD, "getPolicySettings": ("a{sv}", [odd])}))
    assert isinstance(found[0], BusUnavailable)
    less = {name: each for name, each in settings.items() if name != key}
    found = asyncio.run(ask(path, {**GOOD, "getPolicySettings": ("a{sv}", [less])}))
    assert len(getattr(found[0], "policies", {})["netavark_portfwd"].rules) == 2


@pytest.mark.parametrize(
    ("settings", "zone"),
    [
        ({"target": Variant("s", "ACCEPT")}, Zone(accepts=True)),
        ({"services": Variant("as", ["ssh"])}, Zone()),
        ({"services": Variant("as", ["ssh", "dns"])}, Zone(hears_names=True)),
        ({"ports": Variant("a(ss)", [["50-60", "udp"], ["x", "udp"]])}, Zone(hears_names=True)),
        ({"ports": Variant("a(ss)", [["53", "tcp"], ["54-", "udp"]])}, Zone()),
        ({"rules_str": Variant("as", ["rule"])}, Zone(rules=("rule",))),
        ({"ports": Variant("s", "53")}, None),
    ],
    ids=str,
)
def test_what_a_zone_lets_in(path: Path, settings: dict[str, Any], zone: Zone | None) -> None:
    """By its target, service or port; of one that is told otherwise nothing is known."""
    replies = {**GOOD, "getZoneSettings2": ("a{sv}", [settings])}
    found = asyncio.run(ask(path, replies))
    assert getattr(found[0], "zones", None) == ({} if zone is None else {"trusted": zone})
