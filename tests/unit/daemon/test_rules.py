# SPDX-License-Identifier: Apache-2.0
"""Each driver's rules, read and put right: by a library that answers from a record, and programs
of the tests' own in the place of iptables'."""

import asyncio
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from podwatch.daemon.rules import IptablesRules, NftablesRules, known_rules
from podwatch.drivers import cni, iptables, nftables
from podwatch.drivers.driver import expected_rules, is_whole
from podwatch.drivers.iptables_save import ELSEWHERE
from podwatch.drivers.saved import Repair, SavedRules, repairs
from podwatch.formats.podman_setup import parse_setup
from podwatch.words.errors import RestoreFailed, RulesUnreadable
from podwatch.words.network import FirewallDriver, Setup
from podwatch.words.rules import Chain, Ruleset

DATA = Path(__file__).parents[2] / "data"
NETAVARK = DATA / "bookworm-netavark-standard"
TABLE = "\n".join(
    f"{line} # handle {number}" if line.startswith("\t\t") and "hook" not in line else line
    for number, line in enumerate((DATA / "trixie-standard/table.nft").read_text().splitlines())
)
SETUP, _ = parse_setup(
    "".join((NETAVARK / f"{name}.json").read_text() for name in ("networks", "ps", "inspect"))
)
EMPTY = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"


@dataclass
class FakeNft:
    """libnftables, whose one table is as recorded, and which keeps what it is given."""

    table: str = TABLE
    scripts: list[str] = field(default_factory=list)
    writers: frozenset[str] = frozenset({"libnftables"})

    async def list_table(self, family: str, name: str) -> str:
        """The table."""
        assert (family, name) == ("inet", "netavark")
        return self.table

    async def apply(self, script: str) -> None:
        """One transaction."""
        self.scripts.append(script)

    async def tool_works(self) -> str:
        """What is wrong with the program."""
        return "no such file"


@pytest.fixture
def nft() -> Any:
    """A library that reads a real table."""
    return FakeNft()


def read(rules: NftablesRules | IptablesRules) -> Ruleset:
    """The rules as they are."""
    return asyncio.run(rules.read())


def test_a_table_is_listed_again_only_after_a_transaction(nft: Any) -> None:
    """The ruleset's generation is the same for as long as the table is."""
    generations = [5, 5, 5, 6, 6]
    rules = NftablesRules(nft, lambda: generations.pop(0))
    whole = read(rules)
    nft.table = ""
    assert read(rules) == whole
    assert not read(rules).present
    assert generations == []


def test_a_table_that_changed_while_it_was_listed_is_listed_again(nft: Any) -> None:
    """Nothing says of which generation the listing is."""
    generations = [5, 6, 5, 5]
    rules = NftablesRules(nft, lambda: generations.pop(0))
    read(rules)
    nft.table = ""
    assert not read(rules).present


@pytest.mark.parametrize("does", ["clear", "repair"])
def test_what_is_under_way_makes_a_table_be_listed_again(nft: Any, does: str) -> None:
    """Who is interrupted in it still has it carried out, after the generation was asked for."""
    rules = NftablesRules(nft, lambda: 5)
    whole = read(rules)

    async def interrupted() -> None:
        begun = rules.clear() if does == "clear" else rules.repair(lost_of(whole, "FORWARD"), whole)
        await begun

    asyncio.run(interrupted())
    nft.table = ""
    assert not read(rules).present


def lost_of(observed: Ruleset, name: str) -> list[Repair]:
    """What puts the first rule of a chain back, in a table that has lost it."""
    whole = observed.chains[name]
    todo = Repair(
        name, whole, exists=True, rehook=False, stays=(None, *range(len(whole.rules) - 1))
    )
    return [todo]


def test_the_table_is_read_with_what_an_earlier_one_told(nft: Any) -> None:
    """Which netavark filled it does not show in what is left: what was seen counts."""
    rules = NftablesRules(nft, count().__next__)
    whole = read(rules)
    assert whole.present
    assert whole.chains["FORWARD"].rules
    nft.table = ""
    assert not read(rules).present
    marked = Chain("", (*whole.chains["FORWARD"].rules, nftables._DNAT_ACCEPT))
    rules.remember({"FORWARD": marked})
    assert nftables.MARKS in read(rules).traits


def test_what_was_seen_is_forgotten_with_the_table(nft: Any) -> None:
    """The next netavark fills it: what was known of an earlier one is not."""
    rules = NftablesRules(nft, count().__next__)
    rules.remember({"FORWARD": Chain("", (nftables._DNAT_ACCEPT,))})
    asyncio.run(rules.clear())
    assert nft.scripts == ["add table inet netavark\ndelete table inet netavark\n"]
    assert nftables.MARKS not in read(rules).traits


