# SPDX-License-Identifier: Apache-2.0
"""`podman ps --all --pod --ns --format json`, of Podman 3 to 5, as containers. Pure."""

import json
from typing import Any

from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, ContainerState
from podwatch.words.text import clean

_STATES = {
    "configured": ContainerState.CREATED,
    "created": ContainerState.CREATED,
    "running": ContainerState.UP,
    "paused": ContainerState.PAUSED,
    "exited": ContainerState.ENDED,
    "dead": ContainerState.ENDED,
    "removing": ContainerState.ENDED,
}


def parse_ps(text: str) -> dict[str, Container]:
    """Containers by id. Unknown keys are ignored; a container without an id is passed over.

    A container is taken for running unless podman says that it has ended: one that is just being
    set up already has its rules. Raises StateUnreadable for anything but a JSON list; so for no
    text at all, which podman prints only when it failed: without containers it prints [].
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"podman ps printed something else than JSON: {exc}") from exc
    if data is None:
        return {}
    if not isinstance(data, list):
        raise StateUnreadable("podman ps printed JSON, but not a list")
    return containers_of(data)


def containers_of(data: list[Any]) -> dict[str, Container]:
    """The containers of a list that is parsed already."""
    found = (_container(listed) for listed in data if isinstance(listed, dict))
    return {container.id: container for container in found if container.id}


def _container(data: dict[str, Any]) -> Container:
    key = _text(data, "Id") or _text(data, "ID")
    names = data.get("Names")
    first = names[0] if isinstance(names, list) and names else names
    networks = data.get("Networks")
    namespaces = data.get("Namespaces")
    pid = max(pid, 0) if isinstance(pid := data.get("Pid"), int) else 0
    return Container(
        id=key,
        name=clean(first) if isinstance(first, str) and first else key[:12],
        state=_state(data, pid),
        pod=_text(data, "PodName"),
        is_infra=data.get("IsInfra") is True,
        networks=tuple(clean(network) for network in networks if isinstance(network, str))
        if isinstance(networks, list)
        else (),
        pid=pid,
        netns=_text(namespaces, "Net") if isinstance(namespaces, dict) else "",
        pod_id=_text(data, "Pod"),
    )


def _state(data: dict[str, Any], pid: int) -> ContainerState:
    word = (_text(data, "State") or _text(data, "Status")).lower()
    unnamed = ContainerState.ENDED if data.get("Exited") else ContainerState.PRESUMED
    state = _STATES.get(word, unnamed)
    # Podman 3 calls created what has its network and its process, and configured what has none.
    return ContainerState.PRESUMED if state is ContainerState.CREATED and pid else state


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    return clean(value) if isinstance(value, str) else ""
