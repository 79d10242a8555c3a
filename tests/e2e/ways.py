# SPDX-License-Identifier: Apache-2.0
"""What `podwatch explain` tells of a host's ways, and what is really so: each way tried."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.e2e.installed import Installed
from tests.lab.client import HOST_V4, HOST_V6

ISOLATED = {"isolated": ("isolated-web", "apart-web"), "apart": ("apart-web", "isolated-web")}
"""Isolated networks: a container of each, and one of another that is kept from it."""


@dataclass(frozen=True)
class Breakage:
    """One hop broken, and mended again, by a line for the shell; `kind` of a way that breaks."""

    hop: str
    breaks: str
    mends: str = ""
    kind: str = "in"
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.hop


def explained(there: Installed) -> list[dict[str, Any]]:
    """Every way, as `podwatch explain --json` tells it."""
    said = there.host.run(["podwatch", "explain", "--json"], check=False)
    ways: list[dict[str, Any]] = json.loads(said.stdout)["ways"]
    return ways


def _works(there: Installed, way: dict[str, Any], paused: Collection[str]) -> bool | None:
    """Whether a way works, tried for real; None where the lab has nobody to try it.

    Nobody in a container that is `paused` can try: its own way out is as closed as can be.
    """
    if way["kind"] == "in":
        is_v6 = "([" in way["title"]
        port, protocol = way["port"]
        probes = [
            probe
            for container in there.containers.containers
            for probe in container.probes
            if port <= probe.port < port + way["count"]
            and probe.protocol == protocol
            and (":" in probe.address) == is_v6
        ]
        if not probes:
            address = HOST_V6 if is_v6 else HOST_V4
            return there.host.client.http(port, address) is not None
        return not any(probe.ask(there.host.client, 1.0) for probe in probes)
    if way["kind"] == "isolation":
        return _is_kept_apart(there, way["network"]) if way["network"] in ISOLATED else None
    if way["kind"] != "out":
        return None  # names and neighbours are tried by agreement.py
    name = {"pod pod": "pod-web"}.get(way["container"], way["container"])
    is_v6 = "(fd" in way["title"]
    if name == "deaf":
        return None
    if name in paused:
        return False
    return there.host.seen_as(name, ipv6=is_v6) == (HOST_V6 if is_v6 else HOST_V4)


def _is_kept_apart(there: Installed, network: str) -> bool:
    """Whether a container of one isolated network does not reach the one of the other."""
    target, caller = ISOLATED[network]
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = there.host.podman("inspect", target, "--format", form)
    ask = ["/busybox", "wget", "-T", "2", "-q", "-O", "-", f"http://{address}/"]
    said = there.host.run(["podman", "exec", caller, *ask], check=False, timeout=20)
    return target not in said.stdout


def first_broken(ways: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The first broken hop of each broken way of a kind."""
    return [
        next(hop for hop in way["hops"] if hop["mark"] == "broken")
        for way in ways
        if way["mark"] == "broken" and way["kind"] == kind
    ]


def compare(there: Installed, ways: list[dict[str, Any]]) -> None:
    """Try each of these ways: what is called open works, and what is called broken does not."""
    listed = there.host.podman("ps", "--filter=status=paused", "--format={{.Names}}")
    for way in ways:
        works = _works(there, way, listed.split())
        if works is not None:
            told = [f"{hop['mark']} {hop['place']}: {hop['what']}" for hop in way["hops"]]
            is_heard = not any("nothing in it listens" in hop["what"] for hop in way["hops"])
            assert (way["mark"] == "open" and is_heard) == works, f"{way['title']}: {told}"
