# SPDX-License-Identifier: Apache-2.0
"""A host that has lost a rule, in memory: its rules, its setup, its systemd, and a restorer on it.

Each fake stands in for one interface of the daemon and is as small as its tests allow.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, cast

from podwatch.adapters.netlink import generation
from podwatch.adapters.paths import Paths
from podwatch.daemon.containers import Containers
from podwatch.daemon.firewalld_look import FirewalldLook
from podwatch.daemon.inside import Inside
from podwatch.daemon.installed import Installed
from podwatch.daemon.look import Looker
from podwatch.daemon.restore import Restorer
from podwatch.daemon.saved_copy import SavedCopy
from podwatch.daemon.surroundings import Surroundings
from podwatch.daemon.wires import Wires
from podwatch.decide.decision import Decision
from podwatch.decide.judge import judge
from podwatch.drivers.driver import expected_rules
from podwatch.drivers.saved import Repair
from podwatch.words.errors import BusUnavailable, RestoreFailed
from podwatch.words.links import Inner, Link, Links
from podwatch.words.means import Outcome
from podwatch.words.network import (
    Container,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Chain, Ruleset
from podwatch.words.snapshot import Firewalld, Snapshot
from podwatch.words.verdict import Missing
from tests.unit.daemon.fakes import PlainRules
from tests.unit.drivers import installed

SUBNET = ip_network("10.88.0.0/16")
NETWORK = Network("2f259bab", "podman0", (SUBNET,))
IDS = ("a" * 64, "b" * 64, "c" * 64)


def endpoint(number: int) -> Endpoint:
    """A container's place on the network, with one published port."""
    address = ip_address(f"10.88.0.{number + 2}")
    ports = (PortMapping(8080 + number, 80, "tcp"),)
    return Endpoint(IDS[number], NETWORK.id, "podman", ((address, SUBNET),), ports)


SETUP = Setup(
    FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, tuple(endpoint(each) for each in range(3))
)


def chains_of(setup: Setup) -> dict[str, Chain]:
    """Every rule that is expected, where it has to be."""
    return installed.chains_of(expected_rules(setup, Ruleset(present=False)), spelling=0)


class KernelRules(PlainRules):
    """A firewall driver's rules in memory: what is committed is there, all of it or nothing."""

    def __init__(self, chains: Mapping[str, Chain]) -> None:
        self.chains = dict(chains)
        self.refuses: list[str] = []
        self.commits = 0
        self.broken = ""

    async def read(self) -> Ruleset:
        """The rules as they are."""
        await asyncio.sleep(0)
        return Ruleset(present=bool(self.chains), chains=dict(self.chains))

    async def repair(self, todo: Sequence[Repair], observed: Ruleset) -> int:
        """Commit, unless it is told to refuse."""
        await asyncio.sleep(0)
        if self.refuses:
            raise RestoreFailed(self.refuses.pop())
        self.commits += 1
        self.chains |= {each.name: each.chain for each in todo}
        return 1

    async def clear(self) -> None:
        """All gone."""
        await asyncio.sleep(0)
        self.chains = {}

    async def tool_works(self) -> str:
        """Unless the test says why not."""
        return self.broken


class ToldSetup:
    """What is set up, as the test says; stands in for daemon.expected.Expected."""

    asks_podman = False
    listed = None

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.stamp: object = 0
        self.now: object = 0
        self.paused: tuple[str, ...] = ()
        self.stopped: tuple[str, ...] = ()

    async def read(self) -> Setup:
        """The setup now."""
        self.stamp = self.now
        return self.setup

    def change(self, setup: Setup) -> None:
        """A container came or went."""
        self.setup, self.now = setup, object()

    def is_current(self) -> bool:
        """Whether it is the one that was read."""
        return self.stamp == self.now

    def take_listed(self) -> None:
        """podman was not asked for its networks."""

    async def list_containers(self) -> dict[str, Container]:
        """podman's containers."""
        ids = sorted({endpoint.container_id for endpoint in self.setup.endpoints})
        states = dict.fromkeys(self.paused, ContainerState.PAUSED) | dict.fromkeys(
            self.stopped, ContainerState.ENDED
        )
        return {key: Container(key, key[:2], states.get(key, ContainerState.UP)) for key in ids}


@dataclass
class Units:
    """systemd, which runs each reload as `reload` says; stands in for adapters.systemd.Systemd."""

    reload: Callable[[str], str]
    hangs: bool = False
    done: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """Run these units to their end."""
        self.begun.set()
        if self.hangs:
            await self.goes_on.wait()
        self.done += names
        return {name: self.reload(name) for name in names}

    async def active_states(self, names: Sequence[str]) -> dict[str, str]:
        """None is active."""
        return {}


