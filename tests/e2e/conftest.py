# SPDX-License-Identifier: Apache-2.0
"""An installed host for each module and suite, or for several modules, and which process has it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.e2e.installed import Installed, installed
from tests.lab.by_host import host_of

SUITES = ("trixie", "forky")
SHARING = (
    *("test_api", "test_blocked", "test_each_rule", "test_reload_gates", "test_strangers"),
    "test_sysctls",
)
"""Modules that share a host of each suite: they leave it as they found it, and count from there."""


class HostByHost(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """pytest-xdist's loadscope with the hosts of a module as scopes."""

    def _split_scope(self, nodeid: str) -> str:
        return host_of(nodeid, SHARING)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> HostByHost | None:
    """Share out hosts where run.py wants scopes shared out."""
    return HostByHost(config, log) if config.getoption("dist") == "loadscope" else None


class SharedHosts:
    """One host for each suite, kept from one module that shares to the next."""

    def __init__(self) -> None:
        self._hosts: dict[str, tuple[Installed, ExitStack]] = {}

    def get(self, suite: str) -> Installed:
        """The host of a suite, booted if there is none."""
        if suite not in self._hosts:
            with ExitStack() as booting:
                host = booting.enter_context(installed(suite))
                self._hosts[suite] = host, booting.pop_all()
        return self._hosts[suite][0]

    def drop(self, suite: str) -> None:
        """End the host of a suite."""
        self._hosts.pop(suite)[1].close()

    def drop_all(self) -> None:
        """End every host that is still kept."""
        for suite in list(self._hosts):
            self.drop(suite)


@pytest.fixture(scope="session")
def shared_hosts() -> Iterator[SharedHosts]:
    """The hosts that modules of this process share."""
    hosts = SharedHosts()
    yield hosts
    hosts.drop_all()


@pytest.fixture(scope="module", params=SUITES)
def there(request: pytest.FixtureRequest, shared_hosts: SharedHosts) -> Iterator[Installed]:
    """A host with podwatch installed and the standard containers running."""
    if request.path.stem not in SHARING:
        shared_hosts.drop_all()  # whoever shared them is through
        with installed(request.param) as host:
            yield host
        return
    yield (host := shared_hosts.get(request.param))
    try:
        host.start_anew()
        host.until_whole(30)
    except BaseException:
        shared_hosts.drop(request.param)  # the next module gets another one
        raise


@pytest.fixture
def whole_afterwards(there: Installed) -> Iterator[None]:
    """A test that breaks something ends with a host on which everything works."""
    yield
    there.until_whole(40)
