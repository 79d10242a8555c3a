# SPDX-License-Identifier: Apache-2.0
"""One installed host for each test module and suite, and how processes share out the hosts."""

from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.e2e.installed import Installed, installed
from tests.lab.by_host import host_of

SUITES = ("trixie", "forky")


class HostByHost(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """pytest-xdist's loadscope with the hosts of a module as scopes."""

    def _split_scope(self, nodeid: str) -> str:
        return host_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> HostByHost | None:
    """Share out hosts where run.py wants scopes shared out."""
    return HostByHost(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.fixture(scope="module", params=SUITES)
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """A host with podwatch installed and the standard containers running."""
    with installed(request.param) as host:
        yield host


@pytest.fixture
def whole_afterwards(there: Installed) -> Iterator[None]:
    """A test that breaks something ends with a host on which everything works."""
    yield
    there.until_whole(40)
