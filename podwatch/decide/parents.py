# SPDX-License-Identifier: Apache-2.0
"""The links of the host on top of which macvlan and ipvlan networks are: told, never changed. Pure.

What is done to such a link is the administrator's will. While it is down its containers are off
the network; once it is up they are on it again. One that was renamed carries them on, but podman
looks for it by its name: it can start none of them any more, and reload none.
"""

from collections.abc import Iterator, Mapping

from podwatch.words.gates import ON_A_PARENT, NetworkFile
from podwatch.words.links import Links
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.verdict import Notice, WarningKind

_MAX_NAMED = 5


def parents(snapshot: Snapshot) -> Iterator[tuple[NetworkFile, str]]:
    """The networks with a parent that containers are on, and who those are.

    Where a network's file names none, nobody wrote down which one it is: that is not judged.
    """
    for name, file in sorted(snapshot.files.items()):
        if file.kind in ON_A_PARENT and file.interface:
            users = sorted(
                container.title
                for container in snapshot.containers.values()
                if container.is_up and name in container.networks
            )
            if users:
                yield file, few(users, _MAX_NAMED)


def without_parent(snapshot: Snapshot) -> Iterator[Notice]:
    """What is wrong with the parents of networks that containers are on."""
    links = snapshot.links
    if links is None:
        return
    for file, users in parents(snapshot):
        parent = file.interface
        link = links.by_name.get(parent)
        if link is not None and link.is_up:
            continue
        if link is None and (other := _now(parent, links, snapshot.indexes)):
            yield Notice(
                WarningKind.RENAMED,
                f"network {file.name}: its parent {parent} is called {other} now: {users} go on, "
                "and podman can neither start nor reload them",
                f"ip link set {other} down; ip link set {other} name {parent} up",
            )
        elif link is None:
            yield Notice(
                WarningKind.PARENT,
                f"network {file.name}: its parent {parent} is not there, which cuts off {users}",
                f"bring {parent} back (ip link), then restart the containers; none is reloaded "
                "before",
            )
        else:
            yield Notice(
                WarningKind.PARENT,
                f"network {file.name}: its parent {parent} is down, which cuts off {users}",
                f"ip link set {parent} up",
            )


def _now(name: str, links: Links, indexes: Mapping[str, int]) -> str:
    """What the link is called that had this name; "" where it is not there, or was never seen."""
    index = indexes.get(name, 0)
    return next((link.name for link in links.by_name.values() if link.index == index), "")
