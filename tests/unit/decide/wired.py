# SPDX-License-Identifier: Apache-2.0
"""The links of a host whose networks are whole: each bridge up, with its addresses and routes."""

from dataclasses import replace

from podwatch.decide.wiring import wiring
from podwatch.words.links import Link, Links
from podwatch.words.snapshot import Snapshot


def wired(snapshot: Snapshot, *more: Link) -> Snapshot:
    """The look, on a host that has every bridge that its setup needs, and `more` links."""
    if snapshot.setup is None:
        return snapshot
    bridges = wiring(snapshot.setup, snapshot).bridges.values()
    links = [Link(each.name, 100 + at, kind="bridge") for at, each in enumerate(bridges)]
    return replace(
        snapshot,
        links=Links(
            {link.name: link for link in (*links, *more)},
            {each.name: each.gateways for each in bridges},
            {gateway.network: (each.name,) for each in bridges for gateway in each.gateways},
        ),
    )
