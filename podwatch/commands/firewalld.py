# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain firewalld`: what a reload of firewalld costs, and what ends that.

It is printed as a script for a shell, in which all that is said is a comment: whoever wants it can
paste it as it stands. The figures were measured on Debian 13, firewalld 2.3.1, with 10 containers.
"""

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Any

from podwatch.adapters.paths import Paths
from podwatch.decide.census import living
from podwatch.decide.reload_costs import Costs, costs, trusted_subnets
from podwatch.words.snapshot import Permanent, Snapshot
from podwatch.words.text import clean

CONF = Paths().firewalld_conf
SCHEMA = 1
_WIDTH = 78

_ADD = "firewall-cmd --permanent --zone=trusted --add-source="
_RELOAD = "firewall-cmd --reload"

_POLICY = (
    "gain: new connections to containers, and from them, pass a reload: none is lost, where they "
    "were dropped for about 0.1 s (75 to 230 ms).",
    "price: for that time the host forwards whatever its other tables let through, as firewalld's "
    "own rules are not there yet. Podman's isolation of networks stays, and what comes to the host "
    "itself is dropped as before. Connections of the host to ports of its own stay lost meanwhile.",
)
_SOURCES = (
    "gain: what containers send passes a reload: without it that is lost for 0.2 to 0.4 s, until "
    "the source is back; together with 1 nothing is lost.",
    "price: a permanent source outlives its network. Whoever has that subnet next is trusted, so "
    "take it away with the network, by --remove-source in place of --add-source. podwatch does "
    "both by itself with firewalld.permanent = true.",
)


def as_script(snapshot: Snapshot) -> str:
    """All of it, for a person and for a shell."""
    return "\n".join(_lines(snapshot))


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The same for programs; `permanent` is null where it is not known."""
    permanent = _permanent(snapshot)
    told: dict[str, Any] | None = None
    orders: list[str] = []
    if permanent is not None:
        found = _costs(snapshot, permanent)
        orders = list(_orders(permanent, found))
        told = {
            "version": permanent.version,
            "reload_policy": dict(permanent.policy),
            "drops": found.drops,
            "lacking": sorted(found.lacking),
            "moved": dict(found.moved),
        }
    return {"schema": SCHEMA, "permanent": told, "script": orders}


def _permanent(snapshot: Snapshot) -> Permanent | None:
    return snapshot.firewalld.permanent if snapshot.firewalld is not None else None


def _subnets(snapshot: Snapshot) -> Mapping[str, str]:
    setup = snapshot.setup
    return {} if setup is None else trusted_subnets(living(setup, snapshot.containers))


def _costs(snapshot: Snapshot, permanent: Permanent) -> Costs:
    return costs(permanent, _subnets(snapshot))


def _lines(snapshot: Snapshot) -> Iterator[str]:
    permanent = _permanent(snapshot)
    if permanent is None:
        runs = snapshot.firewalld is not None and snapshot.firewalld.running
        why = "does not say what its permanent configuration is" if runs else "does not run"
        yield from _said(f"firewalld {why}: nothing is known of a reload.")
        return
    yield from _said(
        f"firewalld {permanent.version}: what a reload (firewall-cmd --reload) costs containers, "
        "and two settings that end it. The lines without # can be pasted into a root's shell."
    )
    if not permanent.by_nftables:
        yield from _said(
            "Its backend is iptables: a reload takes Podman's own rules, too, and podwatch puts "
            "them back. These settings do not help there."
        )
        return
    found, subnets = _costs(snapshot, permanent), _subnets(snapshot)
    yield "#"
    yield from _policy(permanent, found)
    yield "#"
    yield from _sources(found, subnets)
    if any(_orders(permanent, found)):
        yield "#"
        yield from _said("Then have firewalld read it. This reload still costs what it did:")
        yield _RELOAD


def _policy(permanent: Permanent, found: Costs) -> Iterator[str]:
    if not permanent.policy:
        yield from _said(
            "1. ReloadPolicy: firewalld has it since 2.1. This one drops all new connections "
            "while it reloads, whatever is set."
        )
        return
    is_set = f"Not set: it is {_text(permanent.policy)}." if found.drops else "This is set."
    yield from _said(f"1. ReloadPolicy lets what is forwarded pass meanwhile. {is_set}")
    for sentence in _POLICY:
        yield from _said(sentence)
    yield from _policy_orders(permanent, found)


def _sources(found: Costs, subnets: Mapping[str, str]) -> Iterator[str]:
    own = len(subnets) - len(found.lacking) - len(found.moved)
    yield from _said(
        "2. The networks' subnets are permanent sources of zone trusted. "
        f"This is set for {own} of the {len(subnets)} of networks with containers that run."
    )
    for sentence in _SOURCES:
        yield from _said(sentence)
    for subnet, zone in found.moved.items():
        what = f"{subnet} ({subnets[subnet]}) is a permanent source of zone {zone}, and there"
        yield from _said(f"{what} after a reload. Unless it is meant so:")
        yield f"#   {_ADD.replace('add', 'change')}{subnet}"
    yield from _source_orders(found)


def _orders(permanent: Permanent, found: Costs) -> Iterator[str]:
    if permanent.by_nftables and (found.drops or found.lacking):
        yield from _policy_orders(permanent, found)
        yield from _source_orders(found)
        yield _RELOAD


def _policy_orders(permanent: Permanent, found: Costs) -> Iterator[str]:
    if found.drops:
        line = f"ReloadPolicy={_text({**permanent.policy, 'FORWARD': 'ACCEPT'})}"
        # In this order: a line that is deleted still has its text appended (GNU sed).
        yield f"sed -i -e '$a {line}' -e '/^ *ReloadPolicy *=/d' {CONF}"


def _source_orders(found: Costs) -> Iterator[str]:
    for subnet in found.lacking:
        yield f"{_ADD}{subnet}"


def _text(policy: Mapping[str, str]) -> str:
    return ",".join(f"{hook}:{verdict}" for hook, verdict in policy.items())


def _said(text: str) -> Iterator[str]:
    for line in wrap(clean(text), _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"
