# SPDX-License-Identifier: Apache-2.0
"""Hosts whose rules are iptables': netavark 1.4 and CNI on Debian 12, netavark 1.14."""

import re
from collections.abc import Iterator

import pytest

from tests.e2e.installed import LOSSES_AT_ONCE, Installed, installed
from tests.e2e.ways import Breakage, compare, explained, first_broken
from tests.lab.faults import IPTABLES, PODMANS, Fault, podman_is
from tests.lab.rootfs import containers_conf

pytestmark = pytest.mark.e2e

HOSTS = ("bookworm-netavark", "bookworm-cni", "trixie-iptables")
_COUNTERS = re.compile(r" \[\d+:\d+\]$")

FAMILIES = {"ip": "iptables", "ip6": "ip6tables"}


@pytest.fixture(scope="module", params=HOSTS)
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """A host whose Podman puts its rules into iptables, with podwatch installed."""
    suite, _, kind = str(request.param).partition("-")
    conf = containers_conf(suite, network_backend="cni" if kind == "cni" else None)
    if kind == "netavark":  # 1.4 keeps no state, which would tell the port
        conf += "[network]\ndns_bind_port = 1053\n"
    if kind == "iptables":
        conf += '[network]\nfirewall_driver = "iptables"\n'
    with installed(suite, containers_conf=conf) as host:
        yield host


def rules(there: Installed) -> list[tuple[str, str, str]]:
    """(command, table, line) of both families and tables, without the counters."""
    found = []
    for command in FAMILIES.values():
        table = ""
        for line in there.host.run([f"{command}-save"]).stdout.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif table in ("filter", "nat") and line.startswith((":", "-A")):
                found.append((command, table, _COUNTERS.sub("", line)))
    return sorted(found, key=lambda rule: rule[:2])  # within its table each keeps its place


