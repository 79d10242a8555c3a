# SPDX-License-Identifier: Apache-2.0
"""Rules all in place, and still no answer: another firewall's FORWARD chain drops."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podwatch.daemon.settings import Look
from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, installed
from tests.lab.client import CLIENT_LINK, HOST_LINK
from tests.lab.containers import web
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e

HOSTS = ("forky", "bookworm-netavark", "bookworm-cni")
_TOLD_S = 60.0
"""So long it takes at most until what no event tells of is told, in seconds."""
_SAVED = ("iptables", "ip6tables")


@pytest.fixture(scope="module", params=HOSTS)
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """Hosts of the drivers nftables, iptables and CNI, whose iptables tables are written down."""
    suite, _, kind = str(request.param).partition("-")
    conf = containers_conf(suite, network_backend="cni") if kind == "cni" else None
    with installed(suite, containers_conf=conf) as there:
        for program in _SAVED:  # which makes the table, where there is none
            there.host.shell(f"{program} -P FORWARD ACCEPT; {program}-save > /tmp/{program}")
        there.until(lambda: there.status()["state"] == "ok", "ok")
        yield there


def advice(there: Installed) -> list[str]:
    """What the daemon advises about networks that are shut out, from its first look on."""
    began = time.time()
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until(lambda: there.status()["started"] > began, "looked")
    return [
        warning["advice"] for warning in there.status()["warnings"] if warning["kind"] == "shut_out"
    ]


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
        assert any("8081/tcp" in failure for failure in there.containers.probe_ports())
        told = advice(there)
        assert len(told) >= 3
        assert there.status()["state"] == "lost"
        for command in told:
            there.host.shell(command)
        assert advice(there) == []
        there.until(
            lambda: (
                not [
                    failure
                    for failure in there.containers.probe_ports()
                    if "host-web" not in failure
                ]
            ),
            "reachable",
        )
    finally:
        there.host.shell("ufw --force reset; nft delete table inet site", check=False)
        there.host.shell("; ".join(f"{program}-restore < /tmp/{program}" for program in _SAVED))
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
        there.host.shell("; ".join(f"{program}-restore < /tmp/{program}" for program in _SAVED))
    assert advice(there) == []


def told(there: Installed, kind: str) -> list[str]:
    """What warnings of a kind the daemon tells, from its first look on."""
    advice(there)
    return [warning["what"] for warning in there.status()["warnings"] if warning["kind"] == kind]


@pytest.mark.parametrize("there", ["forky"], indirect=True)
@pytest.mark.parametrize("fault", ["rule add to", "route add blackhole"], ids=["rule", "route"])
def test_a_route_of_others_is_told(there: Installed, fault: str) -> None:
    """Routing software takes what is sent to a network's containers: lost, and told which way."""
    place = "10.88.0.0/17" + (" unreachable" if fault.startswith("rule") else "")
    there.host.shell(f"ip {fault} {place}")
    try:
        assert any("8081/tcp" in failure for failure in there.containers.probe_ports())
        (what,) = told(there, "route")
        assert what.startswith("network podman: what is sent to 10.88.0.")
        assert "goes nowhere" in what
        assert there.status()["state"] == "lost"
        assert there.written()[-1]["told"] == [what]
    finally:
        there.host.shell(f"ip {fault.replace('add', 'delete')} {place}")
    assert told(there, "route") == []
    there.until_whole()


@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_a_rule_for_one_container_is_told_of_that_one(there: Installed) -> None:
    """Whichever of its network it is; the ways of the others are open, and the advice cures."""
    address = there.host.podman(
        "inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web-b"
    ).strip()
    there.host.shell(f"ip rule add pref 100 to {address}/32 blackhole")
    try:
        there.until(lambda: there.host.client.http(8082) is None, "taken away")
        there.until(lambda: there.status()["state"] == "lost", "told")
        (warning,) = [one for one in there.status()["warnings"] if one["kind"] == "route"]
        assert f"what is sent to {address} goes nowhere" in warning["what"]
        explained = there.host.run(["podwatch", "explain"], check=False).stdout
        broken = [line for line in explained.splitlines() if "BROKEN" in line]
        assert broken
        assert all("web-b" in line for line in broken)
        there.host.shell(warning["advice"])
        there.until(lambda: there.host.client.http(8082) == "web-b", "cured")
        there.until(lambda: there.status()["state"] == "ok", "said so")
    finally:
        there.host.shell("ip rule del pref 100; ip rule del pref 1", check=False)
    there.until_whole()


