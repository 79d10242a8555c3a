# SPDX-License-Identifier: Apache-2.0
"""Which containers are held back from a reload now, and why. Pure.

A reload takes a container off all its networks before it puts it back: where it cannot be put
back, what is left of its network is better than nothing.
"""

from collections.abc import Collection, Iterable, Mapping

from podwatch.words.network import Container
from podwatch.words.text import listed


def held_back(
    ids: Iterable[str], containers: Mapping[str, Container], no_lease: Collection[str] = ()
) -> dict[str, str]:
    """Of these containers those that must not be reloaded now, each with the reason.

    On the networks `no_lease` nobody would get a lease now: a reload there fails with the legs on
    bridges gone (seen with netavark 1.14).
    """
    held = {}
    for each in ids:
        container = containers.get(each)
        if container is None:
            continue
        without = [name for name in container.networks if name in no_lease]
        if container.paused:
            held[each] = "paused: podman unpause"
        elif without:
            held[each] = (
                f"on network {without[0]} too, whose DHCP proxy does not listen: a reload would "
                "take it off all its networks"
            )
    return held


def told(held: Mapping[str, str], containers: Mapping[str, Container]) -> str:
    """One sentence on who is held back, and why."""
    return "held back: " + listed([f"{containers[key].title} ({held[key]})" for key in held])