def of_podman(lines: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Those that are netavark's or CNI's."""
    return [rule for rule in lines if "NETAVARK" in rule[2] or "CNI-" in rule[2]]


@pytest.mark.parametrize("fault", IPTABLES, ids=str)
def test_every_fault_is_healed(there: Installed, fault: Fault) -> None:
    """After any fault all containers are reachable and get out, and the rules are as before.

    In any order that is right, as `check` says: netavark's own unit may be at it as well.
    """
    before = sorted(of_podman(rules(there)))
    assert len(before) > 60

    fault.strike(there.host)

    there.until_whole(8)
    assert sorted(of_podman(rules(there))) == before


def test_each_rule_comes_back(there: Installed) -> None:
    """Deleting any one rule names one thing, and the tables read as before, others' rules too."""
    there.host.shell(
        "iptables -A FORWARD -s 203.0.113.1 -j DROP; iptables -I FORWARD -s 203.0.113.2 -j DROP;"
        "iptables -t nat -A POSTROUTING -s 203.0.113.3 -j RETURN; iptables -N theirs;"
        "ip6tables -t nat -I POSTROUTING 2 -s 2001:db8::1 -j RETURN"
    )
    there.until(lambda: there.status()["state"] == "ok", "ok", 8)
    whole = rules(there)
    ours = [rule for rule in of_podman(whole) if rule[2].startswith("-A")]
    assert len(ours) > 50
    redirect = "--dport 53 -j DNAT --to-destination 10.89.10.1:1053"
    assert any(redirect in rule[2] for rule in ours) == (
        "dns_bind_port" in there.host.read("/etc/containers/containers.conf")
    )
    for at, (command, table, line) in enumerate(ours):
        if at % LOSSES_AT_ONCE == 0:
            there.start_anew()
        before = there.incidents()
        there.host.shell(f"{command} -t {table} -D {line.removeprefix('-A ')}")
        there.until(lambda: rules(there) == whole, f"as before: {line}", 8)
        there.until(lambda: there.incidents() == before + 1, f"told: {line}", 8)  # noqa: B023
        there.until(lambda: there.status()["state"] == "ok", "ok", 8)
        missing = there.status()["last_incident"]["missing"]
        assert len(missing) == 1, (line, missing)
    there.start_anew()
    there.until_whole(8)


def test_no_container_was_touched(there: Installed) -> None:
    """The saved copy healed all of it: no network was reloaded."""
    assert there.reloads() == 0


def test_direct_rules_are_survived(there: Installed) -> None:
    """firewalld's first direct rule wipes iptables without a signal; reloads with it wipe again."""
    before = sorted(of_podman(rules(there)))
    rule = "ipv4 filter INPUT 0 -s 203.0.113.9 -j DROP"
    for verb in ("--add-rule", "--remove-rule"):
        there.host.shell(f"firewall-cmd --direct {verb} {rule}")
        there.until_whole(8)
        assert sorted(of_podman(rules(there))) == before
    there.host.shell(f"firewall-cmd --permanent --direct --add-rule {rule}")
    for _ in range(2):
        there.host.shell("firewall-cmd --reload")
        there.until_whole(8)
        assert sorted(of_podman(rules(there))) == before
    there.host.shell(f"firewall-cmd --permanent --direct --remove-rule {rule}")
    assert there.reloads() == 0  # though firewalld goes on wiping while podwatch puts back


def test_a_container_that_stops_is_not_restored(there: Installed) -> None:
    """Stopping and starting containers is no loss, and the rules follow the containers."""
    before = there.incidents()
    whole = sorted(of_podman(rules(there)))
    there.host.podman("stop", "--time=0", "web-a")
    there.until(lambda: "8081" not in str(rules(there)), "without web-a")
    there.until(lambda: "web-a" not in str(there.status()["containers"]), "known as stopped")
    assert "8081" not in str(rules(there))
    there.host.podman("start", "web-a")
    there.until(lambda: "web-a" in str(there.status()["containers"]), "known as started")
    there.until_whole()
    assert len(of_podman(rules(there))) == len(whole)
    assert there.incidents() == before


@pytest.mark.parametrize("there", ["bookworm-netavark"], indirect=True)
def test_podman_is_broken(there: Installed) -> None:
    """Where podman alone knows the containers: what it said last heals; unheard nothing is done."""
    before, reloads = of_podman(rules(there)), there.reloads()
    for script in PODMANS.values():
        with podman_is(there.host, script):
            there.host.shell("iptables -F; iptables -t nat -F")
            there.until(lambda: of_podman(rules(there)) == before, "healed without podman", 8)
    with podman_is(there.host, PODMANS["exits 125"]):
        there.host.run(["systemctl", "restart", "podwatch"])
        there.until(lambda: there.status()["state"] == "unknown", "unknown", 30)
        there.host.shell("iptables -t nat -F")
        flushed = of_podman(rules(there))
        looks = there.status()["counters"]["looks"]
        there.until(lambda: there.status()["counters"]["looks"] > looks + 1, "looked", 30)
        assert of_podman(rules(there)) == flushed
    there.until_whole(40)

    assert of_podman(rules(there)) == before
    assert there.reloads() == reloads


def test_a_flushed_ruleset_is_restored_and_the_rest_reported(there: Installed) -> None:
    """Podman's part comes back; that firewalld's table is gone is a warning where it is so."""
    before = of_podman(rules(there))
    there.host.nft("flush", "ruleset")
    there.until(lambda: of_podman(rules(there)) == before, "restored", 8)
    there.until(lambda: not there.containers.probe_all(), "reachable", 8)
    if there.host.suite == "bookworm":  # firewalld 1.3 does not own its table
        there.until(lambda: there.status()["state"] == "degraded", "degraded", 8)
        assert "its table is not in the kernel" in str(there.status()["warnings"])
        there.host.run(["systemctl", "restart", "firewalld"])
    there.until_whole(8)


def test_the_reload_command_alone_heals_too(there: Installed) -> None:
    """Without the copy `podman network reload` brings the rules of both families back."""
    with there.configured('[restore]\nmethods = ["reload"]\nbackoff = "200ms"\n'):
        there.host.shell("iptables -F; iptables -t nat -F; ip6tables -t nat -F")
        there.until_whole(20)
        there.until(lambda: not there.status()["restoring"], "done with every container", 20)
    assert there.reloads() > 0


BREAKAGES = (
    Breakage(
        "port forward",
        "iptables-save -t nat | grep -- '--dport 8081 .*-j DNAT' | sed 's/^-A/iptables -t nat -D/' "
        "| sh -e",
    ),
    Breakage(
        "masquerade",
        "iptables-save -t nat | grep 'POSTROUTING -s 10.88' | sed 's/^-A/iptables -t nat -D/' "
        "| sh -e",
        kind="out",
    ),
    Breakage(
        "firewalld zone",
        "firewall-cmd --zone=trusted --list-sources | tr ' ' '\\n' | grep '^10.88' | "
        "xargs -n 1 -I @ firewall-cmd --zone=trusted --remove-source=@",
        kind="out",
    ),
    Breakage(
        "forwarding",
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
    ),
    Breakage("other firewalls", "iptables -P FORWARD DROP", "iptables -P FORWARD ACCEPT"),
    Breakage(
        "bridge",
        "ip link set $(ls /sys/class/net | grep podman0) down",
        "ip link set $(ls /sys/class/net | grep podman0) up",
    ),
)


def test_a_healthy_host_is_explained(there: Installed) -> None:
    """Every way is called open, with the very rule, and does work."""
    there.until_whole(8)
    ways = explained(there)

    assert {way["mark"] for way in ways} == {"open"}
    assert {way["kind"] for way in ways} >= {"in", "out", "isolation", "neighbours"}
    told = str([way["hops"] for way in ways])
    assert "-j DNAT --to-destination" in told
    assert "-j MASQUERADE" in told
    compare(there, ways)


@pytest.mark.parametrize("there", HOSTS[:2], indirect=True, scope="module")
@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_explain_names_what_is_broken(there: Installed, breakage: Breakage) -> None:
    """During a pause the broken hop is the first that explain calls so; web-a is as it is told."""
    there.host.run(["podwatch", "pause", "--for", "5m"])
    there.host.shell(breakage.breaks)
    try:
        ways = explained(there)
        first = first_broken(ways, breakage.kind)
        assert breakage.hop in [hop["place"] for hop in first], ways
        assert all(hop["advice"] for hop in first)
        compare(there, [way for way in ways if way["container"] == "web-a"])
    finally:
        there.host.shell(breakage.mends or "true")
        there.host.run(["podwatch", "resume"])
    there.until(lambda: there.status()["state"] == "ok", "mended", 8)


@pytest.mark.parametrize("there", HOSTS[1:2], indirect=True, scope="module")
def test_a_pause_holds_from_its_first_moment(there: Installed) -> None:
    """A look that began before `podwatch pause`, and waits for firewalld, repairs nothing."""
    there.host.run(["systemctl", "kill", "--signal=STOP", "firewalld"])
    try:
        there.host.run(["iptables", "-N", "SITE"])  # and podwatch looks
        there.host.run(["podwatch", "pause", "--for", "5m"])
        there.host.shell("echo 0 >/proc/sys/net/ipv4/ip_forward")
        there.host.run(["systemctl", "kill", "--signal=CONT", "firewalld"])
        there.until(lambda: "ip_forward is 0" in str(there.status()["missing"]), "seen", 5)
        assert there.host.read("/proc/sys/net/ipv4/ip_forward") == "0\n"
    finally:
        there.host.run(["systemctl", "kill", "--signal=CONT", "firewalld"])
        there.host.run(["iptables", "-X", "SITE"])
        there.host.run(["podwatch", "resume"])
    there.until(lambda: there.status()["state"] == "ok", "mended", 8)


@pytest.mark.parametrize("there", ["bookworm-netavark"], indirect=True)
def test_a_reload_touches_no_neighbour(there: Installed) -> None:
    """One container is reloaded three times: its bridge keeps its MAC, the others lose nothing."""
    bridge = next(
        network["bridge"] for network in there.status()["networks"] if network["name"] == "podman"
    )
    mac = f"/sys/class/net/{bridge}/address"
    before = there.host.read(mac)
    line = next(
        rule.removeprefix("-A ")
        for command, table, rule in rules(there)
        if (command, table) == ("iptables", "nat") and "--dport 8082 " in rule
    )
    with there.configured('[restore]\nmethods = ["reload"]\nquiet = 0\nbackoff = "100ms"\n'):
        with there.host.client.watch([8081]) as calm:
            there.host.podman("exec", "web-b", "/busybox", "true")
        for _ in range(3):
            reloads = there.reloads()
            with there.host.client.watch([8081]) as watch:
                there.host.shell(f"iptables -t nat -D {line}")
                there.until(lambda: there.reloads() == reloads + 1, "reloaded")  # noqa: B023
                there.until_whole()
            (seen,), (at_rest,) = watch.reports.values(), calm.reports.values()
            assert there.host.read(mac) == before
            assert seen.failures <= at_rest.failures, seen
