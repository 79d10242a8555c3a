# SPDX-License-Identifier: Apache-2.0
"""Somebody else's chain that drops forwarded packets, whatever netavark accepts in its own table.

In nftables a packet has to pass every base chain of a hook: Docker and ufw set the policy of
iptables' FORWARD chain to drop, and every rule of netavark's in place, a published port gets no
answer. With netavark's iptables driver the accepting rules stand in that chain itself.
"""

from collections.abc import Iterator, Mapping

from podwatch.words.network import Setup, Subnet

TABLE = "filter"
CHAIN = "FORWARD"
_FAMILIES = {"ip": 4, "ip6": 6}


def drops(listing: str) -> bool:
    """Whether a chain, as `nft list chain` prints it, drops what nothing in it accepts."""
    return "policy drop;" in listing


def shut_out(setup: Setup, listings: Mapping[str, str]) -> Iterator[tuple[str, str, Subnet]]:
    """(family, network name, subnet) of each subnet that nothing accepts in a chain that drops.

    `listings` are the tables `filter` of the families ("ip", "ip6") whose FORWARD chain drops, as
    `nft list table` prints them. A rule that names the subnet or the bridge and accepts is enough:
    whether it accepts all that is needed is for its author to know.
    """
    names = {each.network_id: each.network_name for each in setup.endpoints}
    for family, listing in listings.items():
        accepts = [
            line.strip() for line in listing.splitlines() if line.rstrip().endswith("accept")
        ]
        for network_id, name in names.items():
            network = setup.networks.get(network_id)
            if network is None or network.internal:
                continue
            for subnet in network.subnets:
                marks = (f" {subnet} ", f'"{network.bridge}"')
                named = any(mark in f" {line} " for line in accepts for mark in marks)
                if subnet.version == _FAMILIES[family] and not named:
                    yield family, name or network.bridge, subnet


def remedy(subnet: Subnet, listing: str) -> str:
    """What lets a subnet through, in the words of whoever made the chain drop."""
    if "chain ufw-user-forward" in listing or "chain ufw6-user-forward" in listing:
        return f"ufw route allow to {subnet} && ufw route allow from {subnet}"
    chain = "DOCKER-USER" if "chain DOCKER-USER" in listing else CHAIN
    command = "iptables" if subnet.version == 4 else "ip6tables"
    return (
        f"{command} -I {chain} -d {subnet} -j ACCEPT && {command} -I {chain} -s {subnet} -j ACCEPT"
    )
