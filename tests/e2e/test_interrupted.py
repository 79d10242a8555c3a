# SPDX-License-Identifier: Apache-2.0
"""podwatch ends in the middle of an escalation: what it had cleared is there again."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, built_package
from tests.lab.containers import ContainerSet, web
from tests.lab.host import Host

pytestmark = pytest.mark.e2e

PORTS = range(8961, 8969)
_COPY = "/run/podwatch/rules.json"


@pytest.fixture(scope="module")
def eight() -> Iterator[Installed]:
    """A host with eight containers, each with a published port."""
    with Host("trixie") as host:
        host.install(built_package())
        host.run("podman import /usr/share/podwatch-lab/busybox.tar local/busybox", timeout=120)
        for number, port in enumerate(PORTS):
            web(host, f"w{number}", publish=[f"{port}:80/tcp"])
        there = Installed(host, ContainerSet(host))
        there.until(lambda: there.check().code == 0, "whole", 30)
        yield there


def answering(there: Installed) -> int:
    """How many of the ports answer."""
    return sum(there.host.client.http(port) is not None for port in PORTS)


def strike(there: Installed) -> None:
    """Lose a rule that no copy has and no reload brings back, and wait until all are reloaded."""
    host = there.host
    host.run(["systemctl", "stop", "podwatch"])
    host.run(["rm", "-f", _COPY])
    lines = host.nft("-a", "list", "chain", "inet", "netavark", "FORWARD").splitlines()
    (handle,) = [line.split()[-1] for line in lines if "ct state invalid drop" in line]
    host.nft("delete", "rule", "inet", "netavark", "FORWARD", "handle", handle)
    cursor = host.journal_cursor()
    host.run(["systemctl", "start", "podwatch"])
    there.until(
        lambda: "reloading the network" in host.journal("podwatch", cursor), "being reloaded"
    )


def test_stopped_in_an_escalation(eight: Installed) -> None:
    """After `systemctl stop` every port answers, though nobody is left to heal."""
    strike(eight)
    eight.host.run(["systemctl", "stop", "podwatch"])
    assert eight.host.unit_state("podwatch") == "inactive"
    eight.until(lambda: answering(eight) == len(PORTS), "answering, all of them", 5)
    assert "stop-sigterm" not in eight.host.journal("podwatch")
    eight.host.run(["systemctl", "start", "podwatch"])
    eight.until(lambda: eight.check().code == 0, "whole", 40)


def test_killed_in_an_escalation(eight: Installed) -> None:
    """After SIGKILL the next podwatch puts back what the one before had cleared."""
    strike(eight)
    eight.host.run(["systemctl", "kill", "--signal=KILL", "podwatch"])
    eight.until(lambda: answering(eight) == len(PORTS), "answering, all of them", 20)
    eight.until(lambda: eight.check().code == 0, "whole", 60)