_NOWHERE = "ip {0} route add unreachable default table 77; ip {0} rule add {1} lookup 77 pref 100"
_TAKEN = {
    "from a network, blackhole": "ip rule add from 10.89.20.0/24 blackhole pref 100",
    "from a network, prohibit": "ip rule add from 10.88.0.0/16 prohibit pref 100",
    "from a container, blackhole": "ip rule add from 10.89.10.3 blackhole pref 100",
    "from a bridge, another table": _NOWHERE.format("", "iif podman2"),
    "from a network, of IPv6": "ip -6 rule add from fd10:89:10::/64 blackhole pref 100",
    "to networks, blackhole": "ip rule add to 10.89.0.0/16 blackhole pref 100",
    "a route to a container": "ip route add blackhole 10.89.20.2/32",
    "an address of lo": "ip addr add 10.89.20.2/32 dev lo",
    "an address of the bridge": "ip addr add 10.89.10.3/24 dev podman1",
    "an address of IPv6": "ip addr add fd10:89:10::3/128 dev lo",
}
"""What takes packets to containers or from them, alike on every host."""

_GIVEN_BACK = (
    "ip rule del pref 100; ip rule del pref 1; ip -6 rule del pref 100; ip -6 rule del pref 1; "
    "ip route flush table 77; ip -6 route flush table 77; ip route del blackhole 10.89.20.2/32; "
    "ip addr del 10.89.20.2/32 dev lo; ip addr del 10.89.10.3/24 dev podman1; "
    "ip addr del fd10:89:10::3/128 dev lo"
)


@pytest.mark.parametrize("there", ["forky"], indirect=True)
@pytest.mark.parametrize("fault", _TAKEN.values(), ids=_TAKEN)
def test_what_takes_packets_of_containers_is_told_of_each_way(there: Installed, fault: str) -> None:
    """Of ports, ways out and names all that is closed is told, no more, and how it is cured."""
    agree(there, is_open=True, limit_s=_TOLD_S)
    there.host.shell(fault)
    try:
        agree(there, is_open=False, limit_s=_TOLD_S)
        cures = [one["advice"] for one in there.status()["warnings"] if one["kind"] == "route"]
        for cure in cures:
            there.host.shell(cure.rpartition("if nobody needs it: ")[2])
        agree(there, is_open=True, limit_s=_TOLD_S)
    finally:
        there.host.shell(_GIVEN_BACK, check=False)
    agree(there, is_open=True, limit_s=_TOLD_S)


@pytest.mark.parametrize("there", ["forky"], indirect=True)
@pytest.mark.parametrize(
    "fault",
    [
        "ip rule add from 10.89.20.0/24 lookup main pref 100",
        "ip rule add iif podman2 lookup 77 pref 100",
        "ip rule add iif podman2 lookup 77 pref 100; ip route add throw default table 77",
        "ip rule add from 198.51.100.0/24 blackhole pref 100",
    ],
    ids=["main", "an empty table", "a throw", "of others"],
)
def test_rules_that_take_nothing_are_no_news(there: Installed, fault: str) -> None:
    """Every way is open, and called so."""
    there.host.shell(fault)
    try:
        assert told(there, "route") == told(there, "detour") == []
        agree(there, is_open=True, limit_s=_TOLD_S)
    finally:
        there.host.shell(_GIVEN_BACK, check=False)


@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_a_vpn_that_takes_the_answers_is_told(there: Installed) -> None:
    """What containers answer leaves by another interface than it came: told, and not repaired."""
    there.host.shell(
        "ip link add vpn0 type veth peer name vpn1; ip link set vpn0 up; ip link set vpn1 up; "
        "ip addr add 198.51.100.1/24 dev vpn0; ip route add default dev vpn0 table 77; "
        "ip rule add from 10.88.0.0/16 lookup 77"
    )
    try:
        (what,) = told(there, "detour")
        assert "goes to vpn0" in what
        assert any("8081/tcp" in failure for failure in there.containers.probe_ports())
    finally:
        there.host.shell("ip rule delete from 10.88.0.0/16 lookup 77; ip link delete vpn0")
    assert told(there, "detour") == []
    there.until_whole()


_ADVERTISES = """
import socket, struct, sys
prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:77::")
advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
advertisement += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 1800, 1800, 0) + prefix
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as router:
    router.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    router.sendto(advertisement, ("ff02::1", 0, 0, socket.if_nametoindex(sys.argv[1])))
"""
"""A router's word for a default route and an address; the kernel fills in the checksum."""


