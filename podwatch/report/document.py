# SPDX-License-Identifier: Apache-2.0
"""The status document of one look: what `status.json` and `podwatch check --json` say. Pure.

The whole document, with what only a running daemon can say, is described by status.SHAPE.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from podwatch.decide.ways import missing_of
from podwatch.report.standing import OPEN, of_all, of_ways
from podwatch.words.network import (
    Address,
    Container,
    ContainerClass,
    Endpoint,
    PortMapping,
    Setup,
)
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import counted
from podwatch.words.verdict import CLOSING, Notice, State, Verdict, WarningKind
from podwatch.words.way import Mark, Way

MAX_ENTRIES = 2000
"""Entries of a list at most, so that the document stays bounded."""


def document(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    """What one look found."""
    return {
        "state": verdict.state,
        "summary": summary(snapshot, verdict),
        "driver": snapshot.setup.driver if snapshot.setup else "unknown",
        "missing": [
            {
                "kind": loss.kind,
                "what": loss.what,
                "detail": loss.detail,
                "network": loss.network,
                "container": loss.container,
            }
            for loss in verdict.missing[:MAX_ENTRIES]
        ],
        "missing_count": len(verdict.missing),
        "warnings": [asdict(notice) for notice in verdict.warnings[:MAX_ENTRIES]],
        "blocked": [asdict(reason) for reason in verdict.blocked[:MAX_ENTRIES]],
        "unknown": [
            {"part": part.part, "what": part.what, "why": part.why, "hint": part.hint}
            for part in verdict.unknown[:MAX_ENTRIES]
        ],
        "neighbours": list(snapshot.neighbours),
        "networks": (
            [*_networks(snapshot.setup, verdict), *_others(snapshot, verdict)][:MAX_ENTRIES]
            if snapshot.setup
            else []
        ),
        "containers": _containers(snapshot, verdict)[:MAX_ENTRIES],
    }


_OF_ONE = ("link", "DNS entry")
"""Hops of a network's way at which one container alone is cut off from the others."""

_GRAVEST = (State.LOST, State.UNKNOWN, State.DEGRADED)


