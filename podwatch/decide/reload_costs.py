# SPDX-License-Identifier: Apache-2.0
"""What a reload of firewalld costs containers, by its permanent configuration. Pure.

While it loads its rules anew firewalld drops all new connections, as ReloadPolicy says (firewalld
2.1), and it forgets every source that is not permanent. No table of podwatch's could let pass what
firewalld's drops. Both are the administrator's settings: they are told, and not made.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network

from podwatch.decide.census import living
from podwatch.drivers.about import TRUSTED
from podwatch.drivers.driver import DRIVERS, about
from podwatch.words.network import Setup
from podwatch.words.snapshot import Permanent, Snapshot
from podwatch.words.text import few
from podwatch.words.verdict import Notice, WarningKind

ADVICE = (
    "podwatch explain firewalld has what ends that, and its price; "
    "firewalld.reload_note = false ends this note"
)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a reload drops that it need not drop.

    `drops`: what is forwarded, though this firewalld could let it pass. `lacking` are subnets that
    are no permanent sources of zone trusted, each with its network; `moved` those that are of
    another zone, with that.
    """

    drops: bool
    lacking: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)


def trusted_subnets(setup: Setup | None) -> dict[str, str]:
    """The subnets from which netavark has firewalld let everything in, each with its network.

    Of networks with a container that runs. With CNI these are single addresses, and their subnets
    are as good. None where netavark's firewalld driver has a zone of its own for them.
    """
    if setup is None or setup.driver not in DRIVERS or about(setup.driver).zone != TRUSTED:
        return {}
    found: dict[str, str] = {}
    told: set[str] = set()  # once a network, however many containers are on it
    for endpoint in setup.endpoints:
        network = setup.networks.get(endpoint.network_id)
        if endpoint.internal or endpoint.network_id in told:
            continue
        if network is None or not network.subnets:
            found |= {str(subnet): endpoint.network_name for _, subnet in endpoint.addresses}
            continue
        told.add(endpoint.network_id)
        if not network.internal:
            name = endpoint.network_name or network.bridge
            found |= {str(subnet): name for subnet in network.subnets}
    return dict(sorted(found.items(), key=lambda one: (one[1], one[0])))


def covered(subnet: str, sources: Mapping[str, str]) -> bool:
    """Whether all of a subnet is a source of zone trusted: by itself, or with more around it."""
    wanted = ip_network(subnet)
    for source, zone in sources.items():
        try:
            known = ip_network(source, strict=False)
        except ValueError:  # a MAC, or an ipset
            continue
        is_around = known.version == wanted.version and known.prefixlen <= wanted.prefixlen
        if zone == TRUSTED and is_around and known.overlaps(wanted):
            return True
    return False


def costs(permanent: Permanent, subnets: Mapping[str, str]) -> Costs:
    """What a reload costs networks with these subnets."""
    sources = permanent.sources
    moved = {one: sources[one] for one in subnets if sources.get(one, TRUSTED) != TRUSTED}
    lacking = {
        subnet: network
        for subnet, network in subnets.items()
        if subnet not in moved and not covered(subnet, sources)
    }
    return Costs(_drops(permanent.policy), lacking, moved)


def reload_notes(setup: Setup, permanent: Permanent | None) -> Iterator[Notice]:
    """One note, where a reload drops what it need not drop; none where that is not known.

    With the iptables backend a reload takes netavark's own rules, too: no setting helps there.
    """
    subnets = trusted_subnets(setup)
    if permanent is None or not permanent.by_nftables or not subnets:
        return
    found = costs(permanent, subnets)
    parts = []
    if found.drops:
        parts.append("new connections to and from containers for about 100 ms")
    if found.lacking:
        networks = few(dict.fromkeys(found.lacking.values()))
        parts.append(
            f"what containers of {networks} send for longer, as their subnets are no permanent "
            "sources of zone trusted"
        )
    told = [f"drops {', and '.join(parts)}"] if parts else []
    told += [f"puts {few(group)} into zone {zone}" for zone, group in _by_zone(found.moved)]
    if told:
        what = f"each reload of firewalld {'; it '.join(told)}"
        yield Notice(WarningKind.RELOAD, what, ADVICE)


def notes_of(snapshot: Snapshot) -> list[Notice]:
    """The same of a look."""
    if snapshot.setup is None or snapshot.firewalld is None:
        return []
    setup = living(snapshot.setup, snapshot.containers)
    return list(reload_notes(setup, snapshot.firewalld.permanent))


def _drops(policy: Mapping[str, str]) -> bool:
    return bool(policy) and policy["FORWARD"] != "ACCEPT"


def _by_zone(moved: Mapping[str, str]) -> Iterator[tuple[str, Collection[str]]]:
    for zone in sorted(set(moved.values())):
        yield zone, [subnet for subnet, its in moved.items() if its == zone]
