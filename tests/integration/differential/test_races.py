# SPDX-License-Identifier: Apache-2.0
"""Between a look and its repair containers come, go and are replaced: the repair harms nobody.

The look, the restorer and the copy are podwatch's own, the rules those of the real netavark, and
they are read and committed by the real nft and iptables of the suite.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from podwatch.adapters.netlink import generation
from podwatch.adapters.paths import Paths
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon.containers import Containers
from podwatch.daemon.expected import Expected
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.installed import Installed
from podwatch.daemon.look import Looker
from podwatch.daemon.restore import Restorer
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.daemon.surroundings import Surroundings
from podwatch.decide.decision import Decision
from podwatch.decide.judge import judge
from podwatch.drivers import iptables, iptables_save, nft_script, nftables
from podwatch.drivers.driver import expected_rules
from podwatch.drivers.saved import Repair
from podwatch.words.errors import RestoreFailed
from podwatch.words.means import Method, Outcome
from podwatch.words.network import Container, FirewallDriver
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from tests.integration.differential.configurations import BUSY_HOST, Box
from tests.integration.differential.stage import Stage
from tests.lab import rootfs
from tests.unit.daemon.fakes import PlainRules

pytestmark = pytest.mark.integration

ROUNDS = 8
TRIES = 6
_SAVES = {"ip": "iptables-save", "ip6": "ip6tables-save"}


class StageRules(PlainRules):
    """The rules of one driver on a stage: what podwatch.daemon.rules does, by the suite's tools."""

    def __init__(self, stage: Stage, driver: FirewallDriver) -> None:
        self.stage = stage
        self.driver = driver
        self.before_commit: Callable[[], None] = lambda: None

    async def read(self) -> Ruleset:
        """The rules as they are."""
        if self.driver is FirewallDriver.NFTABLES:
            return self.stage.observed()
        listings = {family: self.stage.run(name) for family, name in _SAVES.items()}
        return iptables_save.parse_save(listings, prefixes=iptables.PREFIXES)

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> int:
        """Commit, after whatever happens in the last moment."""
        self.before_commit()
        try:
            if self.driver is FirewallDriver.NFTABLES:
                self.stage.nft("-f", "-", text=nft_script.repair_script(todo, observed))
                return 1
            scripts = iptables_save.restore_scripts(todo, observed, prefixes=iptables.PREFIXES)
            for family, script in scripts.items():
                program = _SAVES[family].replace("save", "restore")
                self.stage.run(program, "--noflush", text=script)
            return len(scripts)
        except AssertionError as exc:
            raise RestoreFailed(str(exc)) from exc


@dataclass
class Played:
    """A stage with boxes that come and go, and podwatch's own look and repair."""

    stage: Stage
    driver: FirewallDriver
    rules: StageRules
    looker: Looker
    restorer: Restorer
    copy: SavedCopy
    up: dict[str, Box]

    def come(self, box: Box) -> None:
        """A container starts."""
        self.stage.netavark("setup", box.document(), BUSY_HOST.dns_port, self.driver)
        self.up[box.name] = box

    def go(self, name: str) -> None:
        """A container stops."""
        box = self.up.pop(name)
        self.stage.netavark("teardown", box.document(), BUSY_HOST.dns_port, self.driver)

    def stir(self, chance: random.Random, *, only_come: bool = False) -> None:
        """Some container starts, stops, or is replaced by another."""
        down = [box for box in BUSY_HOST.boxes if box.name not in self.up]
        if self.up and not only_come and chance.random() < 0.6:
            self.go(chance.choice(sorted(self.up)))
        if down and (only_come or chance.random() < 0.6):
            self.come(chance.choice(down))

    def damage(self, chance: random.Random) -> None:
        """Rules get lost: all, those of a chain, or a few."""
        if self.driver is FirewallDriver.IPTABLES:
            table = chance.choice(["nat", "filter"])
            self.stage.run(chance.choice(["iptables", "ip6tables"]), "-t", table, "-F")
            return
        chains = [name for name, chain in self.stage.observed().chains.items() if chain.rules]
        if not chains or chance.random() < 0.2:
            self.stage.nft("flush", "ruleset")
            return
        on = (nftables.FAMILY, nftables.TABLE)
        for name in chance.sample(chains, min(len(chains), 3)):
            handles = self.stage.observed().handles[name]
            if chance.random() < 0.4:
                self.stage.nft("flush", "chain", *on, name)
            elif handles:
                self.stage.nft("delete", "rule", *on, name, "handle", str(chance.choice(handles)))

    def look(self) -> Snapshot:
        """Look once, as podman would list what is up; what is whole is copied."""
        asyncio.run(self.looker.look())
        ids = [box.container_id for box in self.up.values()]
        containers = self.looker.containers
        containers.take({key: Container(key, key[:12]) for key in ids}, containers.asked_now())
        snapshot = asyncio.run(self.looker.look())
        verdict = judge(snapshot)
        whole = not (verdict.missing_rules or verdict.has_duplicates)
        if whole:
            self.copy.take(snapshot, verdict.rules, whole=True)
        return snapshot

    def replay(self, snapshot: Snapshot) -> Outcome:
        """Carry out the replay that was decided from a look."""
        decision = Decision(Method.REPLAY, "")
        return asyncio.run(
            self.restorer.restore(
                Method.REPLAY, decision, snapshot, judge(snapshot), lambda _: None
            )
        )

    def now(self) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
        """The rules that are there by chain, and every spelling of those that are expected."""
        observed = asyncio.run(self.rules.read())
        wanted: dict[str, set[str]] = {}
        for rule in expected_rules(self.stage.expected_setup(), observed):
            wanted.setdefault(rule.chain, set()).update(rule.texts)
        return {name: list(chain.rules) for name, chain in observed.chains.items()}, wanted


