# SPDX-License-Identifier: Apache-2.0
"""Whose chains drop, in tables of others, and how little of these is read to know it."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon import firewalls
from podwatch.daemon.firewalls import drops_of_others, interferes, is_there
from podwatch.words.way import BaseChain


def chain(name: str, hook: str, policy: str, *rules: str) -> str:
    """A base chain as nft prints it."""
    lines = (f"type filter hook {hook} priority filter; policy {policy};", *rules)
    return "\n".join((f"\tchain {name} {{", *(f"\t\t{line}" for line in lines), "\t}"))


@dataclass
class FakeNft:
    """An nft with these chains by table and name, which notes what is listed."""

    tables: dict[str, dict[str, str]]
    listed: list[str] = field(default_factory=list)

    async def list_chains(self) -> str:
        """Every base chain of every table."""
        return "".join(map(self._table, self.tables))

    async def list_chain(self, family: str, table: str, name: str) -> str:
        """One chain, in its table."""
        self.listed.append(f"{family} {table} {name}")
        return self._table(f"{family} {table}", name)

    async def list_table(self, family: str, name: str) -> str:
        """One table."""
        self.listed.append(f"{family} {name}")
        return self._table(f"{family} {name}")

    def _table(self, table: str, only: str = "") -> str:
        chains = [text for name, text in self.tables[table].items() if only in ("", name)]
        return "\n".join((f"table {table} {{", *chains, "}", ""))


def found(nft: FakeNft, own: Collection[str] = (), **how: Any) -> list[str]:
    """The chains that drop, each with its table."""
    there: Any = nft
    chains = asyncio.run(drops_of_others(there, own, **how))
    return [f"{chain.table} {chain.name}" for chain in chains]


def test_a_table_without_a_chain_that_drops_is_not_listed() -> None:
    """Its chain is read, and no more of it."""
    nft = FakeNft({"inet site": {"passing": chain("passing", "forward", "accept")}})
    assert found(nft) == []
    assert nft.listed == ["inet site passing"]


def test_of_a_table_with_one_that_drops_the_others_do_not_count() -> None:
    """Not what accepts, nor what IP packets to containers do not pass."""
    nft = FakeNft(
        {
            "inet site": {
                "passing": chain("passing", "forward", "drop"),
                "open": chain("open", "forward", "accept"),
                "leaving": chain("leaving", "output", "drop"),
                "coming": chain("coming", "input", "accept", "counter drop"),
            }
        }
    )
    assert found(nft) == ["inet site passing", "inet site coming"]
    assert nft.listed == ["inet site passing", "inet site open", "inet site coming", "inet site"]
    assert found(nft, hooks=["input"]) == ["inet site coming"]


@pytest.mark.parametrize(
    ("table", "own"),
    [
        ("inet netavark", ["inet netavark"]),
        ("inet firewalld", []),
        ("bridge site", []),
    ],
    ids=["the driver's own", "firewalld's", "of frames"],
)
def test_what_others_do_not_drop_is_not_read(table: str, own: list[str]) -> None:
    """The driver's own table, firewalld's, and those that no IP packet passes."""
    nft = FakeNft({table: {"passing": chain("passing", "forward", "drop")}})
    assert found(nft, own) == []
    assert nft.listed == []


def test_sixteen_chains_of_others_are_read_at_most() -> None:
    """A host with thousands of tables does not make a look take minutes."""
    drops = {"passing": chain("passing", "forward", "drop")}
    nft = FakeNft({f"inet site{number}": drops for number in range(17)})
    assert found(nft) == [f"inet site{number} passing" for number in range(16)]


@pytest.mark.parametrize("there", [True, False])
def test_a_chain_is_there_as_the_kernel_says(
    monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    """By its family, table and name."""
    asked = []

    def exists(*names: str) -> bool:
        asked.append(names)
        return there

    monkeypatch.setattr(firewalls, "chain_exists", exists)
    assert is_there(BaseChain("inet site", "passing", "forward", "drop")) is there
    assert asked == [("inet", "site", "passing")]


def test_a_chain_is_there_where_nobody_can_be_asked() -> None:
    """It is reported until somebody knows better: of this family the kernel is never asked."""
    assert is_there(BaseChain("nowhere site", "passing", "forward", "drop"))


def test_a_file_of_a_mebibyte_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer one is nobody's configuration, and says nothing."""
    file = tmp_path / "ufw.conf"
    monkeypatch.setattr(firewalls, "_UFW_FILE", file)
    text = "# ufw\nENABLED=yes\n"
    file.write_text(text.ljust(1 << 20, "#"))
    assert interferes("ufw.service")
    file.write_text(text.ljust((1 << 20) + 1, "#"))
    assert not interferes("ufw.service")
