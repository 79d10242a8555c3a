# SPDX-License-Identifier: Apache-2.0
"""The guard does what netavark's rules do, no less and no more: every way is tried for real.

With netavark's rules alone, with both, with the guard alone, and with neither. An answer says which
address it came from, and which one the asker was seen under.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from podwatch.adapters.statedir import StateDirectory
from podwatch.drivers.guard import guard
from podwatch.drivers.nftables import FAMILY, MARKS, TABLE, traits
from podwatch.words.guard import Held
from podwatch.words.network import Setup
from tests.integration.differential.asking import NO_ANSWER, Ask, World
from tests.integration.differential.configurations import (
    CONFIGURATIONS,
    EVERY_WAY,
    Box,
    Configuration,
)
from tests.integration.differential.conftest import skip_without_needs
from tests.integration.differential.guarded import (
    CLIENT,
    CLIENT_ADDRESSES,
    DIRECT,
    HOST_ADDRESSES,
    OUTSIDE,
    PROTOCOLS,
    Guarded,
    addresses_of,
)
from tests.integration.differential.iptables_stage import COMMANDS, fits, told
from tests.integration.differential.stage import Stage
from tests.integration.differential.test_mutations import as_netavark_2_1
from tests.lab import rootfs

pytestmark = pytest.mark.integration

Answers = Mapping[tuple[Ask, bool], str]
"""What came of each question; whether rules see what stays within a bridge."""


@dataclass(frozen=True)
class Host:
    """A suite, with its netavark, and how that makes its rules."""

    suite: str
    driver: str = "nftables"

    def __str__(self) -> str:
        return f"{self.suite}, {self.driver}"

    def boxes(self, configuration: Configuration) -> list[Box]:
        """The containers of it that this netavark can set up.

        Without state, as 1.4 is, nobody knows which network of a container's came first.
        """
        is_bookworm = self.suite == "bookworm"
        return [
            box
            for box in configuration.boxes
            if self.driver in ("nftables", MARKED)
            or (
                fits(self.suite, Configuration("", (box,)))
                and not (is_bookworm and len(box.networks) > 1)
            )
        ]


MARKED = "nftables as of netavark 2.1"
LEGACY = "iptables-legacy"
HOSTS = (
    Host("trixie"),
    Host("forky"),
    Host("experimental"),
    Host("experimental", MARKED),
    Host("bookworm", "iptables"),
    Host("bookworm", LEGACY),
    Host("forky", "iptables"),
)
_SHOW_TO_RULES = """
cd /proc/sys/net/bridge
for name in iptables ip6tables; do echo $1 >bridge-nf-call-$name; done
"""
CHAINS = (
    "PREROUTING",
    "POSTROUTING",
    "NETAVARK-ISOLATION-2",
    "nv_2f259bab_10_88_0_0_nm16_dnat",
)
OTHERS = [
    configuration
    for configuration in CONFIGURATIONS
    if str(configuration)
    in (
        "range of zero",
        "first and last port",
        "host ips that are written in odd ways",
        "one port on several addresses",
        "v6 only",
        "odd prefixes",
        "tight prefixes",
        "dns on port 53",
        "dns redirected on two networks",
        "internal",
        "long names",
        "one container on three networks",
        "internal beside open",
    )
]
"""What `EVERY_WAY` has nothing of."""


@dataclass(frozen=True)
class Tried:
    """Who was there, and what came of every question."""

    suite: str
    boxes: list[Box]
    netavark: Answers
    both: Answers
    guard: Answers
    neither: Answers


class Trial:
    """A stage on which every way is tried."""

    def __init__(
        self, host: Host, stage: Stage, world: World, configuration: Configuration = EVERY_WAY
    ) -> None:
        self.host, self.stage, self.world = host, stage, world
        self.boxes, self.dns_port = host.boxes(configuration), configuration.dns_port
        if host.driver == LEGACY:
            for command in COMMANDS.values():
                for tool in (command, f"{command}-restore"):
                    stage.run("ln", "-sf", "xtables-legacy-multi", f"/usr/sbin/{tool}")
        driver = "nftables" if host.driver in ("nftables", MARKED) else "iptables"
        for box in self.boxes:
            stage.netavark("setup", box.document(), self.dns_port, driver)
        if host.driver == MARKED:
            stage.replace_table(as_netavark_2_1(stage.listing()))
        self.guarded = Guarded(stage, world, self.boxes)
        self.asks = self.guarded.asks()

    def setup(self) -> Setup:
        """What netavark's state says, or what it was told."""
        if self.host.suite == "bookworm":
            return told(self.boxes, self.dns_port)
        return StateDirectory(self.stage.state_directory).read()

    def held(self) -> Held:
        """What the guard is to hold."""
        return guard(self.setup(), marks=MARKS in traits(self.stage.observed()))

    def without_netavark(self) -> None:
        """Take its rules away."""
        if self.host.driver in ("nftables", MARKED):
            self.stage.replace_table("")
            return
        for command in COMMANDS.values():
            self.stage.run(f"{command}-restore", text="*nat\nCOMMIT\n*filter\nCOMMIT\n")

    def ask(
        self, before: Answers | None = None, shown: tuple[bool, ...] = (False, True)
    ) -> Answers:
        """Ask everything; what was answered before is waited for, whatever else is not."""
        found: dict[tuple[Ask, bool], str] = {}
        for is_seen in shown:
            self.stage.run("sh", "-euc", _SHOW_TO_RULES, "sh", f"{is_seen:d}")
            sure = {ask for ask in self.asks if before and before[ask, is_seen] != NO_ANSWER}
            answers = self.world.ask(self.asks, sure)
            if before is None:
                # At first contact a packet may be lost while addresses are resolved.
                silent = [ask for ask, said in answers.items() if said == NO_ANSWER]
                answers |= self.world.ask(silent)
            found.update(((ask, is_seen), answer) for ask, answer in answers.items())
        return found


