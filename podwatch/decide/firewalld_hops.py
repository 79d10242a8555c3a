# SPDX-License-Identifier: Apache-2.0
"""Hops that are firewalld's: whether it lets forwarded packets pass, its zones and policies. Pure.

Each method tells one place a packet passes in firewalld, whichever driver netavark uses.
"""

from collections.abc import Iterator

from podwatch.decide.sources import trusted_sources
from podwatch.drivers.driver import DRIVERS, about
from podwatch.words.network import Address, Endpoint, Setup
from podwatch.words.snapshot import Firewalld
from podwatch.words.way import Hop, Kernel, Mark

RESTORE = "podwatch restore"
_CLOSED_ZONES = frozenset(
    ("block", "dmz", "drop", "external", "home", "internal", "public", "work")
)
"""firewalld's own zones that forward nothing to other zones, but into their own (firewalld 1.0)."""


class FirewalldHops:
    """The hops of a setup's ways; `said` is None where firewalld could not be asked."""

    def __init__(self, said: Firewalld | None, setup: Setup, kernel: Kernel) -> None:
        self._said = said
        self._setup = setup
        self._kernel = kernel
        self._by_firewalld = about(setup.driver).in_firewalld
        self._sources = {(network, source) for network, _, source in trusted_sources(setup)}

    def gate(self, *, to_a_port: bool) -> Iterator[Hop]:
        """Whether firewalld as a whole lets packets pass."""
        firewalld = self._said
        if firewalld is None:
            yield Hop("firewalld", "it could not be asked", Mark.UNKNOWN, "firewall-cmd --state")
        elif not firewalld.running:
            if self._by_firewalld:
                what = "it does not run, and it has all of netavark's rules"
                yield Hop("firewalld", what, Mark.BROKEN, "systemctl start firewalld")
        elif firewalld.panic:
            yield from self.panic()
        elif firewalld.reloading:
            what = "a reload is going on: new connections are dropped"
            yield Hop("firewalld", what, Mark.BROKEN, "wait, or: systemctl restart firewalld")
        elif to_a_port and firewalld.strict_forward_ports and not self._by_firewalld:
            # firewalld 2.3 leaves "ct status dnat accept" out of its filter_FORWARD then.
            what = "StrictForwardPorts=yes: it lets no port pass that it does not forward itself"
            advice = "set it to no in /etc/firewalld/firewalld.conf; firewall-cmd --reload"
            yield Hop("firewalld", what, Mark.BROKEN, advice)
        else:
            yield Hop("firewalld", "it lets forwarded ports pass")

    def panic(self) -> Iterator[Hop]:
        """Its panic mode, in which nothing gets anywhere: no port, no name, no neighbour."""
        if self._said is not None and self._said.running and self._said.panic:
            what = "panic mode: all traffic is dropped"
            yield Hop("firewalld", what, Mark.BROKEN, "firewall-cmd --panic-off")

    def source(self, endpoint: Endpoint, address: Address) -> Iterator[Hop]:
        """The zones of which the address is a source, and what they do with what it sends.

        Nothing of it where it is not known which driver is in use, and so which zone it has to be.
        """
        firewalld = self._said
        if firewalld is None or not firewalld.running or self._setup.driver not in DRIVERS:
            return
        for subnet in names_of(endpoint, address):
            if (endpoint.network_id, subnet) not in self._sources:
                continue
            source = firewalld.sources.get(subnet)
            wanted = about(self._setup.driver).zone
            if source == wanted:
                yield Hop("firewalld zone", f"{subnet} is a source of zone {wanted}")
                continue
            zone = source or self._zone_of_bridge(firewalld, endpoint)
            advice = back_in(wanted, subnet, source)
            what = f"{subnet} is {'in' if source else 'a source of no zone, and so in'} zone {zone}"
            link = self._kernel.routed.get(address.version, "")
            if self._by_firewalld and address.version == 4:
                what += ": what containers send is not masqueraded"
                yield Hop("firewalld zone", what, Mark.BROKEN, advice)
            elif firewalld.interfaces.get(link) == zone:
                yield Hop("firewalld zone", f"{what}, as {link} is", Mark.NOTE, advice)
            elif zone in _CLOSED_ZONES or not zone:
                what += ": what containers send is dropped or rejected"
                yield Hop("firewalld zone", what, Mark.BROKEN, advice)
            else:
                yield Hop("firewalld zone", f"{what}, whose rules apply", Mark.NOTE, advice)

    def policies(self, endpoint: Endpoint, address: Address) -> Iterator[Hop]:
        """firewalld's policies that drop or reject what its zones let pass (firewalld 0.9)."""
        firewalld, link = self._said, self._kernel.routed.get(address.version)
        if firewalld is None or not firewalld.running or link is None:
            return
        known = [firewalld.sources.get(name) for name in names_of(endpoint, address)]
        zone = next(filter(None, known), self._zone_of_bridge(firewalld, endpoint))
        beyond = firewalld.interfaces.get(link, firewalld.default_zone)
        for policy in self._kernel.policies:
            if policy.closes(zone, beyond):
                between = f"{', '.join(policy.ingress)} → {', '.join(policy.egress)}"
                what = (
                    f"{policy.name} ({between}) has the "
                    f"target {policy.target}: what no rule of it accepts ends there"
                )
                advice = (
                    f"firewall-cmd --permanent --policy={policy.name} --set-target=CONTINUE; "
                    "firewall-cmd --reload"
                )
                yield Hop("firewalld policy", what, Mark.BROKEN, advice)

    def _zone_of_bridge(self, firewalld: Firewalld, endpoint: Endpoint) -> str:
        network = self._setup.networks.get(endpoint.network_id)
        bridge = firewalld.interfaces.get(network.bridge) if network else None
        return bridge or firewalld.default_zone


def back_in(wanted: str, subnet: str, source: str | None) -> str:
    """What makes a subnet, the `source` of another zone or of none, one of its zone again."""
    return f"firewall-cmd --zone={wanted} --change-source={subnet}" if source else RESTORE


def names_of(endpoint: Endpoint, address: Address) -> set[str]:
    """What rules and zones may call an address by: its subnet, itself, itself as a subnet."""
    subnets = {str(subnet) for known, subnet in endpoint.addresses if known == address}
    return {*subnets, str(address), f"{address}/{address.max_prefixlen}"}
