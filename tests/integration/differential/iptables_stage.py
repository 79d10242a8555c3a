# SPDX-License-Identifier: Apache-2.0
"""A stage for netavark's iptables driver, and the setup that podwatch should see there.

netavark 1.4.0 keeps no state, so there the setup is made from what netavark was given, as podwatch
makes it from what podman says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

from podwatch.decide.judge import judge
from podwatch.drivers.iptables import PREFIXES, traits
from podwatch.drivers.iptables_save import parse_save
from podwatch.words.network import (
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import ABSENT_FIREWALLD, Snapshot
from podwatch.words.verdict import Verdict
from tests.integration.differential.configurations import LONG, Box, Configuration, Net
from tests.integration.differential.stage import Stage

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


class on_stage:
    """A stage for one netavark, as a context manager."""

    def __init__(self, root: Path, suite: str, dns_port: int) -> None:
        self._stage = Stage(root)
        self._played = Played(self._stage, [], dns_port, stateful=suite != "bookworm")

    def __enter__(self) -> Played:
        return self._played

    def __exit__(self, *_: object) -> None:
        self._stage.close()
