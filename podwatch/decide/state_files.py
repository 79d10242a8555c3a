# SPDX-License-Identifier: Apache-2.0
"""What to report of netavark's state files: whose they are, and which are nobody's. Pure.

A file is the state of a container that lives, or it is left over. It is left over only if podman
does not list the container as running and no network namespace has one of its addresses. Only then
anybody is advised to remove it.
"""

from collections.abc import Collection, Iterator, Mapping
from shlex import quote

from podwatch.decide.leftovers import strangers
from podwatch.words.network import BadFile, Container, ContainerState, Setup
from podwatch.words.snapshot import Part, Snapshot, Unknown
from podwatch.words.verdict import Notice, WarningKind

_MAX_REPORTED = 20


def by_their_owners(setup: Setup, containers: Mapping[str, Container]) -> Iterator[Notice]:
    """What to tell of the state of the dead, and of those who live and are not in podman's list.

    A network namespace that dies without teardown leaves its state file behind (netavark 1.14), and
    so does a `podman build` that is killed. CNI's cache is no matter: it outlives every reboot.
    """
    files: dict[str, list[str]] = {}
    for endpoint in setup.endpoints:
        path = f"{setup.state_dir}/ports/{endpoint.network_id}_{endpoint.container_id}"
        files.setdefault(endpoint.container_id, []).append(quote(path))
    for key in sorted(files.keys() & containers.keys()):
        known = containers[key]
        if known.state is ContainerState.UNLISTED:
            yield Notice(
                WarningKind.UNLISTED,
                f"{known.title}: it has its network, and podman does not list it as running: "
                "another storage's (podman --root), or a build's",
                "nothing: its rules are watched like any other's, but podwatch never reloads it",
            )
        elif known.is_dead and setup.state_dir:
            is_gone = known.state is ContainerState.GONE
            again = "" if is_gone else f"podman start {known.name}, or: "
            yield Notice(
                WarningKind.STALE_STATE,
                f"{known.title}: not running, but netavark still has its state",
                f"{again}rm {' '.join(files[key])}",
            )


def unheard(setup: Setup, snapshot: Snapshot) -> Iterator[Unknown]:
    """Those whom podman does not list as running, where the kernel does not tell whether they are.

    They are taken for living. `setup` has those who live.
    """
    if snapshot.inside is not None:
        return
    for key in dict.fromkeys(endpoint.container_id for endpoint in setup.endpoints):
        known = snapshot.containers.get(key)
        if known is not None and known.state is ContainerState.UNLISTED:
            yield Unknown(
                Part.CONTAINER,
                known.title,
                "podman does not list it as running, and the kernel does not tell who lives",
                container_ids=(key,),
            )


def nobodys(setup: Setup, snapshot: Snapshot) -> frozenset[BadFile]:
    """The files that make no sense, and that nobody who lives can have.

    That is so where all who have a network namespace are accounted for by the rest of the state.
    """
    inside = snapshot.inside
    if inside is None or snapshot.busy or strangers(setup, inside):
        return frozenset()
    in_use = {endpoint.network_id for endpoint in setup.endpoints}
    return frozenset(e for e in setup.bad_files if not _may_live(e, in_use, snapshot.containers))


def _may_live(bad: BadFile, in_use: set[str], containers: Mapping[str, Container]) -> bool:
    if bad.container_id:
        known = containers.get(bad.container_id)
        return known is not None and not known.is_dead
    return bad.network_id in in_use


def about_nobodys(useless: Collection[BadFile]) -> Iterator[Notice]:
    """What to tell of files that nobody who lives can have."""
    for bad in sorted(useless, key=lambda bad: bad.path)[:_MAX_REPORTED]:
        what = f"{bad.path} makes no sense ({bad.reason}), and nobody who lives can have it"
        yield Notice(WarningKind.STALE_STATE, what, f"rm {quote(bad.path)}")
    if len(useless) > _MAX_REPORTED:
        more = len(useless) - _MAX_REPORTED
        they = "file makes" if more == 1 else "files make"
        what = f"{more} more {they} no sense, and nobody who lives can have one"
        yield Notice(WarningKind.STALE_STATE, what, "podwatch status names others when these go")


def unreadable(setup: Setup, bad: BadFile) -> Unknown:
    """What a file that makes no sense leaves unknown: a container, or all of a network."""
    ids: tuple[str, ...] = (bad.container_id,) if bad.container_id else ()
    if not ids:
        on_it = (e.container_id for e in setup.endpoints if e.network_id == bad.network_id)
        ids = tuple(dict.fromkeys(on_it))
    return Unknown(
        Part.CONTAINER, bad.path, bad.reason, container_ids=ids, network_id=bad.network_id
    )
