# SPDX-License-Identifier: Apache-2.0
"""Whether the state, `podwatch check`, `podwatch explain` and what is really seen are the same.

Each way of each container is tried (``tests/lab/reality.py``). What podwatch calls open has to
work, what it calls broken must not, and it is `lost` when anything is broken.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.e2e.installed import MIN_LIMIT_S, PATIENCE, Installed
from tests.e2e.ways import explained
from tests.lab.machine import until
from tests.lab.reality import Way, really

_OPEN = ("ok", "degraded")
_STATES = (*_OPEN, "lost", "unknown")
"""The states by their exit codes."""
_OF_NETWORKS = {"neighbours": "neighbour", "names": "name"}
"""The ways that explain tells of a whole network, and those that are tried."""


def agree(there: Installed, *, is_open: bool | None = None, limit_s: float = MIN_LIMIT_S) -> None:
    """Wait until all that is told and all that is seen agree; fail with what differs.

    Args:
        there: the host.
        is_open: whether every way has to be open by then, or one of them broken; None for either.
        limit_s: how long it may take on a machine that does nothing else, in seconds.
    """
    found: list[str] = []

    def agreed() -> bool:
        found[:] = differences(there, is_open=is_open)
        return not found

    if not until(agreed, PATIENCE * limit_s):
        status = there.host.run(["podwatch", "status", "--all"], check=False).stdout
        journal = there.host.journal("podwatch")[-3000:]
        raise AssertionError("\n".join(["these differ:", *found, status, journal]))


def differences(there: Installed, *, is_open: bool | None = None) -> list[str]:
    """A sentence for everything that is told otherwise than it is, or than it is told elsewhere."""
    ways = explained(there)
    checked = _STATES[there.check().code]
    status = there.status() if there.main_pid() != "0" else None
    real = really(there.host)
    found = list(compared(ways, checked, status, real))
    if is_open is not None and all(real.values()) != is_open:
        found.append(f"closed: {_closed(real)}" if _closed(real) else "every way is open")
    return found


def compared(
    ways: Sequence[Mapping[str, Any]],
    checked: str,
    status: dict[str, Any] | None,
    real: Mapping[Way, bool],
) -> Iterator[str]:
    """What differs.

    Args:
        ways: as `podwatch explain --json` tells them.
        checked: the state that `podwatch check` found.
        status: the status document; None where the daemon does not run.
        real: each way that was tried, and whether it works.
    """
    is_told = any(way["mark"] == "broken" for way in ways)
    yield from _of_explain(ways, real)
    yield from _of_state("podwatch check", checked, real, is_told=is_told)
    if status is None:
        return
    yield from _of_state("the status", status["state"], real, is_told=is_told)
    yield from _of_containers(status, real)
    if status["state"] == "lost" and not status["missing"] and not is_told:
        yield "the status is lost, and nothing is missing nor told to be broken"
    if (status["state"] == "lost") != (checked == "lost"):
        yield f"the status is {status['state']}, and podwatch check says {checked}"


def _closed(real: Mapping[Way, bool]) -> str:
    return ", ".join(str(way) for way, works in real.items() if not works)


def _of_state(who: str, state: str, real: Mapping[Way, bool], *, is_told: bool) -> Iterator[str]:
    """What is wrong about a state: `ok` and `degraded` are for hosts whose ways are all open."""
    if state in _OPEN and _closed(real):
        yield f"{who} is {state}, and closed is {_closed(real)}"
    if state in _OPEN and is_told:
        yield f"{who} is {state}, and podwatch explain tells of a broken way"
    if state == "unknown":
        yield f"{who} is unknown"


def _of_explain(ways: Sequence[Mapping[str, Any]], real: Mapping[Way, bool]) -> Iterator[str]:
    """Which ways are called open and do not work, or broken and work."""
    for way in ways:
        same = _same(way, real)
        if same and not (_may_be_open(same) if way["mark"] == "open" else not all(same.values())):
            hops = [f"{hop['mark']} {hop['place']}: {hop['what']}" for hop in way["hops"]]
            seen = f"closed of it: {_closed(same) or 'nothing'}"
            yield f"{way['title']} is called {way['mark']}; {seen}: {hops}"


def _may_be_open(same: Mapping[Way, bool]) -> bool:
    """Whether each works; of a name, that one of the servers answers is enough to resolve it.

    Who resolves none at all while others do is off the network himself: that is told of his link.
    """
    deaf = {way.container for way in same if way.kind == "name"} - {
        way.container for way, works in same.items() if works
    }
    if any(same.values()):
        same = {way: works for way, works in same.items() if way.container not in deaf}
    of_one: dict[tuple[str, str], list[bool]] = {}
    for way, works in same.items():
        to = way.to.partition(" by ")[0] if way.kind == "name" else f"{way.kind} {way.to}"
        of_one.setdefault((way.container, to), []).append(works)
    return all(any(several) for several in of_one.values())


def _same(told: Mapping[str, Any], real: Mapping[Way, bool]) -> dict[Way, bool]:
    """What was tried of a way that is told; of a network's, what each of its containers tried.

    Where bridges hand their packets to the firewall, firewalld's IPv6_rpfilter lets those between
    neighbours pass only if the bridge has its own IPv6 address: that is told of the bridge.
    """
    if told["kind"] in _OF_NETWORKS:
        kind = _OF_NETWORKS[told["kind"]]
        mine = [way for way in real if (way.kind, way.network) == (kind, told["network"])]
        return {way: real[way] for way in mine if way.kind != "neighbour" or not way.is_v6}
    is_v6 = "([" in told["title"] or "(fd" in told["title"]
    port, protocol = told["port"] or (0, "")
    ports = {(port + number, protocol) for number in range(told["count"])}
    return {
        way: works
        for way, works in real.items()
        if way.kind == told["kind"]
        and way.container_id == told["container_id"]
        and way.is_v6 == is_v6
        and (way.kind != "in" or way.key in ports)
    }


def _of_containers(status: Mapping[str, Any], real: Mapping[Way, bool]) -> Iterator[str]:
    """Which containers' own states are not what is seen of them.

    Of a neighbour that is not reached, or a name that is not known, the other end may be at fault.
    So a container is wrongly called well if its own ports or ways out are closed, or all else is;
    and wrongly called lost if nothing is closed at either end. Who is alone on a network has nobody
    whose name he could ask for: whether names are broken for him is not tried.
    """
    for container in status["containers"]:
        state = container.get("state", "")
        mine = {way: works for way, works in real.items() if way.container_id == container["id"]}
        if not mine or not state:
            continue
        own = [works for way, works in mine.items() if way.kind in ("in", "out")]
        others = [works for way, works in mine.items() if way.kind not in ("in", "out")]
        if state in _OPEN and not (all(own) and (any(others) or not others)):
            yield f"{container['name']} is {state}; closed of it: {_closed(mine)}"
        untried = container["hop"] == "DNS" and not any(way.kind == "name" for way in mine)
        if state == "lost" and all(mine.values()) and not untried:
            yield f"{container['name']} is lost; closed of it: nothing"