@pytest.fixture(scope="module", params=HOSTS, ids=str)
def tried(request: pytest.FixtureRequest) -> Iterator[Tried]:
    """Every way, tried with a suite's netavark."""
    skip_without_needs()
    host: Host = request.param
    with Stage(rootfs.build(host.suite)) as stage, World() as world:
        trial = Trial(host, stage, world)
        alone = trial.ask()
        with trial.guarded.guard(trial.held()):
            both = trial.ask(alone)
            trial.without_netavark()
            guard_alone = trial.ask(alone)
        yield Tried(host.suite, trial.boxes, alone, both, guard_alone, trial.ask())


def different(one: Answers, other: Answers) -> list[str]:
    """What differs, a line for each."""
    return [
        f"{ask}{' (rules see it)' if is_seen else ''}: {said}, then {other[ask, is_seen]}"
        for (ask, is_seen), said in one.items()
        if said != other[ask, is_seen]
    ]


def test_the_guard_alone_is_as_netavark_alone(tried: Tried) -> None:
    """With the guard alone every way is as open or closed, with the same addresses."""
    assert different(tried.netavark, tried.guard) == []


def test_both_are_as_netavark_alone(tried: Tried) -> None:
    """With the guard beside netavark's rules nothing is another than with these alone."""
    assert different(tried.netavark, tried.both) == []


def test_each_port_is_there_and_gone(tried: Tried) -> None:
    """Each published port is answered from outside until both are gone: no two lists are empty."""
    for box in tried.boxes:
        published = [port for port in box.ports if not port.host_ip and not is_internal(box)]
        for port in published:
            ways = [Ask(CLIENT, HOST_ADDRESSES[0], port.host, port.protocol)]
            if any(":" in subnet for net in box.networks for subnet in net.subnets):
                ways.append(Ask(CLIENT, HOST_ADDRESSES[2], port.host, port.protocol))
            for way in ways:
                client = CLIENT_ADDRESSES[":" in way.address]
                said = tried.guard[way, True]
                assert said.startswith(f"{box.name} at "), way
                assert said.endswith(f" {port.container} sees {client}"), way
                assert box.name not in tried.neither[way, True], way


