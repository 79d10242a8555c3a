# SPDX-License-Identifier: Apache-2.0
"""netavark's iptables driver: what podwatch expects equals what the real netavark installs.

netavark 1.4.0 keeps no state, so there the setup is made from what netavark was given, as podwatch
makes it from what podman says.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from podwatch.decide.judge import judge
from podwatch.drivers.iptables import PREFIXES, expected_rules, traits
from podwatch.drivers.iptables_save import clearing_scripts, parse_save, restore_scripts
from podwatch.drivers.saved import SavedRules, covers, repairs
from podwatch.words.network import (
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import RuleKind, Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import State, Verdict
from tests.integration.differential.configurations import (
    BUSY_HOST,
    CONFIGURATIONS,
    LONG,
    Box,
    Configuration,
    Net,
)
from tests.integration.differential.stage import Stage
from tests.lab import rootfs
from tests.lab.needs import missing_needs

pytestmark = pytest.mark.integration

SUITES = {"bookworm": "1.4.0", "trixie": "1.14.0", "forky": "1.17.2"}
"""The netavark of each."""

COMMANDS = {"ip": "iptables", "ip6": "ip6tables"}


@dataclass(frozen=True)
class Played:
    """A stage, the boxes on it, and which netavark it has."""

    stage: Stage
    boxes: list[Box]
    dns_port: int
    stateful: bool
    seen: set[str] = field(default_factory=set)

    def play(self, verb: str, box: Box) -> None:
        """Have netavark set a box up or tear it down."""
        self.stage.netavark(verb, box.document(), self.dns_port, "iptables")
        if verb == "setup":
            self.boxes.append(box)
        else:
            self.boxes.remove(box)

    def setup(self) -> Setup:
        """What netavark's state says, or what it was told."""
        return self.stage.expected_setup() if self.stateful else told(self.boxes, self.dns_port)

    def observed(self) -> Ruleset:
        """The rules of both families as podwatch reads them, and what it remembers of them."""
        listings = {family: self.stage.run(f"{name}-save") for family, name in COMMANDS.items()}
        found = parse_save(listings, prefixes=PREFIXES)
        self.seen.update(traits(found))
        return replace(found, traits=found.traits | self.seen)

    def judge(self, observed: Ruleset | None = None) -> Verdict:
        """The verdict on what is there now, or as given."""
        now = self.observed() if observed is None else observed
        return judge(Snapshot(self.setup(), now, ABSENT_FIREWALLD))

    def commit(self, scripts: dict[str, str]) -> None:
        """What podwatch does with its scripts."""
        for family, script in scripts.items():
            self.stage.run(f"{COMMANDS[family]}-restore", "--noflush", text=script)


def told(boxes: Iterable[Box], dns_port: int) -> Setup:
    """The setup that these boxes are."""
    networks: dict[str, Network] = {}
    endpoints = []
    for box in boxes:
        for net in box.networks:
            if net.internal:
                continue
            networks[net.network_id] = network_of(net)
            subnets = [ip_network(text) for text in net.subnets]
            first = [next((s for s in subnets if s.version == v), None) for v in (4, 6)]
            endpoints.append(
                Endpoint(
                    box.container_id,
                    net.network_id,
                    net.name,
                    tuple((subnet[box.place], subnet) for subnet in first if subnet is not None),
                    tuple(
                        PortMapping(
                            port.host,
                            port.container,
                            port.protocol,
                            max(port.count, 1),
                            ip_address(port.host_ip) if port.host_ip else None,
                        )
                        for port in box.ports
                    )
                    or None,
                    dns_port=dns_port,
                    dns_servers=tuple(subnet[1] for subnet in subnets),
                )
            )
    return Setup(FirewallDriver.IPTABLES, networks, tuple(endpoints))


def network_of(net: Net) -> Network:
    """A network as podwatch sees it where there is no state."""
    return Network(
        net.network_id,
        net.bridge or f"br-{net.name}"[:15],
        tuple(ip_network(text) for text in net.subnets),
        Isolation.NORMAL if net.isolate == "true" else Isolation.NEVER,
    )


def fits(suite: str, configuration: Configuration) -> bool:
    """Whether this netavark can set it up with iptables at all.

    1.4 knows no strict isolation; a rule's comment has no room for the longest names.
    """
    nets = [net for box in configuration.boxes for net in box.networks]
    strict = any(net.isolate == "strict" for net in nets)
    return LONG not in nets and not (strict and suite == "bookworm")


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """A suite; its root file system is built if this machine does not have it yet."""
    problems = missing_needs()
    if problems and os.environ.get("CI") != "true":
        pytest.skip("; ".join(problems))
    return str(request.param)


@pytest.fixture
def busy(suite: str) -> Iterator[Played]:
    """A stage on which netavark has set up every feature its version has."""
    with on_stage(rootfs.build(suite), suite, BUSY_HOST.dns_port) as played:
        for box in BUSY_HOST.boxes:
            if fits(suite, Configuration("", (box,))):
                played.play("setup", box)
        yield played