@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_a_router_that_is_heard_no_more_is_told(there: Installed) -> None:
    """Since IPv6 is forwarded, with what has it heard again, before its default route is gone."""
    link, client = HOST_LINK, there.host.client
    accepts = f"/proc/sys/net/ipv6/conf/{link}/accept_ra"

    def is_heard() -> bool:
        client.run(["python3", "-c", _ADVERTISES, CLIENT_LINK])
        return "proto ra" in there.host.run(["ip", "-6", "route", "show", "dev", link]).stdout

    there.host.shell(f"echo 2 > {accepts}")
    try:
        there.until(is_heard, "heard")
        assert told(there, "detour") == []
        there.host.shell(f"echo 1 > {accepts}")
        (what,) = told(there, "detour")
        assert what.startswith(
            f"{link} takes no more router advertisements since IPv6 is forwarded"
        )
        (cure,) = (one["advice"] for one in there.status()["warnings"] if one["kind"] == "detour")
        there.host.shell(cure)
        assert there.host.read(accepts).strip() == "2"
        assert told(there, "detour") == []
    finally:
        there.host.shell(
            f"echo 0 > {accepts}; ip -6 addr flush dev {link} dynamic; "
            f"ip -6 route flush dev {link} proto ra; ip -6 route flush 2001:db8:77::/64"
        )
    there.until_whole()


@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_containers_that_a_chain_keeps_from_each_other(there: Installed) -> None:
    """Bridges hand their packets to iptables, which drops them: told of an internal network."""
    if (
        there.host.shell("sysctl -n net.bridge.bridge-nf-call-iptables", check=False).stdout
        != "1\n"
    ):
        pytest.skip("this kernel's bridges hand nothing to iptables")
    subnet = "10.89.30.0/24"
    there.host.podman("network", "create", "--internal", f"--subnet={subnet}", "inn")
    try:
        # Podman has firewalld trust no internal network, and it rejects what bridges hand over.
        there.host.shell(f"firewall-cmd --zone=trusted --add-source={subnet}")
        for name in ("inn-a", "inn-b"):
            address = f"--ip=10.89.30.{2 if name == 'inn-a' else 3}"
            web(there.host, name, networks=["inn"], extra=[address])
        asking = "podman exec inn-a /busybox wget -q -T 2 -O - http://10.89.30.3/"
        there.until(lambda: there.host.shell(asking, check=False).code == 0, "reachable")
        there.host.shell("iptables -P FORWARD DROP")
        assert there.host.shell(asking, check=False).code != 0
        (what,) = [
            sentence for sentence in told(there, "shut_out") if "reach each other" in sentence
        ]
        assert what.startswith("network inn")
    finally:
        there.host.shell("; ".join(f"{program}-restore < /tmp/{program}" for program in _SAVED))
        there.host.shell(
            "podman rm -f -t 0 inn-a inn-b; podman network rm inn; "
            f"firewall-cmd --zone=trusted --remove-source={subnet}"
        )
    there.until_whole()


@contextmanager
def stateless(there: Installed, kind: str) -> Iterator[None]:
    """Two containers on a network of which netavark keeps no state; firewalld knows none of it."""
    of_kind = {
        "internal": ["--internal"],
        "unmanaged": [
            *("--opt=mode=unmanaged", "--opt=no_default_route=1"),
            *("--interface-name=brx", "--gateway=10.89.31.1"),
        ],
    }
    there.host.podman("network", "create", *of_kind[kind], "--subnet=10.89.31.0/24", "inn")
    try:
        others = []
        if kind == "unmanaged":  # whose way out is not Podman's
            others = ["podman"]
            there.host.shell(
                "ip link add brx type bridge; ip addr add 10.89.31.1/24 dev brx; ip link set brx up"
            )
        for name, last in (("inn-a", 2), ("inn-b", 3)):
            web(there.host, name, networks=[*others, f"inn:ip=10.89.31.{last}"])
        yield
    finally:
        there.host.shell(
            "podman rm -f -t 0 inn-a inn-b; podman network rm inn; ip link del brx; "
            "firewall-cmd --permanent --zone=trusted --remove-source=10.89.31.0/24; "
            'for rule in "$(firewall-cmd --permanent --zone=public --list-rich-rules)"; do '
            'firewall-cmd --permanent --zone=public --remove-rich-rule="$rule"; done; '
            "firewall-cmd --reload",
            check=False,
        )


