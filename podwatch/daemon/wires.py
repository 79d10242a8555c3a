# SPDX-License-Identifier: Apache-2.0
"""The host's links and addresses as a look finds them, read again where the kernel told of changes.

To list them takes 3 ms at 100 containers, so that is not done for nothing.
"""

from collections.abc import Callable

from podwatch.adapters import links
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Links
from podwatch.words.snapshot import Part, Unknown


class Wires:
    """The host's links; `changes` counts what was told of them, None where nobody listens."""

    def __init__(
        self,
        changes: Callable[[], int | None] = lambda: None,
        read: Callable[[], Links] = links.read,
    ) -> None:
        self.changes = changes
        self._read = read
        self._known: tuple[int, Links] | None = None

    def read(self, unknown: list[Unknown]) -> Links | None:
        """All links; None, and why in `unknown`, where the kernel does not tell."""
        changes = self.changes()
        if self._known is not None and changes is not None and self._known[0] == changes:
            return self._known[1]
        try:
            found = self._read()
        except LinksUnreadable as exc:
            self._known = None
            unknown.append(Unknown(Part.LINKS, "the host's links", str(exc), exc.hint))
            return None
        self._known = None if changes is None else (changes, found)
        return found
