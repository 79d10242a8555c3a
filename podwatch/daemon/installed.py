# SPDX-License-Identifier: Apache-2.0
"""What is installed of Podman on a host, made from one value of where things are.

Root's Podman is one; a user's is another. Whoever asks podman, or reads its files, is handed this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podwatch.adapters.name_server import NameServerStart
from podwatch.adapters.paths import Paths, Rootless
from podwatch.adapters.podman import Podman
from podwatch.adapters.podman_lock import NetworkLock
from podwatch.adapters.podman_networks import PodmanNetworks

if TYPE_CHECKING:  # a user's podwatch does without, and without the bus
    from podwatch.adapters.systemd import Systemd


@dataclass(frozen=True, slots=True)
class Installed:
    """One Podman: its program, its network lock, the files of its networks, its name server."""

    paths: Paths
    podman: Podman
    lock: NetworkLock
    networks: PodmanNetworks
    name_server: NameServerStart
    forbids: Callable[[Rootless], str] = lambda _: ""
    """Why no network of a user's must be set up anew now; "" where it may."""

    @classmethod
    def at(cls, paths: Paths, systemd: "Systemd | None") -> "Installed":
        """The Podman whose files are at `paths`; `systemd` starts the units that ask it."""
        lock, networks = NetworkLock(paths.locks), PodmanNetworks(paths)
        if paths.rootless is None:
            names = NameServerStart(paths, systemd)
            return cls(paths, Podman(paths, systemd), lock, networks, names)
        from podwatch.adapters.user_namespaces import keeper, no_reload
        from podwatch.daemon.user_names import UserNameServerStart

        podman, server = Podman(paths, systemd, keeper), UserNameServerStart(paths)
        return cls(paths, podman, lock, networks, server, no_reload)
