# SPDX-License-Identifier: Apache-2.0
"""A lab host with the built package, and a user on it whose podwatch watches their containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.installed import Told, built_package
from tests.lab.host import Host
from tests.lab.inside import Inside
from tests.lab.user import User
from tests.lab.user_containers import UserContainers, standard_set

_AT_ONCE = {"/etc/systemd/logind.conf.d/lab.conf": "[Login]\nUserStopDelaySec=0\n"}
"""The runtime directory of who has gone is removed at once, not after ten seconds."""


@dataclass
class OfUser(Told):
    """A user, their containers, and what their podwatch says."""

    user: User
    containers: UserContainers

    @property
    def host(self) -> Host:
        """The host they are on."""
        return self.user.host

    @property
    def asks(self) -> Inside:
        """The user asks."""
        return self.user

    @property
    def status_file(self) -> str:
        """Their podwatch's status."""
        return f"{self.user.runtime}/podwatch/status.json"

    @property
    def config(self) -> str:
        """Their file of settings."""
        return f"{self.user.home}/.config/podwatch/podwatch.conf"

    def start(self) -> None:
        """Start their podwatch, as the README says."""
        self.user.run([*self.user.systemctl, "enable", "--now", "podwatch.service"])

    def systemctl(self, *arguments: str) -> str:
        """Tell their manager something."""
        return self.user.run([*self.user.systemctl, *arguments]).stdout.strip()

    def until_whole(self, limit_s: float = 15.0) -> float:
        """Wait until every way is open, and `check` finds all."""
        return self.until(
            lambda: not self.containers.closed() and self.check().code == 0, "whole", limit_s
        )

    def start_containers(self, first_port: int = 8080) -> None:
        """Start the standard ones, and wait until each way is open."""
        self.containers = standard_set(self.user, first_port)
        self.until(lambda: not self.containers.closed(), "open", 30)


@contextmanager
def booted(suite: str) -> Iterator[Host]:
    """Boot a host of this suite with the package installed; firewalld closes no port yet."""
    with Host(suite, firewalld=False, files=_AT_ONCE) as host:
        host.install(built_package())
        yield host


def watched(host: Host, name: str = "u1", first_port: int = 8080) -> OfUser:
    """Create a user with the standard containers and podwatch running."""
    user = User(host, name)
    found = OfUser(user, standard_set(user, first_port))
    found.start()
    found.until_whole(30)
    return found