@pytest.fixture(params=[FirewallDriver.NFTABLES, FirewallDriver.IPTABLES], ids=str)
def played(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Played]:
    """A stage of Debian 13 with every box up, and a copy of its rules."""
    driver: FirewallDriver = request.param
    with Stage(rootfs.build("trixie")) as stage:
        rules = StageRules(stage, driver)
        installed = Installed.at(Paths(), None)
        expected = Expected(StateDirectory(stage.state_directory), installed)
        containers = Containers(expected, installed, generation)
        around = Surroundings(installed, {driver: rules}, None, None)
        looker = Looker(
            expected, installed, {driver: rules}, FirewalldLook(None), containers, around
        )
        copy = SavedCopy(tmp_path / "rules.json")
        lock = tmp_path / "restore.lock"
        restorer = Restorer(looker, None, installed, copy, lock=lock, at_once=2, timeout_s=10.0)
        made = Played(stage, driver, rules, looker, restorer, copy, {})
        for box in BUSY_HOST.boxes:
            if driver is FirewallDriver.NFTABLES or len(box.name) < 20:
                made.come(box)
        made.look()
        assert copy.of(driver).chains
        yield made


@pytest.mark.parametrize("when", ["before the check", "after it"])
def test_a_repair_harms_nobody_who_came_or_went_meanwhile(played: Played, when: str) -> None:
    """It takes away no rule that is expected now, and brings none that is not; soon all is there.

    What begins after the check has podman's lock, by which netavark is some milliseconds from the
    rules: then a container can come, but none whose rules are being put back has gone.
    """
    chance = random.Random(f"{when} {played.driver}")  # noqa: S311 (the same each time)
    acted = 0
    for _ in range(ROUNDS):
        played.damage(chance)
        snapshot = played.look()
        late = when == "after it"

        def stir(*, only_come: bool = late) -> None:
            played.stir(chance, only_come=only_come)

        if late:
            played.rules.before_commit = stir
        else:
            stir()
        before, _ = played.now()
        outcome = played.replay(snapshot)
        played.rules.before_commit = lambda: None
        acted += outcome.done
        after, wanted = played.now()
        for name, texts in before.items():
            lost = [text for text in texts if text not in after.get(name, ())]
            assert not wanted.get(name, set()).intersection(lost), (name, lost)
        for name, texts in after.items():
            brought = [text for text in texts if text not in before.get(name, ())]
            assert wanted.get(name, set()).issuperset(brought), (name, brought, outcome)
        for _ in range(TRIES):
            snapshot = played.look()
            if not judge(snapshot).missing_rules:
                break
            played.replay(snapshot)
        heal(played)
    assert acted > 0


def heal(played: Played) -> None:
    """What no copy has comes back by the container's restart, as after a reload."""
    for name in sorted(played.up):
        if not judge(played.look()).missing_rules:
            return
        box = played.up[name]
        played.go(name)
        played.come(box)
    verdict = judge(played.look())
    assert not [entry for entry in verdict.missing_rules if entry.reloadable], verdict.missing
