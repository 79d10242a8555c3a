# SPDX-License-Identifier: Apache-2.0
"""Which interface in a container is at the other end of which link of the host. Pure.

An inner interface names its peer by an index, which is of the host's namespace only if a link there
with that index leads to the same namespace: a container may have veths of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from podwatch.words.links import Inner, Link, Links, Namespaces


@dataclass(frozen=True, slots=True)
class Plugged:
    """A container's interface, and the host's end of it."""

    link: Link
    inner: Inner


def plugged(links: Links, namespaces: Namespaces) -> Mapping[int, list[Plugged]]:
    """Those of each namespace, by its number."""
    by_index = {link.index: link for link in links.by_name.values()}
    return {
        number: [
            Plugged(link, inner)
            for inner in inside
            if inner.kind == "veth"
            and (link := by_index.get(inner.peer))
            and link.netns_id == number
        ]
        for number, inside in namespaces.items()
    }
