# SPDX-License-Identifier: Apache-2.0
"""The file in which podwatch keeps which permanent sources of firewalld it added itself. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from podwatch.words.errors import StateUnreadable
from podwatch.words.text import clean

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """A source that podwatch added for a network; `configured`: that had a file of Podman's.

    Podman's default network has none.
    """

    network: str
    configured: bool


def as_text(kept: Mapping[str, Kept]) -> str:
    """What is written down, by subnet."""
    listed = [
        {"subnet": subnet, "network": one.network, "configured": one.configured}
        for subnet, one in kept.items()
    ]
    return json.dumps({"schema": SCHEMA, "sources": listed}, indent=1) + "\n"


def read_kept(text: str) -> dict[str, Kept]:
    """What was written down. Raises StateUnreadable for anything else."""
    try:
        document = json.loads(text)
        return {
            str(ip_network(one["subnet"])): Kept(clean(one["network"]), one["configured"] is True)
            for one in document["sources"]
        }
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise StateUnreadable(f"not what podwatch writes there: {exc!r}") from exc