class on_stage:
    """A stage for one netavark, as a context manager."""

    def __init__(self, root: Path, suite: str, dns_port: int) -> None:
        self._stage = Stage(root)
        self._played = Played(self._stage, [], dns_port, stateful=suite != "bookworm")

    def __enter__(self) -> Played:
        return self._played

    def __exit__(self, *_: object) -> None:
        self._stage.close()


def assert_all_is_well(played: Played) -> int:
    """Expected equals observed, in each rule and its number, and the judge is content."""
    setup, observed = played.setup(), played.observed()
    wanted: Counter[tuple[str, str]] = Counter()
    for rule in expected_rules(setup, observed):
        chain = observed.chains.get(rule.chain)
        there = () if chain is None else chain.rules
        if rule.kind is RuleKind.HOOK:
            assert chain is not None, f"chain {rule.chain} is not there"
            continue
        wanted[rule.chain, next((text for text in rule.texts if text in there), rule.text)] += 1
    found = Counter((name, text) for name, chain in observed.chains.items() for text in chain.rules)
    assert wanted - found == Counter(), "expected, but netavark did not install it"
    assert found - wanted == Counter(), "netavark installed it, but podwatch does not expect it"
    verdict = played.judge()
    assert verdict.state is State.OK, verdict
    return verdict.expected_rules


@pytest.mark.parametrize(
    ("suite", "configuration"),
    [
        (suite, configuration)
        for suite in SUITES
        for configuration in CONFIGURATIONS
        if fits(suite, configuration)
    ],
    indirect=["suite"],
    ids=str,
)
def test_expected_equals_installed(suite: str, configuration: Configuration) -> None:
    """After each container that joins, expected and installed are equal; then nothing is."""
    with on_stage(rootfs.build(suite), suite, configuration.dns_port) as played:
        for box in configuration.boxes:
            played.play("setup", box)
            if played.setup().endpoints:
                assert assert_all_is_well(played) > 0
        for box in configuration.boxes:
            played.play("teardown", box)
        assert expected_rules(played.setup(), played.observed()) == []


def test_each_rule_is_missed_and_put_back(busy: Played) -> None:
    """Whichever rule is deleted, it alone is missing, and the copy makes all as it was."""
    before = busy.observed()
    copy = SavedRules(before.chains, FirewallDriver.IPTABLES)
    for name, chain in before.chains.items():
        family, table, short = name.split(" ")
        for number, text in enumerate(chain.rules, 1):
            command = COMMANDS[family]
            busy.stage.run(command, "-t", table, "-D", short, str(number))
            observed, setup = busy.observed(), busy.setup()
            (missing,) = busy.judge(observed).missing
            rules = expected_rules(setup, observed)
            spellings = {spelling: rule.texts for rule in rules for spelling in rule.texts}
            assert missing.chain == name
            assert text in spellings[missing.detail]
            assert covers(copy, rules, observed)
            todo = repairs(copy, rules, observed)
            busy.commit(restore_scripts(todo, observed, prefixes=PREFIXES))
            assert busy.observed() == before


@pytest.mark.parametrize("damage", ["-F", "-F; $I -X", "-t nat -F", "-t nat -F; $I -t nat -X"])
@pytest.mark.parametrize("command", COMMANDS.values())
def test_a_flush_is_put_back(busy: Played, command: str, damage: str) -> None:
    """After a flush the copy makes all as it was, and leaves the rules of others alone."""
    before = busy.observed()
    busy.stage.run("sh", "-ec", f"I={command}; $I {damage}")
    busy.stage.run(command, "-A", "FORWARD", "-i", "eth9", "-j", "DROP")
    lost = busy.judge()
    assert lost.state is State.LOST
    observed = busy.observed()
    rules = expected_rules(busy.setup(), observed)
    todo = repairs(SavedRules(before.chains, FirewallDriver.IPTABLES), rules, observed)
    busy.commit(restore_scripts(todo, observed, prefixes=PREFIXES))
    busy.stage.run(command, "-D", "FORWARD", "-i", "eth9", "-j", "DROP")
    assert busy.observed().chains == before.chains


def test_all_is_taken_away_and_put_back(busy: Played) -> None:
    """Clearing leaves not one chain of netavark's, and what it took can be put back whole."""
    before = busy.observed()
    busy.commit(clearing_scripts(before, prefixes=PREFIXES))
    bare = busy.observed()
    assert not bare.present
    assert not any(chain.rules for chain in bare.chains.values())
    rules = expected_rules(busy.setup(), before)
    todo = repairs(SavedRules(before.chains, FirewallDriver.IPTABLES), rules, bare)
    busy.commit(restore_scripts(todo, bare, prefixes=PREFIXES))
    assert busy.observed() == before
