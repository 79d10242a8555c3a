# SPDX-License-Identifier: Apache-2.0
"""Broken on purpose. Each test is one row: what is broken, and, in its docstring, what is promised.

Beside its own promise each row holds podwatch to the same two: while it lasts, what still worked
goes on working; and when it ends, every port answers and every rule is verified, by itself.
"""

import subprocess
import time

import pytest

from tests.e2e.installed import Installed
from tests.lab.faults import PODMANS, podman_is

pytestmark = [
    pytest.mark.e2e,
    # What is broken are podwatch's surroundings, the same everywhere.
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
    pytest.mark.usefixtures("whole_afterwards"),
]

MAX_RSS_KB = 40 * 1024
_RELOAD_ONLY = '[restore]\nmethods = ["reload"]\nquiet = 0\nlimit = 1000\nbackoff = "200ms"\n'


def _failed(there: Installed) -> int:
    return int(there.status()["counters"]["failed"])


def _since(there: Installed, cursor: str) -> str:
    return there.host.journal("podwatch", since_cursor=cursor)


# podman and systemd


def test_podman_is_broken(there: Installed) -> None:
    """However podman fails, a lost table comes back at once: the saved copy needs no podman."""
    before = there.reloads()
    for script in PODMANS.values():
        with podman_is(there.host, script):
            there.lose_the_table()
            there.until(lambda: not there.containers.probe_ports(), "healed without podman", 5)

    assert there.reloads() == before


@pytest.mark.parametrize("how", ["exits 125", "dies of a signal", "prints garbage"])
def test_podman_is_broken_and_needed(there: Installed, how: str) -> None:
    """Without a copy: told as failed, tried at growing intervals; the rules that are left stay."""
    with there.configured(_RELOAD_ONLY):
        with podman_is(there.host, PODMANS[how]):
            failed, before = _failed(there), there.reloads()
            there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            there.until(lambda: _failed(there) >= failed + 2, "tried twice", 40)
            assert there.reloads() - before <= 3 * len(there.containers.containers)
            assert "dnat ip to" in there.host.nft("list", "table", "inet", "netavark")
        there.until_whole(40)


def test_systemd_refuses(there: Installed) -> None:
    """systemd will not start the unit: its word is told, and when it starts it again all heals."""
    unit = "podwatch-reload@.service"
    cursor = there.host.journal_cursor()
    with there.configured(_RELOAD_ONLY + 'backoff_max = "2s"\n'):
        there.host.run(["systemctl", "mask", "--runtime", unit])
        try:
            there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            there.until(lambda: "masked" in _since(there, cursor), "told that it is masked", 30)
        finally:
            there.host.run(["systemctl", "unmask", "--runtime", unit])
        there.until_whole(40)


def test_the_bus_is_killed_under_load(there: Installed) -> None:
    """The bus dies again and again, the table is lost again and again: one and the same pid."""
    pid = there.main_pid()
    there.host.shell(
        """
        for _ in 1 2 3 4 5; do
            nft delete table inet netavark || true
            systemctl kill --signal=KILL dbus
            nft delete table inet netavark || true
            sleep 0.3
        done
        """,
        check=False,
    )
    there.until_whole(60)
    there.until(lambda: there.status()["watchers"]["firewalld"] == "connected", "connected", 60)
    there.lose_the_table()
    there.until_whole(20)

    assert there.main_pid() == pid


def test_firewalld_hangs(there: Installed) -> None:
    """firewalld answers nobody while all is flushed: Podman's rules are back all the same."""
    there.host.run(["systemctl", "restart", "firewalld"])  # the bus may have taken it along
    there.until_whole()
    before = there.incidents()
    there.host.run(["systemctl", "kill", "--signal=STOP", "firewalld"])
    try:
        hung = there.host.run("timeout 3 firewall-cmd --state", check=False)
        there.host.nft("flush", "ruleset")
        there.until(lambda: not there.containers.probe_ports(), "healed", 15)
        there.until(lambda: there.incidents() > before, "told")
    finally:
        there.host.run(["systemctl", "kill", "--signal=CONT", "firewalld"])

    assert hung.code == 124  # timeout(1)'s
    assert there.host.run(["firewall-cmd", "--state"]).code == 0


