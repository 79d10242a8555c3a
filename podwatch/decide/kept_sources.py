# SPDX-License-Identifier: Apache-2.0
"""Which permanent sources of firewalld's zone trusted to add, and which to take away. Pure.

Only what podwatch added itself is ever taken away, and that only while it is where it was put. What
somebody took away or moved to another zone is podwatch's no more: if it comes back, it is his.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from podwatch.decide.reload_costs import covered
from podwatch.drivers.about import TRUSTED
from podwatch.formats.kept_sources import Kept
from podwatch.words.gates import NetworkFile
from podwatch.words.network import ContainerClass

Files = Mapping[str, NetworkFile]
"""Podman's networks as they are configured, by name."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to `forget`, as it is podwatch's no more, to `add`, and to `remove`."""

    add: Mapping[str, Kept] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()


def plan(
    own: Mapping[str, Kept],
    wanted: Mapping[str, str],
    sources: Mapping[str, str],
    files: Files,
    *,
    has_all: bool,
    left: Collection[str] = (),
) -> Plan:
    """What to do so that the `wanted` subnets, and those of networks that are there, are kept.

    `own` are those that podwatch added, `sources` has the zones as they are now. Not `has_all`:
    some of Podman's files could not be read, and so nothing is gone. What is `left` somebody has
    just taken away.
    """
    add = {
        subnet: Kept(network, network in files)
        for subnet, network in wanted.items()
        if subnet not in sources and subnet not in left and not covered(subnet, sources)
    }
    gone = {one for one in own if has_all and not _is_there(one, own[one], files)} - wanted.keys()
    return _without(own, gone, sources, add)


def release(own: Mapping[str, Kept], sources: Mapping[str, str]) -> Plan:
    """Take all away that podwatch added."""
    return _without(own, set(own), sources, {})


def _without(
    own: Mapping[str, Kept],
    gone: set[str],
    sources: Mapping[str, str],
    add: Mapping[str, Kept],
) -> Plan:
    there = {subnet for subnet in own if sources.get(subnet) == TRUSTED}
    remove = tuple(subnet for subnet in own if subnet in gone & there)
    return Plan(add, remove, tuple(subnet for subnet in own if subnet not in there))


def _is_there(subnet: str, kept: Kept, files: Files) -> bool:
    """Whether a network with this subnet is configured; Podman's default one always is.

    A file of CNI's does not tell of subnets here: there its name decides.
    """
    if not kept.configured:
        return True
    bridges = [file for file in files.values() if file.kind is ContainerClass.BRIDGE]
    return any(
        subnet in map(str, file.subnets) or (file.name == kept.network and not file.subnets)
        for file in bridges
    )
