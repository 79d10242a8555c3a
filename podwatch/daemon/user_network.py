# SPDX-License-Identifier: Apache-2.0
"""What a user's networks have beside root's: a namespace of their own, and the host around it.

pasta copies the host's address and default route into the namespace when it starts, and never looks
again. The kernel tells of changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from podwatch.adapters import host_of_user, kernel, links, namespace
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Around
from podwatch.words.netns import Netns
from podwatch.words.outside import Outside
from podwatch.words.snapshot import Part, Snapshot, Unknown


@dataclass(frozen=True, slots=True)
class AroundUser:
    """Both as a look finds them; None on root's host, and where the kernel does not tell."""

    netns: Netns | None = None
    outside: Outside | None = None


def read_outside() -> Outside:
    """The host's network at this moment. Raises LinksUnreadable."""
    routed = kernel.host_routed()
    there = links.read(namespace.Own()).addresses
    addresses = (one.ip for link in routed.values() for one in there.get(link, ()))
    return Outside(
        routed,
        frozenset(one for one in addresses if not one.is_link_local),
        host_of_user.ends_for(),
        host_of_user.first_port(),
        host_of_user.has_firewalld(),
    )


def without_netns(seen: Snapshot) -> Snapshot:
    """The same, where nobody looked into the namespace of the networks that are set up.

    What is inside is unknown then, and not lost.
    """
    netns, setup = seen.netns, seen.setup
    if netns is None or netns.inode or setup is None or not setup.endpoints:
        return seen
    cannot = "is not to be found" if netns.is_gone else "cannot be entered"
    why = f"their network namespace {cannot}"
    unknown = [Unknown(part, "the user's networks", why) for part in (Part.RULES, Part.LINKS)]
    return replace(
        seen,
        rules=None,
        links=None,
        namespaces=None,
        names=None,
        sysctls={},
        routed={},
        around=Around(),
        drops=(),
        others={},
        unknown=(*seen.unknown, *unknown),
    )


class UserNetwork:
    """The network around one user's, as it was seen last.

    `netns` finds the namespace. `outside` raises LinksUnreadable.
    """

    def __init__(
        self, netns: Callable[[], Netns], outside: Callable[[], Outside] = read_outside
    ) -> None:
        self.netns = netns
        self._outside = outside
        self._seen: Outside | None = None

    def read(self) -> AroundUser:
        """What there is now."""
        self._seen = self._read_outside()
        return AroundUser(self.netns(), self._seen)

    def is_other(self) -> bool:
        """Whether the host is not what it was when it was read last."""
        return self._read_outside() != self._seen

    def _read_outside(self) -> Outside | None:
        try:
            return self._outside()
        except LinksUnreadable:
            return None