def test_rules_that_are_there_twice(there: Installed) -> None:
    """What netavark's unit doubles at firewalld's reloads is put right without a gap, if wanted."""

    def twice() -> bool:
        return any(warning["kind"] == "duplicates" for warning in there.status()["warnings"])

    with there.configured("[restore]\nduplicates = false\n"):
        for _ in range(8):
            there.host.run(["firewall-cmd", "--reload"])
        there.until(lambda: twice() and not there.containers.probe_all(), "twice", 30)
        time.sleep(5)  # the length of the observation: it would be put right after 3 s of calm
        assert twice()
        with there.host.client.watch([8081]) as watch, there.configured(""):
            there.until(lambda: not twice(), "put right", 30)

    assert watch.failures == 0


# The kernel's news


_STORM = """
import sys
batch = "".join(f"add rule inet storm c tcp dport {n % 60000 + 1} accept\\n" for n in range(50000))
print("add table inet storm\\nadd chain inet storm c\\n" + batch + "flush chain inet storm c")
"""


def _storm(there: Installed) -> None:
    there.host.shell(f"python3 -c '{_STORM}' > /run/storm.nft")


def test_more_news_than_can_be_read(there: Installed) -> None:
    """Frozen, as by a suspend, while 200,000 rules change and the table goes: found afterwards."""
    _storm(there)
    pid = there.main_pid()
    there.host.run(["kill", "-STOP", pid])
    try:
        there.host.shell("nft -f /run/storm.nft; nft -f /run/storm.nft", timeout=120)
        there.lose_the_table()
    finally:
        there.host.run(["kill", "-CONT", pid])
    there.until(lambda: not there.containers.probe_ports(), "healed", 10)
    there.host.nft("delete", "table", "inet", "storm")

    assert "too slow for the kernel" in there.status()["watchers"]["nftables"]
    assert there.main_pid() == pid


def test_a_storm(there: Installed) -> None:
    """Another program changes rules as fast as it can: a table lost meanwhile is back."""
    _storm(there)
    script = "while [ -e /run/storm.nft ]; do nft -f /run/storm.nft && echo blown; done"
    blowing = there.host.popen(["sh", "-c", script], stdout=subprocess.PIPE)
    try:
        for _ in range(3):
            there.lose_the_table()
            there.until(lambda: not there.containers.probe_ports(), "healed in the storm", 5)
    finally:
        there.host.run(["rm", "/run/storm.nft"])
        blown = blowing.communicate(timeout=60)[0].count("blown")
    there.host.nft("delete", "table", "inet", "storm")

    assert blown >= 1  # which are 100,000 changes, while a table was lost
    assert there.rss_kb() <= MAX_RSS_KB


def test_many_rules_and_sets_of_others(there: Installed) -> None:
    """Beside 10,000 rules and 1,000 sets of others a repair takes no four times as long."""

    def took_ms() -> int:
        found = []
        for _ in range(3):  # others test beside it: the shortest counts
            before = there.incidents()
            there.lose_the_table()
            there.until(lambda: there.incidents() > before, "noticed")  # noqa: B023 (waited for)
            there.until_whole(20)
            incident = there.status()["last_incident"]
            assert incident["verified"]
            found.append(int(incident["took_ms"]))
        return min(found)

    alone = took_ms()
    there.host.shell(
        """
        python3 - > /run/others.nft <<'end'
print("table inet others {")
for n in range(1000):
    print(f"set s{n} {{ type ipv4_addr; elements = {{ 198.51.{n // 250}.{n % 250 + 1} }} }}")
print("chain c {")
for n in range(10000):
    print(f"ip saddr @s{n % 1000} tcp dport {n + 1} accept")
print("}")
print("}")
end
        nft -f /run/others.nft
        """,
        timeout=120,
    )
    try:
        beside = took_ms()
        rss = there.rss_kb()
    finally:
        there.host.nft("delete", "table", "inet", "others")

    assert beside <= 4 * alone, (beside, alone)
    assert rss <= MAX_RSS_KB