@dataclass
class Zones:
    """firewalld's zones; stands in for adapters.firewalld.FirewalldWatch."""

    trusted: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    panic: bool = False
    when_trusted: Callable[[], None] = lambda: None
    changes = 0

    async def trust(self, subnet: str, zone: str) -> None:
        """Make a subnet a source of a zone."""
        await asyncio.sleep(0)
        self.trusted.append((subnet, zone))
        self.when_trusted()

    async def read(self, _policies: Sequence[str]) -> Firewalld:
        """What it is like, unless it does not answer."""
        await asyncio.sleep(0)
        if self.silent:
            raise BusUnavailable("it does not answer")
        return Firewalld(running=True, panic=self.panic)


@dataclass
class Scene:
    """A damaged host, and a restorer on it."""

    rules: KernelRules
    setup: ToldSetup
    units: Units
    restorer: Restorer
    snapshot: Snapshot
    zones: Zones
    told: list[str] = field(default_factory=list)

    async def run(self, method: str, *missing: Missing) -> Outcome:
        """Carry out a means for all containers, and what is missing."""
        decision = Decision(method, "", container_ids=IDS, missing=missing)
        verdict = judge(self.snapshot)
        return await self.restorer.restore(
            method, decision, self.snapshot, verdict, self.told.append
        )

    def still_there(self) -> bool:
        """Whether every rule that was there before the repair, and is expected, is there."""
        before, wanted = self.snapshot.rules, chains_of(self.setup.setup)
        assert before is not None
        return all(
            text in self.rules.chains.get(name, Chain("", ())).rules
            for name, chain in before.chains.items()
            for text in chain.rules
            if text in wanted.get(name, Chain("", ())).rules
        )


@dataclass
class Wired:
    """The links of the containers on the network, as the kernel lists them; some are `out`."""

    out: tuple[str, ...] = ()
    asked: int = 0

    def links(self) -> Links:
        """The bridge, and a port of it for each container that is not out."""
        self.asked += 1
        ports = (
            Link(f"veth{at}", 10 + at, kind="veth", master=NETWORK.bridge, netns_id=at)
            for at, key in enumerate(IDS)
            if key not in self.out
        )
        bridge = Link(NETWORK.bridge, 5, kind="bridge")
        return Links({link.name: link for link in (bridge, *ports)})

    def inside(self, numbers: Iterable[int]) -> dict[int, tuple[Inner, ...]]:
        """The other ends of those ports, each with its container's address."""
        addresses = [(endpoint(at).addresses[0][0], SUBNET.prefixlen) for at in range(3)]
        return {
            at: (Inner("eth0", 2, peer=10 + at, addresses=(ip_interface(addresses[at]),)),)
            for at in numbers
        }


async def scene(
    tmp_path: Path,
    reload: Callable[[str], str] = lambda _: "done",
    *,
    hangs: bool = False,
    wired: Wired | None = None,
) -> Scene:
    """A host that has lost one rule which no reload brings back.

    Where it is not `wired`, its links are those of the machine that tests it.
    """
    whole = chains_of(SETUP)
    forward = whole["FORWARD"]
    damaged = {**whole, "FORWARD": Chain(forward.hook, forward.rules[1:])}
    rules, setup, units = KernelRules(damaged), ToldSetup(SETUP), Units(reload, hangs)
    known = {FirewallDriver.NFTABLES: rules}
    zones, paths = Zones(), Paths(aardvark=tmp_path / "dns", netavark_networks=tmp_path, locks=())
    installed = Installed.at(paths, cast("Any", units))
    expected = cast("Any", setup)
    inside = None if wired is None else Inside(wired.links, wired.inside)
    containers = Containers(expected, installed, generation, inside=inside)
    await containers.ask()
    looker = Looker(
        expected,
        installed,
        known,
        FirewalldLook(cast("Any", zones)),
        containers,
        Surroundings(installed, known, None, None),
    )
    if wired is not None:
        looker.wires = Wires(read=wired.links)
    restorer = Restorer(
        looker,
        cast("Any", zones),
        installed,
        SavedCopy(tmp_path / "rules.json"),
        lock=tmp_path / "restore.lock",
        at_once=1,
        timeout_s=1.0,
    )
    return Scene(rules, setup, units, restorer, await looker.look(), zones)
