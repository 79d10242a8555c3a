# SPDX-License-Identifier: Apache-2.0
"""Chains of others that drop forwarded packets: whom they shut out, and what lets them through."""

from ipaddress import ip_address, ip_network

import pytest

from podwatch.drivers.forwarding import drops, remedy, shut_out
from podwatch.words.network import Endpoint, FirewallDriver, Network, Setup

SUBNETS = (ip_network("10.88.0.0/16"), ip_network("fd10::/64"))
NETWORK = Network("n" * 64, "podman0", SUBNETS)
ENDPOINT = Endpoint("c" * 64, NETWORK.id, "podman", ((ip_address("10.88.0.2"), SUBNETS[0]),))
SETUP = Setup(FirewallDriver.NFTABLES, {NETWORK.id: NETWORK}, (ENDPOINT,))


def listing(*rules: str, chain: str = "ufw-user-forward") -> str:
    """A table `ip filter` whose FORWARD chain drops, with these rules in a chain it jumps to."""
    body = "".join(f"\t\t{rule}\n" for rule in rules)
    return (
        "table ip filter {\n\tchain FORWARD {\n"
        "\t\ttype filter hook forward priority filter; policy drop;\n"
        f"\t\tcounter jump {chain}\n\t}}\n\n\tchain {chain} {{\n{body}\t}}\n}}\n"
    )


def test_a_policy_that_drops_is_seen() -> None:
    """It is the chain's policy that shuts out what nobody accepts."""
    assert drops(listing())
    assert not drops(listing().replace("policy drop", "policy accept"))
    assert not drops("")


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.88.0.0/16 counter accept",
        'iifname "eth0" oifname "podman0" counter accept',
    ],
)
def test_who_is_accepted_is_not_shut_out(rule: str) -> None:
    """A rule that accepts the subnet or the bridge is enough; one for others is not."""
    assert list(shut_out(SETUP, {"ip": listing(rule)})) == []
    assert list(shut_out(SETUP, {"ip": listing("ip daddr 10.88.0.0/24 accept", "drop")})) == [
        ("ip", "podman", SUBNETS[0])
    ]


def test_each_family_is_judged_by_its_own_table() -> None:
    """ip6tables' chain shuts out IPv6 subnets only."""
    assert list(shut_out(SETUP, {"ip6": listing()})) == [("ip6", "podman", SUBNETS[1])]
    assert list(shut_out(SETUP, {})) == []


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        (
            "ufw-user-forward",
            "ufw route allow to 10.88.0.0/16 && ufw route allow from ",
        ),
        ("DOCKER-USER", "iptables -I DOCKER-USER -d 10.88.0.0/16 -j ACCEPT"),
        ("theirs", "iptables -I FORWARD -d 10.88.0.0/16 -j ACCEPT"),
    ],
)
def test_the_remedy_is_in_the_words_of_who_drops(chain: str, wanted: str) -> None:
    """ufw, Docker and plain iptables each have their own way to let a subnet through."""
    assert remedy(SUBNETS[0], listing(chain=chain)).startswith(wanted)
