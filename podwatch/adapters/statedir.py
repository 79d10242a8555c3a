# SPDX-License-Identifier: Apache-2.0
"""netavark's state directory: a look at a thousand containers costs no more than scanning it.

A file is parsed once, and again only when its inode, size or time has changed. Whatever is in the
directory may be hostile: only regular files of a bounded size and number are read, and links are
not followed. A file that makes no sense makes only its own container unknown.
"""

import os
import re
import time
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from podwatch.adapters.files import read_text
from podwatch.formats.state import LIMIT_BYTES, is_id, parse_driver, parse_endpoint, parse_network
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import BadFile, Endpoint, FirewallDriver, Network, Setup

MAX_FILES = 20_000
_KINDS = ("networks", "ports")
_TICK_NS = 50_000_000
_AS_ROOT = "podwatch has to run as root here: without nonroot.conf in podwatch.service.d"

_NETWORK_ID = re.compile("[0-9a-f]{64}")
_Stamp = tuple[int, int, int]
_Parsed = Network | Endpoint | BadFile


class StateDirectory:
    """The directory, with what was parsed of it before.

    `stamp` changes whenever a file does; it is that of the last `read`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp: object = None
        self._parsed: dict[str, tuple[_Stamp, _Parsed]] = {}

    def read(self) -> Setup:
        """What netavark says it set up; nothing where there is no directory.

        Raises StateUnreadable, naming the path, when the directory itself cannot be read.
        """
        driver = self._driver()
        found: dict[str, tuple[_Stamp, _Parsed]] = {}
        stamps: list[tuple[str, _Stamp]] = []
        networks: dict[str, Network] = {}
        endpoints: list[tuple[int, Endpoint]] = []
        bad: list[BadFile] = []
        written: dict[str, tuple[object, ...]] = {}
        for kind in _KINDS:
            for name, stamp in self._scan(kind):
                key = f"{kind}/{name}"
                known = self._parsed.get(key)
                parsed = known[1] if known and known[0] == stamp else self._parse(kind, name)
                if parsed is None:
                    continue
                # A file written twice within one tick of the clock keeps its time: one that is so
                # young is read again.
                young = abs(time.time_ns() - stamp[1]) < _TICK_NS
                found[key] = ((0, 0, -1) if young else stamp, parsed)
                stamps.append((key, stamp))
                if isinstance(parsed, Network):
                    networks[name] = parsed
                elif isinstance(parsed, Endpoint):
                    endpoints.append((stamp[1], parsed))
                    before = written.get(parsed.container_id, ())
                    written[parsed.container_id] = (*before, name, stamp)
                else:
                    bad.append(parsed)
        self._parsed = found
        self.stamp = hash(tuple(stamps))
        # In the order they were written: of two rules for a port netavark's first has it.
        in_turn = tuple(end for _, end in sorted(endpoints, key=itemgetter(0)))
        return Setup(driver, networks, in_turn, tuple(bad), written, state_dir=str(self.path))

    def stamp_now(self) -> object:
        """What `stamp` would be after a `read` now: no file of a container's is parsed for it.

        Raises StateUnreadable as `read` does.
        """
        self._driver()
        return hash(tuple(self._files()))

    def has_only_fewer(self) -> bool:
        """Whether files have gone since the last `read`, and the others are the same.

        Raises StateUnreadable.
        """
        known = {(key, stamp) for key, (stamp, _) in self._parsed.items()}
        return known > set(self._files())

    def _files(self) -> Iterator[tuple[str, _Stamp]]:
        for kind in _KINDS:
            yield from ((f"{kind}/{name}", stamp) for name, stamp in self._scan(kind))

    def _driver(self) -> FirewallDriver:
        path = self.path / "firewall-driver"
        try:
            text = _text(path)
            return FirewallDriver.UNKNOWN if text is None else parse_driver(text)
        except StateUnreadable as exc:
            shut = not os.access(self.path, os.R_OK | os.X_OK)
            raise StateUnreadable(f"{path}: {exc}", hint=_AS_ROOT if shut else exc.hint) from exc

    def _scan(self, kind: str) -> list[tuple[str, _Stamp]]:
        directory = self.path / kind
        entries: list[tuple[str, _Stamp]] = []
        try:
            with os.scandir(directory) as scan:
                for entry in scan:
                    try:
                        info = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # a container stopped between the two calls
                    entries.append((entry.name, (info.st_ino, info.st_mtime_ns, info.st_size)))
                    if len(entries) > MAX_FILES:
                        raise StateUnreadable(
                            f"{directory} holds more than {MAX_FILES} files",
                            hint="remove what netavark did not put there",
                        )
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise StateUnreadable(
                f"cannot read {directory}: {exc.strerror}", hint=_AS_ROOT
            ) from exc
        return sorted(entries)

    def _parse(self, kind: str, name: str) -> _Parsed | None:
        path = self.path / kind / name
        network_id, _, container_id = name.partition("_")
        try:
            text = _text(path)
            if text is None:
                return None
            if kind == "networks":
                return parse_network(text, network_id=name)
            return parse_endpoint(text, network_id=network_id, container_id=container_id)
        except StateUnreadable as exc:
            network_id = network_id if _NETWORK_ID.fullmatch(network_id) else ""
            container_id = container_id if is_id(container_id) else ""
            return BadFile(_printable(path), str(exc), network_id, container_id)


def _printable(path: Path) -> str:
    """A path that can be shown: what is in it is anybody's."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _text(path: Path) -> str | None:
    """The text of a state file; None when it has gone. Raises StateUnreadable."""
    try:
        return read_text(path, limit_bytes=LIMIT_BYTES)
    except StateUnreadable as exc:
        raise StateUnreadable(f"cannot be read: {exc}") from exc
