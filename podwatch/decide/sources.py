# SPDX-License-Identifier: Apache-2.0
"""What is missing in firewalld's zones, and what is odd about firewalld. Pure."""

from collections.abc import Iterable, Sequence

from podwatch.drivers import firewalld as policies
from podwatch.drivers.driver import DRIVERS, about
from podwatch.words.network import Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Firewalld, Snapshot
from podwatch.words.verdict import Missing, MissingKind, Notice, WarningKind


def missing_sources(setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()) -> list[Missing]:
    """The subnets that are not sources of the zone they have to be in."""
    firewalld = snapshot.firewalld
    if firewalld is None or not firewalld.running or setup.driver not in DRIVERS:
        return []
    found = []
    zone = about(setup.driver).zone
    # Without its policy netavark's own zone may be gone, too: setting up again makes both.
    is_there = not about(setup.driver).in_firewalld or policies.WAY_OUT in firewalld.policies
    kind = MissingKind.SOURCE if is_there else MissingKind.FORWARD
    for network_id, name, subnet in trusted_sources(setup):
        if subnet not in firewalld.sources:
            ids = tuple(e.container_id for e in setup.endpoints if e.network_id == network_id)
            found.append(
                Missing(
                    kind,
                    f"network {name}: {subnet} is not a source of firewalld's zone {zone}",
                    subnet,
                    network=name,
                    container_ids=ids,
                )
            )
    return found


def trusted_sources(setup: Setup) -> Iterable[tuple[str, str, str]]:
    """(network id, network name, trusted subnet) of every network that has a container."""
    if about(setup.driver).trusts_addresses:
        for endpoint in setup.endpoints:
            for address, _ in () if endpoint.internal else endpoint.addresses:
                single = f"{address}/{address.max_prefixlen}"
                yield endpoint.network_id, endpoint.network_name, single
        return
    names = {endpoint.network_id: endpoint.network_name for endpoint in setup.endpoints}
    by_firewalld = about(setup.driver).in_firewalld
    for network_id, name in names.items():
        network = setup.networks.get(network_id)
        # netavark's firewalld driver does nothing for an internal network.
        if network is not None and not (network.internal and by_firewalld):
            for subnet in network.subnets:
                yield network_id, name or network.bridge, str(subnet)


def firewalld_warnings(setup: Setup, firewalld: Firewalld) -> Iterable[Notice]:
    """What is odd about firewalld, for a person."""
    if not firewalld.running:
        if about(setup.driver).in_firewalld and setup.endpoints:
            yield Notice(
                WarningKind.FIREWALLD_STOPPED,
                "firewalld does not run, and with it no published port is forwarded (netavark's "
                "driver is firewalld)",
                "systemctl start firewalld",
            )
        return
    if not firewalld.in_kernel:
        yield Notice(
            WarningKind.FIREWALLD_TABLE,
            "firewalld runs, but its table is not in the kernel: the host is unprotected",
            "systemctl restart firewalld",
        )
    for _, name, subnet in trusted_sources(setup):
        wanted = about(setup.driver).zone
        zone = firewalld.sources.get(subnet, wanted)
        if zone != wanted:
            yield Notice(
                WarningKind.FOREIGN_ZONE,
                f"network {name}: {subnet} is in firewalld's zone {zone}, not {wanted}",
                f"firewall-cmd --zone={wanted} --change-source={subnet}, unless it is meant so",
            )