def test_what_goes_out_has_the_hosts_address(tried: Tried) -> None:
    """What leaves a network has an address of the host's, that it is told to have from 2.0 on."""
    for box in tried.boxes:
        if is_internal(box):
            continue
        told = box.name == "outbound" and tried.suite == "experimental"
        for client, host in zip(CLIENT_ADDRESSES, HOST_ADDRESSES[told::2], strict=True):
            for protocol in PROTOCOLS:
                way = Ask(box.name, client, OUTSIDE, protocol)
                if (way, True) in tried.guard:
                    assert tried.guard[way, True].endswith(f" sees {host}"), way
                    assert not tried.neither[way, True].endswith(f" sees {host}"), way


def test_names_are_asked_where_the_server_listens(tried: Tried) -> None:
    """A question to port 53 is answered by aardvark-dns on its other port, until both are gone.

    That of Debian 12 listens on UDP alone.
    """
    for protocol in ("udp",) if tried.suite == "bookworm" else ("udp", "tcp"):
        way = Ask("named", "10.89.5.1", 53, protocol, "named.dns.podman")
        assert tried.guard[way, True] == "code 0, 1 addresses 10.89.5.10"
        assert tried.neither[way, True] == "refused"


def test_isolated_networks_do_not_reach_each_other(tried: Tried) -> None:
    """From one isolated network to another nothing goes with the guard alone; with neither it does.

    From a strictly isolated one nothing goes to any other.
    """
    apart = [box for box in tried.boxes if len(box.networks) == 1 and isolation(box)]
    assert len(apart) >= 2
    for box in apart:
        others = tried.boxes if isolation(box) == "strict" else apart
        for other in others:
            for address in addresses_of(other) if other is not box else ():
                way = Ask(box.name, address, DIRECT)
                if (way, True) in tried.guard and not is_internal(other):
                    assert tried.guard[way, True] == NO_ANSWER, way
                    assert tried.neither[way, True].startswith(other.name), way


@pytest.mark.parametrize("configuration", OTHERS, ids=str)
def test_each_configuration_has_its_ways(configuration: Configuration) -> None:
    """Whatever is set up, the guard alone answers as netavark's rules did."""
    skip_without_needs()
    host = Host("experimental")
    with Stage(rootfs.build(host.suite)) as stage, World() as world:
        trial = Trial(host, stage, world, configuration)
        alone = trial.ask(shown=(False,))
        with trial.guarded.guard(trial.held()):
            trial.without_netavark()
            assert different(alone, trial.ask(alone, shown=(False,))) == []


def test_a_chain_that_is_lost_is_made_up_for() -> None:
    """While any of these chains of netavark's is empty the guard does what was in it.

    One it cannot make up for: without the mark of NETAVARK-HOSTPORT-SETMARK nobody knows later what
    netavark's rules have forwarded, and what is someone else's doing.
    """
    skip_without_needs()
    with Stage(rootfs.build("trixie")) as stage, World() as world:
        trial = Trial(Host("trixie"), stage, world)
        alone, listing = trial.ask(shown=(True,)), stage.listing()
        with trial.guarded.guard(trial.held()):
            for chain in CHAINS:
                stage.nft("flush", "chain", FAMILY, TABLE, chain)
                assert different(alone, trial.ask(alone, shown=(True,))) == [], chain
                stage.replace_table(listing)


def isolation(box: Box) -> str:
    """How the first of a container's networks is isolated."""
    return box.networks[0].isolate.replace("false", "")


def is_internal(box: Box) -> bool:
    """Whether a container is on internal networks alone."""
    return all(net.internal for net in box.networks)
