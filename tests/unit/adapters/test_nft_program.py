# SPDX-License-Identifier: Apache-2.0
"""nftables by the program nft: what it is told, and where it runs."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwatch.adapters import libnftables, namespace
from podwatch.adapters.libnftables import NftProgram, Unanswered
from podwatch.words.errors import RestoreFailed, RulesUnreadable

NFT = """#!/bin/sh
echo "nft $*" >> {0}/told
cat >> {0}/told; echo >> {0}/told
[ ! -e {0}/hangs ] || exec sleep 1000
cat {0}/listed
[ ! -e {0}/fails ] || {{ cat {0}/fails >&2; exit 1; }}
"""


class FakeEntered(namespace.Own):
    """A namespace, which a child enters by telling so; stands in for namespace.Entered."""

    def __init__(self, directory: Path) -> None:
        self.enter = lambda: (directory / "entered").touch()


class Stage:
    """A program in nft's place."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        program = directory / "nft"
        program.write_text(NFT.format(directory))
        program.chmod(0o755)
        self.lists("")
        self.nft = NftProgram()

    def lists(self, text: str) -> None:
        """What it prints."""
        (self.directory / "listed").write_text(text)

    def fails(self, text: str) -> None:
        """It ends with this error."""
        (self.directory / "fails").write_text(text)

    def told(self) -> str:
        """What it was told, arguments and script; "" where it never ran."""
        file = self.directory / "told"
        return file.read_text().strip() if file.exists() else ""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A user's namespace that was entered."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(namespace, "_networks", FakeEntered(tmp_path))
    made = Stage(tmp_path)
    yield made
    made.nft.close()


def test_a_table_is_listed_from_inside(stage: Stage) -> None:
    """With handles and without counters, as by the library."""
    stage.lists("table inet netavark {\n}\n")
    listed = asyncio.run(stage.nft.list_table("inet", "netavark"))
    assert listed == "table inet netavark {\n}\n"
    assert stage.told() == "nft --handle --stateless --file -\nlist table inet netavark"
    assert (stage.directory / "entered").exists()


def test_a_counter_is_listed_with_its_state(stage: Stage) -> None:
    """It is what it was asked for."""
    stage.lists("table inet t {\n\tcounter c {\n\t\tpackets 7 bytes 420\n\t}\n}\n")
    assert asyncio.run(stage.nft.count("inet", "t", "c")) == 7
    assert stage.told() == "nft --file -\nlist counter inet t c"


def test_what_does_not_exist_is_empty(stage: Stage) -> None:
    """Any other error is unknown, with the program's first line."""
    stage.fails("Error: No such file or directory\nlist table inet netavark\n")
    assert asyncio.run(stage.nft.list_table("inet", "netavark")) == ""
    stage.fails("Error: Operation not permitted\nlist table\n^^^^\n")
    with pytest.raises(RulesUnreadable, match=r"netavark: Error: Operation not permitted$"):
        asyncio.run(stage.nft.list_table("inet", "netavark"))


def test_a_script_is_committed_inside(stage: Stage) -> None:
    """As one transaction, by one program; a refusal is told in its words."""
    asyncio.run(stage.nft.apply("add table inet t\nadd chain inet t c\n"))
    assert stage.told() == "nft --stateless --file -\nadd table inet t\nadd chain inet t c"
    assert (stage.directory / "entered").exists()
    stage.fails("/dev/stdin:1:1-4: Error: syntax error\n")
    with pytest.raises(RestoreFailed, match="syntax error"):
        asyncio.run(stage.nft.apply("nonsense\n"))


def test_while_there_is_no_namespace_nothing_is_in_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No program is asked for that."""
    monkeypatch.setattr(namespace, "_networks", namespace.Nowhere())
    assert asyncio.run(stage.nft.list_table("inet", "netavark")) == ""
    assert asyncio.run(stage.nft.list_chains()) == ""
    assert stage.told() == ""


def test_a_script_is_never_committed_elsewhere(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The namespace may go between a look and its repair: the host's own is not for that."""
    monkeypatch.setattr(namespace, "_networks", namespace.Nowhere())
    with pytest.raises(RestoreFailed, match="the networks' namespace is not there"):
        asyncio.run(stage.nft.apply("add table inet t\n"))
    assert stage.told() == ""


def test_a_program_that_hangs_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is unknown then; what is committed may yet be carried out."""
    monkeypatch.setattr(libnftables, "LIST_TIMEOUT_S", 0.05)
    monkeypatch.setattr(libnftables, "APPLY_TIMEOUT_S", 0.05)
    (stage.directory / "hangs").touch()
    with pytest.raises(RulesUnreadable, match="no answer after"):
        asyncio.run(stage.nft.list_table("inet", "netavark"))
    with pytest.raises(Unanswered, match="no answer after"):
        asyncio.run(stage.nft.apply("add table inet t\n"))


def test_without_nft_it_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a listing and in a repair."""
    monkeypatch.setenv("PATH", str(stage.directory / "nowhere"))
    with pytest.raises(RulesUnreadable, match="nft: not found"):
        asyncio.run(stage.nft.list_table("inet", "netavark"))
    with pytest.raises(RestoreFailed, match="nft: not found"):
        asyncio.run(stage.nft.apply("add table inet t\n"))
