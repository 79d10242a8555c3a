# SPDX-License-Identifier: Apache-2.0
"""The guard as its administrator sees it: what it holds, what it carries, how to be rid of it."""

from tests.e2e.installed import CONFIG, Installed, on_one_suite

FULL = 'restore.guard = "full"\n'


def tables(there: Installed) -> list[str]:
    """The guards in the kernel, by name."""
    listed = there.host.nft("list", "tables").split()
    return [name for name in listed if name.startswith("podwatch-guard-")]


@on_one_suite
def test_an_anchor_is_there_unless_it_is_switched_off(there: Installed) -> None:
    """By default, owned, and named by the status; a pause and a refused configuration end it."""
    assert [there.status()["guard"]["table"]] == tables(there)
    assert there.status()["guard"]["mode"] == "anchor"
    there.host.run(["podwatch", "pause", "--for", "10m"])
    there.until(lambda: not tables(there), "without a guard in a pause")
    assert there.status()["guard"]["why"].startswith("paused")
    there.host.run(["podwatch", "resume"])
    there.until(lambda: bool(tables(there)), "with a guard after the pause")
    with there.configured('restore.guard = "perhaps"\n'):
        there.until(lambda: not tables(there), "without a guard while the file is wrong")
        there.host.write(CONFIG, 'restore.guard = "off"\n')
        there.host.run(["systemctl", "reload", "podwatch"])
        there.until(
            lambda: there.status()["guard"]["why"] == "switched off (restore.guard)",
            "without a guard that is switched off",
        )
        assert tables(there) == []
    there.until(lambda: bool(tables(there)), "with a guard again")
    there.host.run(["systemctl", "stop", "podwatch"])
    assert tables(there) == []
    there.host.run(["systemctl", "start", "podwatch"])
    there.until(lambda: bool(tables(there)), "with a guard after a start")


@on_one_suite
def test_what_the_guard_carries_is_told(there: Installed) -> None:
    """While podwatch does nothing at all: every way is open, explain names it, history counts."""
    with there.configured(FULL):
        there.until(lambda: there.status()["guard"]["mode"] == "full", "guarded in full")
        guard = there.status()["guard"]
        line = f"guard: holds {guard['ports']} ports of {guard['containers']} containers"
        assert line in there.host.run(["podwatch", "status"]).stdout
        before = guard["carried"]
        pid = there.main_pid()
        there.host.run(["kill", "-STOP", pid])
        try:
            there.lose_the_table()
            assert there.containers.probe_all() == []
            told = there.host.run(["podwatch", "explain"], check=False).stdout
            assert "guard           carries new connections meanwhile (table inet " in told
            assert "guard           masquerades new connections meanwhile (table inet " in told
        finally:
            there.host.run(["kill", "-CONT", pid])
        there.until_whole()
        there.until(lambda: there.status()["guard"]["carried"] > before, "counted")
        assert there.history()[-1]["carried"] > 0
        assert "carried by the guard meanwhile" in there.host.run(["podwatch", "history"]).stdout
        assert "carried by the guard meanwhile" in there.host.journal("podwatch")


@on_one_suite
def test_a_full_guard_stands_back_behind_a_rule_of_the_administrator_s(there: Installed) -> None:
    """What is not to be masqueraded, as for a VPN, is not: it is an anchor, and says why."""
    with there.configured(FULL):
        there.until(lambda: there.status()["guard"]["mode"] == "full", "guarded in full")
        rule = "ip saddr 10.88.0.0/16 ip daddr 192.0.2.2 accept"
        there.host.nft("insert", "rule", "inet", "netavark", "POSTROUTING", rule)
        there.until(lambda: there.status()["guard"]["mode"] == "anchor", "an anchor")
        assert f"“{rule}” stands before netavark's rules" in there.status()["guard"]["why"]
        there.lose_the_table()
        there.until_whole()
        there.until(lambda: there.status()["guard"]["mode"] == "full", "guarded in full again")


@on_one_suite
def test_a_file_that_a_drop_in_has_loaded_is_known(there: Installed) -> None:
    """A ruleset saved there with the guard in it loads, and the status names the file."""
    drop_in, file = "/etc/systemd/system/nftables.service.d/own.conf", "/etc/all.nft"
    before = there.status()["guard"]["table"]
    exec_start = f"[Service]\nExecStart=\nExecStart=/usr/sbin/nft -f {file}\n"
    there.host.run(["mkdir", "-p", "/etc/systemd/system/nftables.service.d"])
    there.host.write(drop_in, exec_start)
    try:
        there.host.run(["systemctl", "daemon-reload"])
        there.host.nft("add", "table", "inet", "admins")
        saved = f"nft list table inet admins; nft list table inet {before}"
        there.host.shell(f"(echo flush ruleset; {saved}) > {file}")
        there.until(lambda: there.status()["guard"]["saved"] == file, "aware of the copy")
        assert there.status()["guard"]["table"] not in ("", before)
        there.host.run(["systemctl", "restart", "nftables"])
        assert "table inet admins" in there.host.nft("list", "tables")
        assert tables(there) == [there.status()["guard"]["table"]]
    finally:
        there.host.run(["rm", "-f", drop_in, file])
        there.host.run(["systemctl", "daemon-reload"])
    there.until_whole()