def test_chains_are_put_right_in_one_transaction(nft: Any) -> None:
    """A dormant table takes one more before, which wakes it."""
    rules = NftablesRules(nft, count().__next__)
    whole = read(rules)
    left = whole.chains["FORWARD"].rules[1:]
    chains = {**whole.chains, "FORWARD": Chain(whole.chains["FORWARD"].hook, left)}
    handles = {**whole.handles, "FORWARD": whole.handles["FORWARD"][1:]}
    observed = Ruleset(present=True, chains=chains, handles=handles)
    assert asyncio.run(rules.repair(lost_of(whole, "FORWARD"), observed)) == 1
    (script,) = nft.scripts
    assert whole.chains["FORWARD"].rules[0] in script
    asleep = Ruleset(
        present=True, chains=chains, traits=frozenset({nftables.DORMANT}), handles=handles
    )
    assert asyncio.run(rules.repair(lost_of(whole, "FORWARD"), asleep)) == 2
    assert nft.scripts[1:] == ["add table inet netavark\n", script]


def test_a_place_that_is_not_known_is_no_repair(nft: Any) -> None:
    """Without the handle of its neighbour a rule cannot be put in its place: nothing is tried."""
    whole = read(NftablesRules(nft, count().__next__))
    left = Chain(whole.chains["FORWARD"].hook, whole.chains["FORWARD"].rules[1:])
    observed = Ruleset(present=True, chains={**whole.chains, "FORWARD": left})
    with pytest.raises(RestoreFailed):
        asyncio.run(
            NftablesRules(nft, count().__next__).repair(lost_of(whole, "FORWARD"), observed)
        )
    assert nft.scripts == []


def test_nftables_has_one_program_and_nobody_elses_chains(nft: Any) -> None:
    """The rules are nowhere else, and its table is netavark's alone; whether nft runs it says."""
    rules = NftablesRules(nft, count().__next__)
    assert asyncio.run(rules.elsewhere(Setup(FirewallDriver.NFTABLES))) is None
    assert rules.filter_chains() == ()
    assert asyncio.run(rules.tool_works()) == "no such file"
    assert rules.exist() in (True, False)


