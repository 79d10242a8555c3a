# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin of the lab: hosts as fixtures, one for each test module.

A test module asks for it by ``pytest_plugins = ["tests.lab.fixtures"]``. Where the lab cannot run
its tests are skipped with the reason, but fail where ``CI`` is set: there nobody reads skips.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.lab.host import Host
from tests.lab.needs import missing_needs
from tests.lab.rootfs import SUITES


@pytest.fixture(scope="session")
def lab() -> None:
    """Skip what needs the lab where it cannot run; fail it where CI is set."""
    problems = "; ".join(missing_needs())
    if problems and os.environ.get("CI"):
        pytest.fail(f"this machine cannot run the lab: {problems}")
    if problems:
        pytest.skip(f"this machine cannot run the lab: {problems}")


@pytest.fixture(scope="module")
def lab_host(lab: None) -> Iterator[Callable[..., Host]]:
    """A function with Host's arguments that boots one; it lives until the module's last test."""
    with ExitStack() as hosts:

        def boot(suite: str = "trixie", **options: Any) -> Host:
            return hosts.enter_context(Host(suite, **options))

        yield boot


@pytest.fixture(scope="module", params=SUITES)
def host(request: pytest.FixtureRequest, lab_host: Callable[..., Host]) -> Host:
    """A booted host of each suite, as Debian sets it up."""
    return lab_host(request.param)
