# SPDX-License-Identifier: Apache-2.0
"""Which ways somebody asks for, by a container's name, a port or a network; pure.

`podwatch explain` and the API answer the same question alike, and say alike why there is no answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from podwatch.words.errors import PodwatchError
from podwatch.words.network import Container, ContainerClass
from podwatch.words.text import few
from podwatch.words.way import Way, WayKind

Containers = Mapping[str, Container]

_MAX_NAMED = 40
"""So many names are told to who asked for one that is not there."""

NO_RULES = ": no rules on this host"
_NO_RULES = f"{{on}}{NO_RULES}"
_CLASSES: Mapping[str, str] = {
    ContainerClass.BRIDGE: f"bridge {_NO_RULES}",
    ContainerClass.INTERNAL: f"internal network {_NO_RULES}",
    ContainerClass.UNMANAGED: f"unmanaged bridge {_NO_RULES}",
    ContainerClass.MACVLAN: f"macvlan {_NO_RULES}",
    ContainerClass.IPVLAN: f"ipvlan {_NO_RULES}",
    ContainerClass.HOST: "the host's network",
    ContainerClass.PASTA: "pasta of its own",
    ContainerClass.SLIRP4NETNS: "slirp4netns of its own",
    ContainerClass.MEMBER: "in {shares}",
    ContainerClass.SHARED: "on the network of {shares}",
    ContainerClass.NONE: "no Podman network",
}


def placed(kind: str, on: str, shares: str) -> str:
    """The place of a container without rules, by its class; `on` names its networks."""
    return _CLASSES.get(kind, "{on}").format(on=on, shares=shares)


def chosen(found: Sequence[Way], target: str, containers: Containers) -> list[Way]:
    """The ways of a container (name, or the beginning of its id), a port ("8080/tcp") or a network.

    A member of a pod has no network of its own: its ways are its infra container's, and say so.
    With a container's ways goes the isolation of its networks.
    Raises PodwatchError when there is none.
    """
    if not target:
        return list(found)
    port = port_of(target, containers)
    if port is not None:
        mine = [way for way in found if _covers(way, port)]
    else:
        of_network = [way for way in found if way.network == target]
        mine = _of_container(found, target, containers) or of_network
    if not mine:
        raise _nothing(found, target, containers)
    return mine


def _of_container(found: Sequence[Way], target: str, containers: Containers) -> list[Way]:
    mine = [
        way
        for way in found
        if _is(target, way.container_id, way.container)
        or target in _other_names(way, containers)
        or any(_is(target, key, name) for key, name in way.among.items())
    ] or [
        replace(way, title=f"{way.title}, the network of {name}")
        for way in found
        for key, name in way.members.items()
        if _is(target, key, name)
    ]
    networks = {way.network for way in mine}
    apart = (way for way in found if way.kind is WayKind.ISOLATION and way.network in networks)
    return [*mine, *apart]


def _other_names(way: Way, containers: Containers) -> tuple[str, ...]:
    """What a pod may be called beside its title: by its own name, and as its infra container."""
    infra = containers.get(way.container_id)
    return (way.container.removeprefix("pod "), infra.name if infra else "")


def port_of(target: str, containers: Containers) -> tuple[int, str] | None:
    """The port that is meant; None where it is a container, which may be called by a number."""
    number, _, protocol = target.partition("/")
    named = any(target in (container.name, container.pod) for container in containers.values())
    is_port = number.isdecimal() and len(number) <= 5 and not named
    return (int(number), protocol or "tcp") if is_port else None


def _is(target: str, key: str, name: str) -> bool:
    """Whether a container with this id and name is meant."""
    return target == name or (len(target) >= 4 and key.startswith(target))


def _nothing(found: Sequence[Way], target: str, containers: Containers) -> PodwatchError:
    """Why there is no way to tell of."""
    for key, container in containers.items():
        if not _is(target, key, container.name):
            continue
        if container.is_doubtful:
            return PodwatchError(f"{target} is not running", hint=f"podman start {container.name}")
        where = placed(
            container.kind, ", ".join(container.networks), container.shares
        ).removesuffix(NO_RULES)
        hint = (
            f"podwatch explain {container.shares.removeprefix('pod ')}" if container.shares else ""
        )
        what = f"{target} has no rules to explain"
        return PodwatchError(f"{what}: {where}" if where else what, hint=hint)
    if target.partition("/")[0].isdecimal():
        mapped = (way.title.partition(" → ")[0] for way in found if way.kind is WayKind.IN)
        ports = few(dict.fromkeys(mapped), _MAX_NAMED) or "no port"
        return PodwatchError(f"{target}: no container publishes it", hint=f"published: {ports}")
    names = few(dict.fromkeys(way.container for way in found if way.container), _MAX_NAMED)
    return PodwatchError(
        f"{target}: there is no such container", hint=f"with rules: {names or 'none'}"
    )


def _covers(way: Way, port: tuple[int, str]) -> bool:
    first, last = way.ports
    return first <= port[0] <= last and way.port is not None and way.port[1] == port[1]
