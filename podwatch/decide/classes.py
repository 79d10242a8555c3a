# SPDX-License-Identifier: Apache-2.0
"""Which class each container is of: what its network is, and whose. Pure.

podman tells of networks only where a container has its own; the others are told apart by the
network namespace they are in.
"""

from collections.abc import Mapping
from dataclasses import replace

from podwatch.words.network import Container, ContainerClass

_ALONE = {"pasta": ContainerClass.PASTA, "slirp4netns": ContainerClass.SLIRP4NETNS}
"""Networks of a container alone, by podman's word for its mode."""

DEFAULT_NETWORK = "podman"
"""The network that needs no file (common libnetwork/netavark/config.go)."""


def classify(
    containers: Mapping[str, Container],
    networks: Mapping[str, ContainerClass],
    host_netns: str,
) -> dict[str, Container]:
    """The containers with `kind` and `shares`.

    `networks` has the class of each network by name, `host_netns` is the inode of the host's
    network namespace.
    """
    known = {DEFAULT_NETWORK: ContainerClass.BRIDGE, **networks}
    owners: dict[str, Container] = {}
    for container in containers.values():
        owner = owners.get(container.netns)
        # podman lists the oldest first: who shares a network was made after whose it is.
        if owner is None or (_has_network(container) and not _has_network(owner)):
            owners[container.netns] = container
    return {
        key: _classified(container, known, owners, host_netns)
        for key, container in containers.items()
    }


def _has_network(container: Container) -> bool:
    return bool(container.networks) or container.is_infra


def _classified(
    container: Container,
    networks: Mapping[str, ContainerClass],
    owners: Mapping[str, Container],
    host_netns: str,
) -> Container:
    if container.networks:
        order = list(ContainerClass)
        kinds = [networks.get(name, ContainerClass.UNKNOWN) for name in container.networks]
        return replace(container, kind=min(kinds, key=order.index))
    if not container.netns:
        return container
    if container.netns == host_netns:
        return replace(container, kind=ContainerClass.HOST)
    owner = owners[container.netns]
    if owner.id == container.id:
        alone = _ALONE.get(container.mode.partition(":")[0], ContainerClass.NONE)
        return replace(container, kind=alone)
    member = owner.is_infra and owner.pod_id == container.pod_id
    kind = ContainerClass.MEMBER if member else ContainerClass.SHARED
    return replace(container, kind=kind, shares=owner.title)