def cures(there: Installed) -> list[tuple[str, str]]:
    """What the status now tells of networks that are shut out, and the advice."""
    warnings = there.status()["warnings"]
    return [(one["what"], one["advice"]) for one in warnings if one["kind"] == "shut_out"]


@pytest.mark.parametrize("kind", ["internal", "unmanaged"])
@pytest.mark.parametrize("bridged", ["1", "0"])
@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_a_network_of_which_firewalld_lets_nothing_in(
    there: Installed, bridged: str, kind: str
) -> None:
    """Its zone rejects questions for names, and what bridges hand over: told, and cured as told."""
    setting = "net.bridge.bridge-nf-call-iptables"
    before = there.host.shell(f"sysctl -n {setting}", check=False).stdout.strip()
    if before != "1":
        pytest.skip("this kernel's bridges hand nothing to iptables")
    there.host.shell(f"sysctl -q -w {setting}={bridged}")
    assert told(there, "shut_out") == [], "what other tests had dropped is over"

    def answers(what: str) -> bool:
        asking = f"podman exec inn-a /busybox timeout 2 /busybox {what}"
        return there.host.shell(asking, check=False).code == 0

    names, page = "nslookup -type=a inn-b", "wget -q -O - http://10.89.31.3/"
    try:
        with stateless(there, kind):
            asks = "which rejects what its containers ask aardvark-dns"
            asks += " and send each other" if bridged == "1" else ""
            there.until(lambda: [what.endswith(asks) for what, _ in cures(there)] == [True], "told")
            assert (answers(names), answers(page)) == (False, bridged == "0")
            assert there.status()["state"] == "lost"
            explained = there.host.run(["podwatch", "explain", "inn-a"], check=False)
            assert explained.code == 2
            assert explained.stdout.count("BROKEN") == 1 + int(bridged)
            agree(there, is_open=False)
            ((_, cure),) = cures(there)
            there.host.shell(cure)
            there.until(lambda: answers(names) and answers(page), "cured")
            there.until(lambda: there.status()["state"] == "ok", "said so")
            agree(there, is_open=True)
    finally:
        there.host.shell(f"sysctl -q -w {setting}={before}")
    there.until_whole()


@pytest.mark.parametrize("kind", ["internal", "unmanaged"])
@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_dropped_questions_of_a_network_without_state(there: Installed, kind: str) -> None:
    """Who asks and is not let in is told of, and what is advised makes all of them hear answers."""
    drops = (
        "type filter hook input priority -10; policy drop; iifname lo accept; "
        "ct state established,related accept; icmpv6 type nd-neighbor-solicit accept; "
        "icmpv6 type nd-neighbor-advert accept; tcp dport 22 accept; "
        "ip saddr 10.89.20.0/24 udp dport 53 accept;"
    )
    assert advice(there) == [], "what other tests had dropped is over"
    try:
        with stateless(there, kind):
            there.host.shell("firewall-cmd --zone=trusted --add-source=10.89.31.0/24")
            agree(there, is_open=True)
            there.host.shell(f"nft 'table inet site {{ chain incoming {{ {drops} }}; }}'")
            advice(there)
            who = "network inn "  # podman says who is on it, after the first look
            there.until(lambda: any(what.startswith(who) for what, _ in cures(there)), "told")
            agree(there, is_open=False)
            assert not any(what.startswith("network isolated") for what, _ in cures(there))
            for _, cure in cures(there):
                there.host.shell(cure)
            assert advice(there) == []
            agree(there, is_open=True)
    finally:
        there.host.shell("nft delete table inet site", check=False)
    there.until_whole()


@pytest.mark.parametrize("there", ["forky"], indirect=True)
def test_a_source_in_a_zone_that_rejects(there: Installed) -> None:
    """The ways out of its network end there, and its names; the loss is told once, with a cure."""
    subnets = ("10.89.10.0/24", "fd10:89:10::/64")
    assert advice(there) == [], "what other tests had dropped is over"
    try:
        for subnet in subnets:
            there.host.shell(f"firewall-cmd --zone=block --change-source={subnet}")
        agree(there, is_open=False)
        assert len(told(there, "foreign_zone")) == 2
        assert cures(there) == []
        explained = there.host.run(["podwatch", "explain", "dual-web"], check=False).stdout
        assert any("names" in line and "BROKEN" in line for line in explained.splitlines())
    finally:
        for subnet in subnets:
            there.host.shell(f"firewall-cmd --zone=trusted --change-source={subnet}")
    agree(there, is_open=True)
