# SPDX-License-Identifier: Apache-2.0
"""An installed host for each module and suite, or for several modules, and which process has it.

Beside it, for the modules about the page, a browser that shows it.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.browser.cockpit import Session
from tests.e2e.installed import Installed, installed
from tests.e2e.page import PageHost, no_faults, with_cockpit
from tests.lab.by_host import host_of

SUITES = ("trixie", "forky")
SHARED, WITH_COCKPIT = "shared", "with cockpit"
SHARING = {
    "test_api": SHARED,
    "test_api_commands": SHARED,
    "test_blocked": SHARED,
    "test_each_rule": SHARED,
    "test_reload_gates": SHARED,
    "test_strangers": SHARED,
    "test_sysctls": SHARED,
    "test_page_live": WITH_COCKPIT,
    "test_page_looks": WITH_COCKPIT,
    "test_page_rights": WITH_COCKPIT,
}
"""Modules that share a host of each suite: they leave it as they found it, and count from there."""

_BOOTS: dict[str, Callable[[str], AbstractContextManager[Installed]]] = {
    SHARED: installed,
    WITH_COCKPIT: with_cockpit,
}


class HostByHost(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """pytest-xdist's loadscope with the hosts of a module as scopes."""

    def _split_scope(self, nodeid: str) -> str:
        return host_of(nodeid, SHARING)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> HostByHost | None:
    """Share out hosts where run.py wants scopes shared out."""
    return HostByHost(config, log) if config.getoption("dist") == "loadscope" else None


class SharedHosts:
    """One host for each suite and kind, kept from one module that shares to the next."""

    def __init__(self) -> None:
        self._hosts: dict[tuple[str, str], tuple[Installed, ExitStack]] = {}

    def get(self, kind: str, suite: str) -> Installed:
        """The host of a kind and suite, booted if there is none."""
        if (kind, suite) not in self._hosts:
            with ExitStack() as booting:
                host = booting.enter_context(_BOOTS[kind](suite))
                self._hosts[kind, suite] = host, booting.pop_all()
        return self._hosts[kind, suite][0]

    def drop(self, kind: str, suite: str) -> None:
        """End the host of a kind and suite."""
        self._hosts.pop((kind, suite))[1].close()

    def drop_all(self) -> None:
        """End every host that is still kept."""
        for kind, suite in list(self._hosts):
            self.drop(kind, suite)


@pytest.fixture(scope="session")
def shared_hosts() -> Iterator[SharedHosts]:
    """The hosts that modules of this process share."""
    hosts = SharedHosts()
    yield hosts
    hosts.drop_all()


@pytest.fixture(scope="module", params=SUITES)
def there(request: pytest.FixtureRequest, shared_hosts: SharedHosts) -> Iterator[Installed]:
    """A host with podwatch installed and the standard containers running; with Cockpit, too."""
    kind, suite = SHARING.get(request.path.stem), request.param
    if kind is None:
        shared_hosts.drop_all()  # whoever shared them is through
        with installed(suite) as host:
            yield host
        return
    yield (host := shared_hosts.get(kind, suite))
    try:
        host.start_anew()
        host.until_whole(30)
    except BaseException:
        shared_hosts.drop(kind, suite)  # the next module gets another one
        raise


@pytest.fixture
def whole_afterwards(there: Installed) -> Iterator[None]:
    """A test that breaks something ends with a host on which everything works."""
    yield
    there.until_whole(40)


@pytest.fixture(scope="module")
def web(there: Installed) -> PageHost:
    """The host, seen by a module that is about the page."""
    assert isinstance(there, PageHost)
    return there


@pytest.fixture(scope="module")
def _logged_in(web: PageHost) -> Iterator[Session]:
    """One browser for all tests of a module that need no other."""
    with web.looking() as session:
        yield session


@pytest.fixture
def seen(_logged_in: Session) -> Iterator[Session]:
    """A browser that shows all of the page; it ends without a fault."""
    _logged_in.turn_to()
    yield _logged_in
    no_faults(_logged_in)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what tests have measured and recorded."""
    lines = [
        f"  {report.nodeid.rpartition('::')[2]}: {name}: {value}"
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
    ]
    if lines:
        terminalreporter.section("measured", sep="-")
        terminalreporter.write_line("\n".join(lines))
