# SPDX-License-Identifier: Apache-2.0
"""Debian 13 with iptables-legacy: the kernel announces nothing, and the slow look finds it.

Not Debian 12: its ip6tables-legacy (1.8.9) finds a rule with --check that differs in the port
alone, so that netavark leaves out some of a container's IPv6 ports, and podwatch says so.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.installed import CONFIG, Installed, built_package
from tests.lab.containers import standard_set
from tests.lab.host import Host
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e

DROP_IN = "iptables-legacy.conf"
TO_LEGACY = "; ".join(
    f"update-alternatives --set {program} /usr/sbin/{program}-legacy"
    for program in ("iptables", "ip6tables")
)
CONF = containers_conf("trixie") + '[network]\nfirewall_driver = "iptables"\n'


@pytest.fixture(scope="module")
def there() -> Iterator[Installed]:
    """Such a host, with podwatch installed as it is."""
    with Host("trixie", containers_conf=CONF) as host:
        host.shell(TO_LEGACY)
        host.install(built_package())
        host.write(CONFIG, '[look]\ninterval = "10s"\n')
        host.run(["systemctl", "restart", "podwatch"])
        yield Installed(host, standard_set(host))


def test_without_its_right_podwatch_says_what_to_do(there: Installed) -> None:
    """Locked up as it is by default, podwatch cannot look, and tells of the file that lets it."""
    there.until(lambda: there.status()["state"] == "unknown", "unknown", 30)
    there.until(lambda: DROP_IN in str(there.status()["unknown"]), "told", 30)


def test_a_loss_is_found_by_the_slow_look(there: Installed) -> None:
    """With CAP_NET_RAW the rules are seen, and a flush is healed when the next slow look comes."""
    there.host.shell(
        f"install -D -m 644 /usr/share/podwatch/units/{DROP_IN} "
        f"/etc/systemd/system/podwatch.service.d/{DROP_IN}; "
        "systemctl daemon-reload; systemctl restart podwatch"
    )
    there.until(lambda: there.status()["state"] == "ok", "ok", 30)
    assert "iptables-legacy" in str(there.status()["warnings"])
    before = there.host.run(["iptables-save", "-t", "nat"]).stdout.count("-A ")
    for fault in ("iptables -F", "iptables -t nat -F; ip6tables -t nat -F"):
        there.host.shell(fault)
        there.until_whole(25)
        assert there.host.run(["iptables-save", "-t", "nat"]).stdout.count("-A ") == before
    assert there.reloads() == 0


def test_another_iptables_is_no_loss(there: Installed) -> None:
    """Switched to iptables-nft while containers run: told, and nothing is put there twice."""
    restored = there.status()["counters"]["restored"]
    there.host.shell(TO_LEGACY.replace("-legacy", "-nft"))
    try:
        there.until(lambda: there.status()["state"] == "degraded", "degraded", 30)
        assert "iptables-legacy's, and iptables is iptables-nft now" in str(there.status())
        assert there.containers.probe_all() == []
        assert "NETAVARK" not in there.host.run(["iptables-nft-save"]).stdout
        assert there.status()["counters"]["restored"] == restored
    finally:
        there.host.shell(TO_LEGACY)
    there.until(lambda: there.status()["state"] == "ok", "ok", 30)
    assert there.reloads() == 0
