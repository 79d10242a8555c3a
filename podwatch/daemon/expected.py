# SPDX-License-Identifier: Apache-2.0
"""What is set up on the host: from netavark's state, from CNI's cache, or from podman.

netavark before 1.9 leaves nothing that tells which rules it installed, so podman is asked, but
only when the database of its addresses has changed: each container that joins a network or leaves
one writes to it, under podman's network lock. Until podman has answered the setup is unknown; an
old answer could bring back the rules of a container that has gone. podman does not say where DNS
is redirected to: its configuration does, as long as aardvark-dns was started with the same.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from podwatch.adapters.aardvark import serving_port
from podwatch.adapters.cni import CniCache
from podwatch.adapters.netlink import table_exists
from podwatch.adapters.statedir import StateDirectory
from podwatch.daemon.installed import Installed
from podwatch.drivers import nftables
from podwatch.formats.podman_setup import with_dns_port
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Container, FirewallDriver, Setup

QUIET_S = 0.3
"""podman is asked when its networks have been the same for so long."""

_TRIES = 20
_PATIENCE = 50  # times QUIET_S: longer than a start takes that waits for DHCP
_TOO_FAST = "podman's networks change faster than podman can be asked"


class Expected:
    """The setup as it was last read; `stamp` changes whenever it may be another one.

    `has_table` says whether the kernel has a table, by family and name; `served` at which port
    aardvark-dns serves a directory, None where it does not run. `named` gives what podman told its
    driver, where another than iptables' may be.
    """

    def __init__(
        self,
        state: StateDirectory,
        installed: Installed,
        cni: CniCache | None = None,
        *,
        has_table: Callable[[str, str], bool] = table_exists,
        served: Callable[[Path], int | None] = serving_port,
        named: Callable[[Setup], Setup] = lambda setup: setup,
    ) -> None:
        self.state = state
        self.cni = cni
        self._installed = installed
        self._has_table = has_table
        self._served = served
        self._named = named
        self.stamp: object = None
        self._listed: dict[str, Container] | None = None
        self._answer: Setup | None = None
        self._had_state = False

    @property
    def asks_podman(self) -> bool:
        """Whether the setup is podman's word."""
        return self._answer is not None

    async def read(self) -> Setup:
        """What is set up. Raises StateUnreadable."""
        setup = await self._read_state()
        networks = self._installed.podman.networks_stamp()
        if setup.driver is not FirewallDriver.UNKNOWN or networks is None:
            return self._by_state(setup)
        if self._answer is None or self.stamp != networks:
            self._answer, self._listed = await self._ask()
            if self._answer.endpoints and self.state.path.is_dir():
                # It keeps state after all: the first container was being set up, or it is gone.
                setup = self.state.read()
                if setup.driver is FirewallDriver.UNKNOWN:
                    self._answer = None
                    raise self._gone()
                return self._by_state(setup)
        return self._named(with_dns_port(self._answer, self._dns_port()))

    def _by_state(self, setup: Setup) -> Setup:
        """What netavark's state tells, or else CNI's cache.

        What netavark keeps in /run tells that it is in use; CNI's cache may be left over.
        """
        known = setup.driver is not FirewallDriver.UNKNOWN
        by_cni = None if known or self.cni is None else self.cni.read()
        self._had_state = self._had_state or known
        self._answer, self.stamp = None, self._stamp()
        return by_cni or setup

    async def _read_state(self) -> Setup:
        """netavark's state. Raises StateUnreadable where there was one, and is none any more.

        What it keeps stays when the last container stops (netavark src/firewall/state.rs, 1.9 to
        2.1), and its nftables driver, of 1.10, never was without it.
        """
        for _ in range(_TRIES):
            busy = self._installed.lock.holder()
            setup = self.state.read()
            if setup.driver is not FirewallDriver.UNKNOWN:
                return setup
            if not (self._had_state or self._has_table(nftables.FAMILY, nftables.TABLE)):
                return setup
            if not busy:
                break
            await asyncio.sleep(QUIET_S)
        raise self._gone()

    def _gone(self) -> StateUnreadable:
        return StateUnreadable(
            f"netavark's state is gone: there is no {self.state.path}/firewall-driver",
            hint="restart the containers, or the host: netavark writes it anew",
        )

    def is_current(self) -> bool:
        """Whether the setup is still the one that was last read."""
        if self._answer is not None:
            return self.stamp == self._installed.podman.networks_stamp()
        try:
            stamp = self.state.stamp_now()
            if self.cni is not None and self.cni.stamp is not None:
                self.cni.read()
        except StateUnreadable:
            return False
        return self.stamp == (stamp, self._stamp()[1])

    def has_only_fewer(self) -> bool:
        """Whether netavark's state has lost files since it was read, and has no other one."""
        try:
            return self._answer is None and self.state.has_only_fewer()
        except StateUnreadable:
            return False

    def _stamp(self) -> tuple[object, object]:
        return self.state.stamp, None if self.cni is None else self.cni.stamp

    def take_listed(self) -> dict[str, Container] | None:
        """podman's containers, if it was asked since they were last taken from here."""
        listed, self._listed = self._listed, None
        return listed

    async def list_containers(self) -> dict[str, Container]:
        """podman's containers by id, asked now. Raises StateUnreadable."""
        if self._answer is None:
            return await self._installed.podman.list_containers()
        self._answer, containers = await self._ask()
        return containers

    async def _ask(self) -> tuple[Setup, dict[str, Container]]:
        stamp: object = None
        for _ in range(_TRIES):
            for _ in range(_PATIENCE):
                busy = self._installed.lock.holder()
                if stamp == (stamp := self._installed.podman.networks_stamp()) and not busy:
                    break
                await asyncio.sleep(QUIET_S)
            else:  # what else is looked at does not wait for it any longer
                raise StateUnreadable(busy or _TOO_FAST)
            try:
                answer = await self._installed.podman.list_networks()
            except StateUnreadable:  # it may have been told of a container that came or went
                if stamp == self._installed.podman.networks_stamp():
                    raise
                continue
            if stamp == self._installed.podman.networks_stamp():
                self.stamp = stamp
                return answer
        raise StateUnreadable(_TOO_FAST)

    def _dns_port(self) -> int:
        """Where netavark had, and would have, DNS redirected to; 53 where that is nowhere.

        Where the two are not the same, podman's configuration was changed since the first container
        started, and which rules there have to be is not known.
        """
        port = self._served(self._installed.paths.aardvark)
        return port if port is not None and port == self._installed.networks.read_dns_port() else 53
