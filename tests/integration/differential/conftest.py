# SPDX-License-Identifier: Apache-2.0
"""What the differential tests need: root, and the root file systems netavark is taken from."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.differential import iptables_stage
from tests.integration.differential.configurations import BUSY_HOST, Configuration
from tests.integration.differential.iptables_stage import Played, fits, on_stage
from tests.integration.differential.stage import Stage
from tests.lab import rootfs
from tests.lab.needs import missing_needs

SUITES = ("trixie", "forky", "experimental")
"""netavark 1.14 with nft 1.1.3, netavark 1.17 with nft 1.1.7, and netavark 2.0 with nft 1.1.7."""


def skip_without_needs() -> None:
    """Skip the test where no root file system can be built here; CI may leave nothing out."""
    problems = missing_needs()
    if problems and os.environ.get("CI") != "true":
        pytest.skip("; ".join(problems))


@pytest.fixture(scope="session", params=SUITES)
def netavark_root(request: pytest.FixtureRequest) -> Path:
    """The root file system of a suite; it is built if this machine does not have it yet."""
    skip_without_needs()
    return rootfs.build(str(request.param))


@pytest.fixture(scope="module")
def busy_stage(netavark_root: Path) -> Iterator[Stage]:
    """A stage on which the real netavark has set up every feature at once."""
    with Stage(netavark_root) as stage:
        for box in BUSY_HOST.boxes:
            stage.netavark("setup", box.document(), BUSY_HOST.dns_port)
        yield stage


@pytest.fixture(scope="session", params=iptables_stage.SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """A suite whose netavark can be had with iptables."""
    skip_without_needs()
    return str(request.param)


@pytest.fixture
def busy(suite: str) -> Iterator[Played]:
    """A stage on which netavark has set up, with iptables, every feature its version has."""
    with on_stage(rootfs.build(suite), suite, BUSY_HOST.dns_port) as played:
        for box in BUSY_HOST.boxes:
            if fits(suite, Configuration("", (box,))):
                played.play("setup", box)
        yield played