def with_dhcp(document: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
    """The document with what a look at DHCP found: the state is the graver one of the two."""
    state = section.get("state")
    whole = {**document, "dhcp": section}
    if document and state in _GRAVEST:
        both = (document["state"], state)
        whole["state"] = next(grave for grave in _GRAVEST if grave in both)
        whole["summary"] = f"{document['summary']}; DHCP: {section['summary']}"
    return whole


def with_refused(document: dict[str, Any], refused: str) -> dict[str, Any]:
    """The document with a warning that the configuration was `refused`, unless that is empty."""
    if not refused or not document:
        return document
    what = f"the configuration is refused, and the one before it in effect: {refused}"
    notice = Notice(
        WarningKind.CONFIG,
        what,
        "mend the file, then: systemctl reload podwatch (a user's: systemctl --user …)",
    )
    state = State.DEGRADED if document["state"] == State.OK else document["state"]
    return {**document, "state": state, "warnings": [asdict(notice), *document["warnings"]]}


def summary(snapshot: Snapshot, verdict: Verdict) -> str:
    """The state in one sentence."""
    containers = len(set(verdict.all_container_ids))
    networks = len({endpoint.network_id for endpoint in _endpoints(snapshot.setup, verdict)})
    place = f"{counted(containers, 'container')} on {counted(networks, 'network')}"
    if verdict.state is State.LOST and not verdict.missing:
        closed = [notice.what for notice in verdict.warnings if notice.kind in CLOSING]
        closed += [hop.what for way in verdict.ways if (hop := way.first_broken)]
        return f"a way is closed: {closed[0]}"
    if verdict.state is State.LOST:
        things = counted(len(verdict.missing), "thing")
        return f"{things} {'is' if len(verdict.missing) == 1 else 'are'} missing, {place}"
    if verdict.state is State.UNKNOWN:
        unseen = [part.what for part in verdict.unknown]
        unseen += [hop.what for way in verdict.ways if (hop := way.first(Mark.UNKNOWN))]
        return f"could not see everything: {unseen[0]}"
    if not containers:
        return "no container needs rules on this host"
    driver = snapshot.setup.driver if snapshot.setup else "unknown"
    return f"{place}, {counted(verdict.expected_rules, 'rule')} in place ({driver})"


def _endpoints(setup: Setup | None, verdict: Verdict) -> list[Endpoint]:
    """The endpoints of the containers that run, and need rules on this host."""
    running = set(verdict.all_container_ids)
    return [end for end in (setup.endpoints if setup else ()) if end.container_id in running]


def _networks(setup: Setup, verdict: Verdict) -> list[dict[str, Any]]:
    """The networks on which a container runs, with the ways that are no container's own."""
    ways = [way for way in verdict.ways if not way.container_id]
    names: dict[str, str] = {}
    on_it: dict[str, set[str]] = {}
    for endpoint in _endpoints(setup, verdict):
        names[endpoint.network_id] = endpoint.network_name
        on_it.setdefault(endpoint.network_id, set()).add(endpoint.container_id)
    return [
        {
            "id": key,
            "name": name or network.bridge,
            "bridge": network.bridge,
            "subnets": [str(subnet) for subnet in network.subnets],
            "isolation": network.isolation,
            "containers": len(on_it[key]),
            **_stands([way for way in ways if way.network == (name or network.bridge)]),
        }
        for key, name in list(names.items())[:MAX_ENTRIES]
        if (network := setup.networks.get(key)) is not None
    ]


def _others(snapshot: Snapshot, verdict: Verdict) -> Iterator[dict[str, Any]]:
    """Networks without rules that have ways all the same: internal ones, with names."""
    known = {endpoint.network_name for endpoint in _endpoints(snapshot.setup, verdict)}
    ways: dict[str, list[Way]] = {}
    for way in verdict.ways:
        if way.among and way.network not in known:
            ways.setdefault(way.network, []).append(way)
    for name, mine in ways.items():
        file = snapshot.files.get(name)
        yield {
            "id": name,
            "name": name,
            "bridge": file.interface if file else "",
            "subnets": [str(subnet) for subnet in file.subnets] if file else [],
            "isolation": "",
            "containers": max(len(way.among) for way in mine),
            **_stands(mine),
        }


def _containers(snapshot: Snapshot, verdict: Verdict) -> list[dict[str, Any]]:
    """The containers that need rules, and behind them the others that are up."""
    setup = snapshot.setup if verdict.setup is None else verdict.setup
    places: dict[str, list[Endpoint]] = {}
    for endpoint in _endpoints(snapshot.setup, verdict):
        places.setdefault(endpoint.container_id, []).append(endpoint)
    missing = Counter[str]() if setup is None else missing_of(verdict.missing, setup)
    ways: dict[str, list[Way]] = {}
    shared: dict[str, list[Way]] = {}
    for way in verdict.ways:
        ways.setdefault(way.container_id, []).append(way)
        hop = way.first_broken
        if hop is None or hop.place not in _OF_ONE:
            for key in way.among:
                shared.setdefault(key, []).append(way)
    found = []
    unnamed = {key: Container(key, key[:12]) for key in places}
    named = {key: snapshot.containers.get(key, bare) for key, bare in unnamed.items()}
    for container_id, known in sorted(named.items(), key=lambda item: item[1].title):
        endpoints = places[container_id]
        found.append(
            {
                **_container(known),
                "class": ContainerClass.BRIDGE if known.kind == "unknown" else known.kind,
                "needs_rules": True,
                "networks": [
                    {
                        "network": endpoint.network_name,
                        "addresses": [str(address) for address, _ in endpoint.addresses],
                    }
                    for endpoint in endpoints
                ],
                "ports": list(chain.from_iterable(map(_ports, endpoints)))[:MAX_ENTRIES],
                "missing": missing[container_id],
                **_stands(
                    ways.get(container_id, []),
                    missing[container_id],
                    shared.get(container_id, []),
                ),
            }
        )
    others = (
        other for key, other in snapshot.containers.items() if other.is_up and key not in places
    )
    return found + [
        _without_rules(other, ways.get(other.id, []), shared.get(other.id, []))
        for other in sorted(others, key=lambda other: other.title)
    ]


def _without_rules(known: Container, own: list[Way], shared: list[Way]) -> dict[str, Any]:
    """One that is up and needs no rules; a user's may have ways of its own all the same."""
    stands: dict[str, Any] = of_all(shared) if shared else {}
    if own:
        ports = [str(mapping) for mapping in known.ports[:MAX_ENTRIES]]
        stands = {"ports": ports, **_stands(own, 0, shared)}
    return {
        **_container(known),
        "networks": [{"network": name, "addresses": []} for name in known.networks],
        **stands,
    }


def _container(container: Container) -> dict[str, Any]:
    return {
        "id": container.id,
        "name": container.title,
        "pod": container.pod,
        "class": container.kind,
        "needs_rules": False,
        "paused": container.is_paused,
        "shares": container.shares,
        "ports": [],
        "missing": 0,
        "state": "",
        **OPEN,
        "ways": [],
    }


def _stands(ways: list[Way], missing: int = 0, shared: Sequence[Way] = ()) -> dict[str, Any]:
    """How a container or network stands that has these ways, and lacks so much.

    Those that it has `shared` with others are listed where they belong to.
    """
    return {**of_all([*ways, *shared], missing), "ways": of_ways(ways[:MAX_ENTRIES])}


def _ports(endpoint: Endpoint) -> list[str]:
    """Each published port with where it leads: "8080/tcp → 10.88.0.3:80"."""
    return [
        f"{mapping} → {_target(address, mapping)}"
        for mapping in endpoint.port_mappings or ()
        for address, _ in endpoint.addresses
        if mapping.host_ip is None or mapping.host_ip.version == address.version
    ]


def _target(address: Address, mapping: PortMapping) -> str:
    host = str(address) if address.version == 4 else f"[{address}]"
    last = mapping.container_port + mapping.count - 1
    return f"{host}:{mapping.container_port}" + (f"-{last}" if mapping.count > 1 else "")
