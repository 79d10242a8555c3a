# SPDX-License-Identifier: Apache-2.0
"""A host whose netavark has firewalld make all the rules: what a reload of firewalld loses."""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import Installed, built_package
from tests.lab.containers import standard_set
from tests.lab.host import Host
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """Debian 13 with the firewalld driver, without netavark's own reload unit."""
    conf = containers_conf("trixie") + '[network]\nfirewall_driver = "firewalld"\n'
    with Host("trixie", containers_conf=conf, firewalld_reload_unit=False) as host:
        host.install(built_package())
        there = Installed(host, standard_set(host))
        there.until(lambda: there.check().code == 0, "ok", 20)
        yield there


@pytest.mark.parametrize(
    "fault",
    [
        "firewall-cmd --reload",
        "systemctl restart firewalld",
        "systemctl stop firewalld; systemctl start firewalld",
    ],
)
def test_what_firewalld_forgets_is_set_up_again(there: Installed, fault: str) -> None:
    """Every published port answers again, by `podman network reload`."""
    before = there.containers.probe_ports()
    assert before == []
    reloads = there.reloads()

    there.host.shell(fault)

    there.until(lambda: there.reloads() > reloads, "reloaded", 20)
    there.until(lambda: not there.containers.probe_ports() and there.check().code == 0, "whole", 30)


def test_a_stopped_firewalld_is_reported(there: Installed) -> None:
    """Without firewalld nothing can be set up, and nothing is tried: the status says so."""
    reloads = there.reloads()
    there.host.shell("systemctl stop firewalld")
    there.until(lambda: there.status()["state"] == "degraded", "degraded", 10)
    assert "firewalld does not run" in str(there.status()["warnings"])
    assert there.reloads() == reloads
    there.host.shell("systemctl start firewalld")
    there.until(lambda: not there.containers.probe_ports() and there.check().code == 0, "whole", 30)
