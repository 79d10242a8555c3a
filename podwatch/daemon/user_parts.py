# SPDX-License-Identifier: Apache-2.0
"""What a user's Host has beside root's. Root's loads none of it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from podwatch.adapters.paths import Paths
from podwatch.daemon.installed import Installed
from podwatch.daemon.netns import NetnsWatch
from podwatch.daemon.relay_repair import RelayRepair
from podwatch.daemon.relays import RelaysLook
from podwatch.daemon.user_driver import UserDriver
from podwatch.daemon.user_network import UserNetwork
from podwatch.words.errors import PodwatchError
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing


@dataclass(frozen=True)
class UserParts:
    """The driver, the network around the user's, the relays, and who starts those again."""

    driver: UserDriver
    network: UserNetwork
    relays: RelaysLook
    relay: Callable[[Sequence[Missing], Snapshot], Awaitable[str]]

    @classmethod
    def of(cls, installed: Installed, netns: NetnsWatch) -> "UserParts":
        """Those of the user whose Podman is installed so. Raises PodwatchError for root's."""
        paths: Paths = installed.paths
        if paths.rootless is None:
            raise PodwatchError("root's Podman has no network namespace of a user's")
        relays = RelaysLook(paths.relays)
        repair = RelayRepair(paths.rootless, relays, installed.lock)
        return cls(UserDriver(), UserNetwork(netns.look), relays, repair.mend)