@dataclass
class Programs:
    """iptables' programs in a directory that PATH names: each prints a file, or keeps its input."""

    directory: Path

    def prints(self, name: str, text: str) -> None:
        """Have a program print this."""
        (self.directory / f"{name}.txt").write_text(text)
        self._write(name, f'cat "{self.directory}/{name}.txt"')

    def keeps(self, name: str) -> None:
        """Have a program keep what it is given."""
        self._write(name, f'cat >> "{self.directory}/{name}.got"')

    def fails(self, name: str) -> None:
        """Have a program fail."""
        self._write(name, "echo no such table >&2; exit 1")

    def got(self, name: str) -> str:
        """What a program was given."""
        path = self.directory / f"{name}.got"
        return path.read_text() if path.exists() else ""

    def _write(self, name: str, line: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def have(self, suffix: str, *, whole: bool) -> None:
        """Both families as recorded, or empty, by the programs with this suffix."""
        for name in ("iptables", "ip6tables"):
            text = (NETAVARK / f"{name}.save").read_text() if whole else EMPTY
            self.prints(f"{name}{suffix}-save", text)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Programs of the test's own, before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    made = Programs(tmp_path)
    made.have("", whole=True)
    for variant in ("-nft", "-legacy"):
        for name in ("iptables", "ip6tables"):
            made.fails(f"{name}{variant}-save")
    made.keeps("iptables-restore")
    made.keeps("ip6tables-restore")
    return made


@pytest.fixture
def rules(programs: Programs) -> IptablesRules:
    """netavark's rules in iptables."""
    assert programs.got("iptables-restore") == ""
    return IptablesRules(iptables.PREFIXES, iptables.traits, iptables.DNAT)


def test_iptables_is_read_in_both_families(rules: IptablesRules) -> None:
    """All that is expected is there; everybody's filter chains are noted on the way."""
    found = read(rules)
    assert is_whole(SETUP, found)
    assert {chain.hook for chain in rules.filter_chains()} >= {"forward"}
    assert not any(chain.name.startswith("NETAVARK") for chain in rules.filter_chains())


def test_what_the_administrator_drops_is_not_the_drivers_own(programs: Programs) -> None:
    """CNI makes CNI-ADMIN and leaves it to him; what is in CNI's other chains is its own."""
    chains = "*filter\n:FORWARD ACCEPT [0:0]\n:CNI-FORWARD - [0:0]\n:CNI-ADMIN - [0:0]\n"
    jumps = "-A FORWARD -j CNI-FORWARD\n-A FORWARD -j CNI-ADMIN\n"
    rules = "-A CNI-FORWARD -s 10.88.0.2/32 -j ACCEPT\n-A CNI-ADMIN -j DROP\n"
    programs.prints("iptables-save", f"{chains}{jumps}{rules}COMMIT\n")
    programs.prints("ip6tables-save", EMPTY)
    there = IptablesRules(cni.PREFIXES, cni.traits, "CNI-HOSTPORT-DNAT")
    read(there)
    (forward,) = (chain for chain in there.filter_chains() if chain.rules)
    assert forward.around == ("-j CNI-FORWARD", "-j CNI-ADMIN", "-j DROP")


def test_what_iptables_told_of_its_version_is_remembered(
    programs: Programs, rules: IptablesRules
) -> None:
    """By a look, or by the copy an earlier podwatch left; not over a clearing."""
    seen = read(rules)
    programs.have("", whole=False)
    assert read(rules).traits >= seen.traits
    fresh = IptablesRules(iptables.PREFIXES, iptables.traits, iptables.DNAT)
    assert not read(fresh).traits
    fresh.remember(seen.chains)
    assert read(fresh).traits == iptables.traits(seen)
    asyncio.run(fresh.clear())
    assert not read(fresh).traits


def test_the_other_iptables_is_looked_at_for_rules_that_are_whole_there(
    programs: Programs, rules: IptablesRules
) -> None:
    """Somebody switched while containers ran; what is not whole there comes back here."""
    programs.have("", whole=False)
    assert asyncio.run(rules.elsewhere(SETUP)) is None
    programs.have("-legacy", whole=True)
    there = asyncio.run(rules.elsewhere(SETUP))
    assert there is not None
    assert ELSEWHERE in there.traits
    assert is_whole(SETUP, there)
    programs.have("-legacy", whole=False)
    assert asyncio.run(rules.elsewhere(SETUP)) is None


def test_rules_that_are_half_there_are_not_elsewhere(
    programs: Programs, rules: IptablesRules
) -> None:
    """One rule less, and all come back where Podman will look for them."""
    programs.have("-legacy", whole=True)
    text = (NETAVARK / "iptables.save").read_text().splitlines(keepends=True)
    at = next(at for at, line in enumerate(text) if line.startswith("-A NETAVARK_FORWARD"))
    programs.prints("iptables-legacy-save", "".join(text[:at] + text[at + 1 :]))
    assert asyncio.run(rules.elsewhere(SETUP)) is None


def test_nothing_expected_is_looked_for_nowhere(programs: Programs, rules: IptablesRules) -> None:
    """Without containers no other program is started."""
    programs.have("-nft", whole=True)
    assert asyncio.run(rules.elsewhere(Setup(FirewallDriver.IPTABLES))) is None


def test_iptables_repairs_each_table_of_each_family_by_itself(
    programs: Programs, rules: IptablesRules
) -> None:
    """What was lost is given back to the family's own program, and nothing to the other."""
    whole = read(rules)
    name, chain = next(
        (name, chain)
        for name, chain in whole.chains.items()
        if name.startswith("ip nat NETAVARK-") and len(chain.rules) > 1
    )
    observed = Ruleset(
        present=True, chains={**whole.chains, name: Chain(chain.hook, chain.rules[1:])}
    )
    copy = SavedRules(whole.chains, FirewallDriver.IPTABLES)
    todo = repairs(copy, expected_rules(SETUP, observed), observed)
    assert [repair.name for repair in todo] == [name]
    assert asyncio.run(rules.repair(todo, observed)) == 1
    assert chain.rules[0] in programs.got("iptables-restore")
    assert programs.got("ip6tables-restore") == ""


def test_clearing_iptables_leaves_what_is_others(programs: Programs, rules: IptablesRules) -> None:
    """Chains of netavark's and jumps to them go, in both families."""
    asyncio.run(rules.clear())
    for name in ("iptables-restore", "ip6tables-restore"):
        said = programs.got(name)
        assert "NETAVARK_FORWARD" in said
        assert all(
            "NETAVARK" in line
            for line in said.splitlines()
            if line.startswith(("-X", "-F", "-D", "-A", "-I"))
        )


def test_a_program_that_fails_is_said_to(programs: Programs, rules: IptablesRules) -> None:
    """Its message is the reason why rules are unknown, why a repair failed, why none is begun."""
    programs.fails("iptables-save")
    with pytest.raises(RulesUnreadable, match="no such table"):
        read(rules)
    programs.fails("iptables")
    assert "no such table" in asyncio.run(rules.tool_works())
    programs.prints("iptables", "")
    assert asyncio.run(rules.tool_works()) == ""


def test_each_driver_whose_rules_can_be_put_right_is_known(nft: Any) -> None:
    """nftables by the library, iptables and CNI by iptables' programs, each by its own chains."""
    known = known_rules(nft)
    assert {driver: rules.tool for driver, rules in known.items()} == {
        FirewallDriver.NFTABLES: "nft",
        FirewallDriver.IPTABLES: "iptables",
        FirewallDriver.CNI: "iptables",
    }
    assert all(rules.writers for rules in known.values())
