# SPDX-License-Identifier: Apache-2.0
"""Reading status.json, and what stands in it: the schema is SHAPE, written and read by it.

`/run/podwatch/status.json` is replaced whole whenever something changed. Its modification time is
the heartbeat: a document older than three times `heartbeat_every` is that of a daemon that hangs
or is gone. Times are seconds since the epoch, durations end in `_ms`. Within a schema fields are
only added; a reader takes no offence at those it does not know.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from podwatch.adapters.files import read_proc, read_whole
from podwatch.decide.kinds import reported
from podwatch.words.api import NAME
from podwatch.words.errors import StateUnreadable
from podwatch.words.verdict import State

SCHEMA = 1

_LIMIT_BYTES = 64 * 1024 * 1024
_MAX_ENTRIES = 10_000

_STATE = {
    "state": "",
    "hop": "",  # the first that keeps it from being open, why it does, and what to do about it
    "why": "",
    "advice": "",
    "since": 0.0,  # when the state became this; 0 where only one look was made
}
_STANDS = {
    **_STATE,  # ok, lost or unknown; "" where nothing is known of its ways
    "ways": [  # state: open, broken, unknown or closed (on purpose, or while it does not run)
        {"kind": "", "title": "", "port": "", "network": "", **_STATE}
    ],
}

SHAPE: Mapping[str, Any] = {
    "schema": SCHEMA,
    "version": "",  # of podwatch
    "pid": 0,
    "started": 0.0,
    "heartbeat_every": 0.0,  # seconds
    "dry_run": False,
    "state": "unknown",  # ok, degraded, lost or unknown
    "since": 0.0,  # when the state became this
    "summary": "",
    "driver": "",  # netavark's firewall driver
    "missing": [{"kind": "", "what": "", "detail": "", "network": "", "container": ""}],
    "missing_count": 0,  # `missing` holds no more than the first 2000
    "warnings": [{"kind": "", "what": "", "advice": ""}],
    "blocked": [{"kind": "", "what": "", "advice": "", "only_reload": False}],
    "unknown": [{"part": "", "what": "", "why": "", "hint": ""}],
    "neighbours": [""],  # active units that add rules of their own
    "networks": [
        {
            "id": "",
            "name": "",
            "bridge": "",
            "subnets": [""],
            "isolation": "",
            "containers": 0,
            **_STANDS,  # its ways are those that are no container's own
        }
    ],
    "containers": [
        {
            "id": "",
            "name": "",
            "pod": "",
            "class": "",  # of words/network.py: bridge, macvlan, host, member and so on
            "needs_rules": False,
            "paused": False,
            "shares": "",  # whose network it is on, of a pod's member or another's guest
            "networks": [{"network": "", "addresses": [""]}],
            "ports": [""],
            "missing": 0,  # of what it needs, and of what it shares with others
            **_STANDS,
        }
    ],
    "last_look": {"at": 0.0, "took_ms": 0.0, "generation": 0, "cause": ""},
    "last_incident": {  # began 0: there was none
        "began": 0.0,
        "cause": "",
        "by": "",  # the cause in one word of a small set
        "process": {  # who committed the transaction, as far as /proc said
            "name": "",
            "pid": 0,
            "command": "",  # in the history alone: the status is for everybody
            "unit": "",
            "session": "",
            "user": "",
            "parent": "",
            "parent_pid": 0,
        },
        "missing": [""],
        **{kind.name: 0 for kind in reported()},  # how much of each kind of thing was missing
        "containers": 0,
        "tried": [""],
        "methods": [""],
        "restored_at": 0.0,  # 0: not yet
        "verified": False,
        "took_ms": 0,
        "carried": 0,  # connections that the guard forwarded meanwhile
        "line": "",
    },
    "guard": {  # the table that nobody else's command takes away
        "mode": "",  # off, anchor or full: what there is now; "" without a daemon
        "table": "",
        "ports": 0,
        "containers": 0,
        "carried": 0,  # connections it forwarded since podwatch started
        "why": "",  # why there is no more than that
        "saved": "",  # a file that nftables.service loads and that has a copy of a guard
    },
    "dhcp": {  # state "": no network takes its addresses by DHCP, or dhcp.manage is false
        "state": "",
        "summary": "",
        "advice": "",
        "next_try": "",  # what is waited for while something is wrong
        "backend": "",  # netavark or cni
        "networks": [""],
        "socket": {
            "unit": "",
            "load": "",  # systemd's words: LoadState, ActiveState, UnitFileState, Result
            "active": "",
            "file": "",
            "result": "",
            "path": "",
            "path_exists": False,
            "listening": False,
        },
        "proxy": {"unit": "", "active": "", "pid": 0, "started": 0.0},
        "containers": [
            {
                "id": "",
                "name": "",
                "network": "",
                "mac": "",
                "address": "",
                "known": False,  # the running proxy knows the lease, and renews it
                "paused": False,
                "leased": 0.0,  # when, or when podwatch first saw the lease; 0: not known
                "lease_s": 0,  # 0: not known, as with CNI
                "renew_s": 0,  # the proxy renews it so often; 0: not known
                "renews_at": 0.0,  # the next time, as of this look; 0: not known
            }
        ],
    },
    "watchers": {
        "nftables": "",
        "links": "",
        "firewalld": "",
        "sysctls": "",
        "runtimes": "",
        "names": "",
        "netns": "",
        "relays": "",
        "pause": "",
        "guard": "",
        "api": "",
        "systemd": "",
    },
    "fight": "",  # flapping: who keeps removing the rules, while somebody does
    "restoring": "",  # what is under way; in a dry run, "would ..."
    "next_try": "",  # what is waited for while something is missing, and why the last try failed
    "next_look_at": 0.0,  # 0: when something happens
    "counters": {"looks": 0, "incidents": 0, "restored": 0, "failed": 0},
}
"""Every field with its empty value; of a list, the empty value of its entries."""


def read_status(path: Path) -> dict[str, Any]:
    """The status document at `path`, every field of SHAPE in its place.

    `heartbeat` is added: when the daemon last showed that it is alive. What has the wrong type is
    taken for its empty value. Raises StateUnreadable when there is no file, or none of this schema.
    """
    text = read_whole(path, limit_bytes=_LIMIT_BYTES)
    if text is None:
        raise StateUnreadable(f"{path} does not exist")
    try:
        document = parse_status(text)
        return {**document, "heartbeat": path.stat().st_mtime}
    except StateUnreadable as exc:
        raise StateUnreadable(f"{path}: {exc}") from exc
    except OSError as exc:
        raise StateUnreadable(f"{path}: {exc.strerror}") from exc


def parse_status(text: str) -> dict[str, Any]:
    """The same from the document's text, without the heartbeat. Raises StateUnreadable."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not JSON: {exc}") from exc
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        schema = found.get("schema") if isinstance(found, dict) else None
        raise StateUnreadable(f"schema {schema!r}, where {SCHEMA} is understood")
    document = complete(found)
    if document["state"] not in list(State):
        raise StateUnreadable(f"no such state: {document['state']!r}")
    return document


