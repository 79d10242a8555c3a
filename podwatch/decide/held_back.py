# SPDX-License-Identifier: Apache-2.0
"""Which containers are held back from a reload now, and why. Pure.

A reload takes a container off all its networks, and then puts it back. Where it could not be put
back, the container is not reloaded: what is left of its network is better than nothing.
"""

from collections.abc import Iterable, Mapping

from podwatch.decide.places import careful_reload
from podwatch.words.network import Container
from podwatch.words.text import listed
from podwatch.words.verdict import Missing, MissingKind


def held_back(
    ids: Iterable[str],
    containers: Mapping[str, Container],
    shut: Mapping[str, str],
    missing: Iterable[Missing] = (),
) -> dict[str, str]:
    """The containers among `ids` that must not be reloaded now, each with the reason.

    `shut` are the networks whose containers must not be, each with the reason; `missing` is what a
    look missed.
    """
    held = {}
    lacking = {key: loss.value for loss in missing if _is_v6(loss) for key in loss.container_ids}
    for key in ids:
        container = containers.get(key)
        if container is None:
            continue
        on = [name for name in container.networks if name in shut]
        if container.is_paused:
            held[key] = "paused: podman unpause"
        elif on:
            held[key] = shut[on[0]]
        elif key in lacking:
            held[key] = (
                f"without {lacking[key]}, maybe on purpose: {careful_reload(container.name)}"
            )
    return held


def _is_v6(loss: Missing) -> bool:
    """Whether a container has lost an IPv6 address alone, inside."""
    return loss.kind == MissingKind.INNER_ADDRESS and not loss.reloadable


def sentence(held: Mapping[str, str], containers: Mapping[str, Container]) -> str:
    """One sentence that says which containers are held back, and why; each reason once."""
    whose: dict[str, list[str]] = {}
    for key, why in held.items():
        whose.setdefault(why, []).append(containers[key].title)
    return "held back: " + listed([f"{_names(names)} ({why})" for why, names in whose.items()])


def _names(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
