# SPDX-License-Identifier: Apache-2.0
"""The host around a user's network namespace: its default routes, and the addresses beside them.

pasta copies both when it starts, and never looks again. The kernel tells of changes.
"""

from collections.abc import Callable

from podwatch.adapters import kernel, links, namespace
from podwatch.words.errors import LinksUnreadable
from podwatch.words.outside import Outside


def read_outside() -> Outside:
    """The host's network at this moment. Raises LinksUnreadable."""
    routed = kernel.host_routed()
    there = links.read(namespace.Own()).addresses
    addresses = (one.ip for link in routed.values() for one in there.get(link, ()))
    return Outside(routed, frozenset(one for one in addresses if not one.is_link_local))


class OutsideLook:
    """The host's network as it was seen last. `read` raises LinksUnreadable."""

    def __init__(self, read: Callable[[], Outside] = read_outside) -> None:
        self._read = read
        self._seen: Outside | None = None

    def read(self) -> Outside | None:
        """What there is now; None where the kernel does not tell."""
        try:
            self._seen = self._read()
        except LinksUnreadable:
            self._seen = None
        return self._seen

    def are_others(self) -> bool:
        """Whether it is not what it was when it was read last."""
        before = self._seen
        return self.read() != before
