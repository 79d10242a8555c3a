# SPDX-License-Identifier: Apache-2.0
"""A host whose netavark is told to leave the firewall alone: nothing is expected there, ever."""

import pytest

from tests.e2e.installed import Installed, built_package
from tests.lab.containers import standard_set
from tests.lab.host import Host
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e


def test_nothing_is_expected() -> None:
    """All is well before and after a flush of everything; nothing is reloaded or put back."""
    conf = containers_conf("trixie") + '[network]\nfirewall_driver = "none"\n'
    with Host("trixie", containers_conf=conf, firewalld_reload_unit=False) as host:
        host.install(built_package())
        there = Installed(host, standard_set(host))
        there.until(lambda: "web-a" in str(there.status()["containers"]), "known", 30)
        there.until(lambda: there.status()["state"] == "ok", "ok")
        last = there.status()["last_look"]["at"]
        host.shell("firewall-cmd --reload; nft flush ruleset; systemctl reload podwatch")
        there.until(lambda: there.status()["last_look"]["at"] > last, "looked")
        assert (there.check().code, there.status()["state"]) == (0, "ok")
        assert (there.incidents(), there.reloads()) == (0, 0)
        assert "netavark" not in host.nft("list", "tables")
