# SPDX-License-Identifier: Apache-2.0
"""Where a user's Podman keeps its storage, and with it the files of its networks."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from podwatch.adapters.files import read_whole
from podwatch.adapters.paths import STORAGE_CONF
from podwatch.formats.storage_conf import named_root
from podwatch.words.errors import StateUnreadable

MAX_BYTES = 1 << 20


def run_root(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where podman keeps what lasts until the host is booted; None where it takes its default."""
    return _named(environment, of_run=True)


def graph_root(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The directory that storage.conf names for this user; None where podman takes its default.

    The user's own file counts before the system's, of which the first that is there counts. A file
    that makes no sense names none, as podman refuses to work with it.
    """
    return _named(environment, of_run=False)


def _named(environment: Mapping[str, str], *, of_run: bool) -> Path | None:
    variables = {"UID": str(os.geteuid()), **environment}
    for path, of_system in _files(environment):
        try:
            text = read_whole(path, limit_bytes=MAX_BYTES)
            if text is None:
                continue
            found = named_root(text, of_system=of_system, variables=variables, of_run=of_run)
        except StateUnreadable:
            found = ""
        if found.startswith("/"):
            return Path(found)
        if of_system:
            return None
    return None


def _files(environment: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    named = environment.get("CONTAINERS_STORAGE_CONF")
    configured = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/')}/.config"
    yield Path(named or f"{configured}/containers/storage.conf"), False
    yield from ((path, True) for path in STORAGE_CONF)
