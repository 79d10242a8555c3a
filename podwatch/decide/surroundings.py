# SPDX-License-Identifier: Apache-2.0
"""What others on the host do that no rule of Podman's helps against. Pure; told, never changed."""

from collections.abc import Collection, Iterable

from podwatch.drivers import forwarding, sysctls
from podwatch.drivers.iptables_save import ELSEWHERE, LEGACY, VARIANTS
from podwatch.words.network import Setup
from podwatch.words.rules import Ruleset
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Notice, WarningKind
from podwatch.words.way import BaseChain

_FIREWALLS = {
    "docker.service": (
        "docker.service is active: it drops what is forwarded and not its own",
        "podwatch explain tells whether it stops Podman's containers, and what to do",
    ),
    "ufw.service": (
        "ufw is enabled: it drops what is forwarded, unless it is told otherwise",
        "podwatch explain tells whether it stops Podman's containers, and what to do",
    ),
    "nftables.service": (
        "nftables.service is active, and its file begins with “flush ruleset”: each start, "
        "reload or upgrade of it removes netavark's rules until podwatch puts them back",
        "let the file destroy its own tables only: destroy table inet filter (nft 1.0.8)",
    ),
}
"""Other firewalls by the unit that runs them: what they do, and what to do about it."""


def without_events(observed: Ruleset) -> Iterable[Notice]:
    """The variant of iptables that has the rules, where it is the silent one or not that in use."""
    if ELSEWHERE in observed.traits:
        here, there = VARIANTS if LEGACY in observed.traits else VARIANTS[::-1]
        yield Notice(
            WarningKind.OTHER_VARIANT,
            f"the rules are all there, but they are iptables-{there}'s, and iptables is "
            f"iptables-{here} now: podman neither adds to them nor takes away from them",
            f"update-alternatives --set iptables /usr/sbin/iptables-{there}, likewise ip6tables; "
            "or reboot, which starts every container with the iptables of now",
        )
    elif LEGACY in observed.traits:
        yield Notice(
            WarningKind.NO_EVENTS,
            "the rules are iptables-legacy's, whose changes the kernel does not announce: a loss "
            "is found by the next slow look",
            "look oftener (look.interval), or: update-alternatives --set iptables "
            "/usr/sbin/iptables-nft, then restart the containers",
        )


def shut_out(setup: Setup, chains: Collection[BaseChain]) -> Iterable[Notice]:
    """Chains of other firewalls that drop what containers need, and what lets it through."""
    for chain, name, network in forwarding.shut_out(setup, chains):
        yield Notice(
            WarningKind.SHUT_OUT,
            f"network {name} ({network.bridge}): chain {chain.table} {chain.name} drops what it "
            "does not accept, and accepts no new connection to this network: whatever Podman's "
            "rules say, its published ports do not answer",
            forwarding.remedy(chain, network.bridge, setup.driver),
        )
    for chain, network, endpoint in forwarding.unheard(setup, chains):
        yield Notice(
            WarningKind.SHUT_OUT,
            f"network {endpoint.network_name} ({network.bridge}): chain {chain.table} {chain.name} "
            f"drops what it does not accept, and accepts nothing to its port {endpoint.dns_port}: "
            "its containers get no answer from aardvark-dns",
            forwarding.dns_remedy(chain, network.bridge, endpoint.dns_port),
        )


def unforwarded(setup: Setup, snapshot: Snapshot) -> Iterable[Notice]:
    """What is forwarded by nobody's order that was ever seen: no host is made a router here."""
    wanted = sysctls.wanted(setup, snapshot.uplinks)
    for each in sysctls.closed(wanted, snapshot.sysctls, snapshot.sysctls_seen):
        yield Notice(
            WarningKind.FORWARDING,
            f"{each} is {snapshot.sysctls[each.path]}: what is sent to containers, or by them, is "
            "not forwarded, and podwatch never saw it forwarded",
            f"sysctl -w {each.name}={each.value}",
        )


def neighbours(snapshot: Snapshot) -> Iterable[Notice]:
    """Active units that add rules of their own, or take everybody's away."""
    for unit in snapshot.neighbours:
        if unit in _FIREWALLS:
            yield Notice(WarningKind.NEIGHBOUR, *_FIREWALLS[unit])
            continue
        yield Notice(
            WarningKind.NEIGHBOUR,
            f"{unit} is active: it adds every port rule once more at each firewalld reload",
            f"systemctl disable --now {unit} (podwatch does its work)",
        )
