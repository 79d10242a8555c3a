# SPDX-License-Identifier: Apache-2.0
"""The network namespace in which a user's bridges are, as a look finds it."""

from dataclasses import dataclass

START_ANEW = "stop all containers that are on networks, then start them again"
"""What helps where podman has lost the namespace for good."""


@dataclass(frozen=True, slots=True)
class Netns:
    """`inode` is the number of the namespace that is looked into, 0 where there is none.

    podman finds it by the file `path`, on which it is mounted; `mounted` is the number of what is
    mounted there now, 0 for nothing. `has_file`: there is such a file at all. `is_uncounted`:
    podman's own count of who is in it, beside the file, is gone or is no number.
    """

    path: str = ""
    inode: int = 0
    mounted: int = 0
    has_file: bool = False
    is_uncounted: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether podman finds the namespace that is looked into."""
        return bool(self.inode) and self.mounted == self.inode

    @property
    def is_lost(self) -> bool:
        """Whether podman would not find the namespace that there is, though its file is there."""
        return bool(self.inode) and not self.mounted and self.has_file

    @property
    def is_removed(self) -> bool:
        """Whether the file is gone, and with it all that podman keeps beside it."""
        return bool(self.inode) and not self.mounted and not self.has_file

    @property
    def is_gone(self) -> bool:
        """Whether there is none at all."""
        return not self.inode and not self.mounted

    @property
    def is_split(self) -> bool:
        """Whether podman has made another one, beside that with the containers in it."""
        return bool(self.inode) and self.mounted not in (0, self.inode)
