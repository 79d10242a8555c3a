# SPDX-License-Identifier: Apache-2.0
"""Rules all in place, and still no answer: another firewall's FORWARD chain drops."""

import time
from collections.abc import Iterator

import pytest

from podwatch.daemon.settings import Look
from tests.e2e.installed import Installed, installed
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e

HOSTS = ("forky", "bookworm-netavark", "bookworm-cni")
_SAVED = ("iptables", "ip6tables")


@pytest.fixture(scope="module", params=HOSTS)
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """Hosts of the drivers nftables, iptables and CNI, whose iptables tables are written down."""
    suite, _, kind = str(request.param).partition("-")
    conf = containers_conf(suite, network_backend="cni") if kind == "cni" else None
    with installed(suite, containers_conf=conf) as there:
        for each in _SAVED:  # which makes the table, where there is none
            there.host.shell(f"{each} -P FORWARD ACCEPT; {each}-save > /tmp/{each}")
        there.until(lambda: there.status()["state"] == "ok", "ok")
        yield there


def advice(there: Installed) -> list[str]:
    """What the daemon advises about networks that are shut out, from its first look on."""
    began = time.time()
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until(lambda: there.status()["started"] > began, "looked")
    return [each["advice"] for each in there.status()["warnings"] if each["kind"] == "shut_out"]


@pytest.mark.parametrize(
    "fault",
    [
        "ufw --force enable",
        "iptables -P FORWARD DROP",
        "iptables -A FORWARD -j REJECT",
        "iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; "
        "iptables -I FORWARD -j DOCKER-USER; iptables -P FORWARD DROP",
        "nft 'table inet site { chain passing { type filter hook forward priority 10; "
        "policy drop; ct state established,related accept; }; }'",
    ],
    ids=["ufw", "policy drop", "closing reject", "docker", "another table"],
)
def test_a_drop_by_others_is_reported_with_its_remedy(there: Installed, fault: str) -> None:
    """Nothing is missing, published ports do not answer: lost, and the advice makes them."""
    incidents = there.history()
    there.host.shell(fault)
    try:
        assert any("8081/tcp" in each for each in there.containers.probe_ports())
        told = advice(there)
        assert len(told) >= 3
        assert there.status()["state"] == "lost"
        for command in told:
            there.host.shell(command)
        assert advice(there) == []
        there.until(
            lambda: not [each for each in there.containers.probe_ports() if "host-web" not in each],
            "reachable",
        )
    finally:
        there.host.shell("ufw --force reset; nft delete table inet site", check=False)
        there.host.shell("; ".join(f"{each}-restore < /tmp/{each}" for each in _SAVED))
    assert advice(there) == []
    there.until_whole()
    assert there.status()["state"] == "ok"
    assert there.history() == incidents


@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_a_drop_by_others_is_told_without_a_slow_look(there: Installed) -> None:
    """What another program's table drops is told long before the slow look, its end at once."""
    looks = there.status()["counters"]["looks"]

    def told_after(command: str, code: int, share: int) -> None:
        began = int(there.host.shell(f"date +%s; nft '{command}'").stdout)
        status = ["podwatch", "status"]
        there.until(lambda: there.host.run(status, check=False).code == code, command, 70)
        assert there.status()["last_look"]["at"] - began < Look().interval / share

    drop = "type filter hook forward priority 10; policy drop;"
    told_after(f"add table inet site; add chain inet site passing {{ {drop} }}", 2, 2)
    told_after("delete table inet site", 0, 12)
    assert there.status()["counters"]["looks"] <= looks + 4


@pytest.mark.parametrize("there", ["forky"], indirect=True)
@pytest.mark.parametrize(
    "fault",
    [
        "ufw --force enable; ufw default allow routed",
        "for each in iptables ip6tables; do $each -P INPUT DROP; "
        "$each -I INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT; done",
        "nft 'table inet site { chain incoming { type filter hook input priority 0; "
        'policy drop; iif "lo" accept; ct state established,related accept; '
        "icmpv6 type nd-neighbor-solicit accept; tcp dport 22 accept; }; }'",
    ],
    ids=["ufw", "policy drop", "another table"],
)
def test_dropped_questions_are_reported_with_their_remedy(there: Installed, fault: str) -> None:
    """Where the host takes in nothing, names are not resolved: lost, and the advice helps."""

    def resolves() -> bool:
        asking = "timeout 5 podman exec dual-web /busybox nslookup dual-udp"
        return there.host.shell(asking, check=False).code == 0

    assert resolves()
    there.host.shell(fault)
    try:
        assert not resolves()
        told = advice(there)
        assert told
        assert there.status()["state"] == "lost"
        for command in told:
            there.host.shell(command)
        assert advice(there) == []
        assert resolves()
    finally:
        there.host.shell("ufw --force reset; nft delete table inet site", check=False)
        there.host.shell("; ".join(f"{each}-restore < /tmp/{each}" for each in _SAVED))
    assert advice(there) == []