def complete(document: Mapping[str, Any]) -> dict[str, Any]:
    """`document` with every field of SHAPE in its place; what it has beside them stays."""
    return {**document, **fit(document, SHAPE)}


def needing_rules(document: Mapping[str, Any]) -> int:
    """How many of the document's containers need rules on this host."""
    return sum(entry["needs_rules"] for entry in document.get("containers", ()))


_WELL: Mapping[str, str | tuple[str, ...]] = {
    "nftables": "listening",
    "links": "listening",
    "firewalld": "connected",
    "sysctls": "listening",
    "runtimes": "listening",
    "names": "listening",
    "netns": "listening",
    "relays": "listening",
    "pause": "listening",
    "guard": "listening",
    "api": ("serving", f"not serving {NAME}: no system bus"),  # a host may have none
}


def ailing(watchers: Mapping[str, str]) -> dict[str, str]:
    """The watchers that do not work, with what each says is wrong.

    What a watcher says begins with a word of its own while it works.
    """
    return {
        name: answer
        for name, well in _WELL.items()
        if (answer := watchers.get(name, "")) and not answer.startswith(well)
    }


def why_not_running(document: Mapping[str, Any], now: float, proc: Path = Path("/proc")) -> str:
    """Why the daemon that wrote `document` cannot be taken for running; "" when it runs.

    `now` is in seconds since the epoch.
    """
    pid = document["pid"]
    try:
        command = read_proc(proc / str(pid) / "cmdline")
    except (FileNotFoundError, ProcessLookupError):
        # Under hidepid= the processes of others do not show in /proc, but they take signals.
        if not _exists(pid):
            return f"its process, {pid}, is gone"
    except OSError:
        pass  # there, but not for us to read
    else:
        if b"podwatch" not in command:
            return f"its process, {pid}, is gone (another program has the number)"
    silent = abs(now - document["heartbeat"])
    if silent > 3 * document["heartbeat_every"]:
        return f"its process, {pid}, gave no sign of life for {silent:.0f} s"
    return ""


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def fit(value: Any, shape: Any) -> Any:
    """`value` in the form of `shape`: every key of it is there, with a value of its type.

    What `value` lacks, or has in another type, is taken from `shape`, which holds the empty value
    of each field. A list in `shape` has one entry: the form of all entries of such a list.
    """
    if isinstance(shape, dict):
        given = value if isinstance(value, dict) else {}
        return {key: fit(given.get(key), empty) for key, empty in shape.items()}
    if isinstance(shape, list):
        return (
            [fit(entry, shape[0]) for entry in value[:_MAX_ENTRIES]]
            if isinstance(value, list)
            else []
        )
    if isinstance(shape, bool) or isinstance(value, bool):
        return value if isinstance(shape, bool) and isinstance(value, bool) else shape
    if isinstance(shape, int | float):
        # Written so that nan and infinity, which Python's JSON has, are refused.
        return value if isinstance(value, int | float) and abs(value) < 1e15 else shape
    return value if isinstance(value, str) else shape
