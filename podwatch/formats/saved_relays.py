# SPDX-License-Identifier: Apache-2.0
"""The file in which podwatch keeps how relays were started while they did their work. Pure."""

import json
from collections.abc import Mapping

from podwatch.words.errors import StateUnreadable
from podwatch.words.relays import Duty, Relay, RelayKind, Role
from podwatch.words.text import printable

SCHEMA = 1


def as_text(healthy: Mapping[Duty, Relay]) -> str:
    """What is written down."""
    listed = [
        {
            "role": duty.role,
            "container": duty.container_id,
            "kind": relay.kind,
            "pid": relay.pid,
            "started": relay.started,
            "exe": relay.exe,
            "argv": relay.argv,
            "file": relay.file,
            "netns": relay.netns,
            "child": relay.child,
            "end_pipe": relay.end_pipe,
        }
        for duty, relay in healthy.items()
    ]
    return json.dumps({"schema": SCHEMA, "relays": listed}, indent=1) + "\n"


def parse_saved(text: str) -> dict[Duty, Relay]:
    """What was written down. Raises StateUnreadable for anything else."""
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        return {
            Duty(Role(one["role"]), printable(one["container"])): Relay(
                RelayKind(one["kind"]),
                int(one["pid"]),
                int(one["started"]),
                printable(one["exe"]),
                tuple(printable(word) for word in one["argv"]),
                printable(one["file"]),
                int(one["netns"]),
                int(one["child"]),
                int(one["end_pipe"]),
            )
            for one in document["relays"]
        }
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as exc:
        raise StateUnreadable(f"not what podwatch writes there: {repr(exc)[:100]}") from exc
