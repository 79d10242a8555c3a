# SPDX-License-Identifier: Apache-2.0
"""The daemon itself: killed, started late, fought, fed with bad input, and without systemd."""

import json
import subprocess
import time

import pytest

from tests.e2e.installed import CONFIG, STATUS, Installed, on_one_suite

pytestmark = pytest.mark.e2e

_PORTS = "/run/containers/networks/firewall/ports"


@on_one_suite
def test_killed(there: Installed) -> None:
    """SIGKILL at any time: systemd starts podwatch again, and what was lost meanwhile heals."""
    for pause in (0.0, 0.01, 0.03, 0.1):
        pid = there.main_pid()
        there.host.nft("delete", "table", "inet", "netavark")
        time.sleep(pause)  # the moment of the kill is what varies
        there.host.run(["kill", "-KILL", pid])
        there.until_another(pid)
        there.until_whole()


def test_the_copy_outlives_podwatch(there: Installed) -> None:
    """Restarted between the verified look and the loss, podwatch still needs no reload."""
    before = there.reloads()
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.nft("delete", "table", "inet", "netavark")
    there.host.run(["systemctl", "start", "podwatch"])
    there.until_whole()

    assert there.reloads() == before


def test_a_start_ends_with_a_status(there: Installed) -> None:
    """Started in a pause, with the table gone: whoever asks next is told by this very process."""
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.shell("nft delete table inet netavark; podwatch pause --for 5m")
    told = there.host.shell("systemctl start podwatch; podwatch status", check=False)

    try:
        assert told.code == 2, told.stdout
        assert str(there.status()["pid"]) == there.main_pid()
    finally:
        there.host.run(["podwatch", "resume"])
    there.until_whole()


@on_one_suite
@pytest.mark.parametrize("text", ["", "{", '{"version": 99}', '{"version": 1, "driver": "x"}'])
def test_a_damaged_copy_is_ignored(there: Installed, text: str) -> None:
    """A copy that is torn or of another version is ignored, and the reload command heals."""
    before, cursor = there.reloads(), there.host.journal_cursor()
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.write("/run/podwatch/rules.json", text)
    there.host.nft("delete", "table", "inet", "netavark")
    there.host.run(["systemctl", "start", "podwatch"])
    there.until_whole(20)

    assert there.reloads() > before
    assert "ignoring the saved rules" in there.host.journal("podwatch", since_cursor=cursor)


def test_the_bus_restarted(there: Installed) -> None:
    """After a restart of dbus podwatch is connected again, and a lost source comes back."""
    pid = there.main_pid()
    there.host.shell("systemctl restart dbus; systemctl restart firewalld", timeout=60)
    there.until(lambda: there.status()["watchers"].get("firewalld") == "connected", "connected", 40)
    there.host.run(["firewall-cmd", "--reload"])
    there.until_whole(20)

    assert there.main_pid() == pid


@on_one_suite
def test_a_fight_is_bounded(there: Installed) -> None:
    """Somebody who flushes for 30 s costs a bounded number of repairs; then all heals."""
    before, restored = there.reloads(), there.status()["counters"]["restored"]
    cursor = there.host.journal_cursor()
    running = there.host.shell(
        "end=$(($(date +%s) + 30)); while [ $(date +%s) -lt $end ]; do nft flush ruleset; "
        "sleep 0.2; pgrep -xc podman || true; done",
        timeout=60,
    ).stdout.split()
    there.until_whole(30)

    # The copy serves at once, then at growing intervals; a round of reloads is left to chance.
    assert there.reloads() - before <= len(there.containers.containers)
    assert 1 <= there.status()["counters"]["restored"] - restored <= 60
    assert max(map(int, running)) <= 4
    told = there.host.journal("podwatch", since_cursor=cursor)
    assert "nft keeps removing the rules" in told


@on_one_suite
@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[look]\nintervall = 5\n", "look.intervall"),
        ('[restore]\nquiet = "soon"\n', "restore.quiet"),
        ("[restore]\nenabled = 1\n", "restore.enabled"),
        ("[nonsense]\n", "[nonsense]"),
        ("= broken", "not TOML"),
    ],
)
def test_a_bad_configuration_is_refused(there: Installed, text: str, named: str) -> None:
    """A bad file is named with its setting, and the configuration in effect stays."""
    pid = there.main_pid()
    cursor = there.host.journal_cursor()
    with there.configured(text):
        there.until(
            lambda: named in there.host.journal("podwatch", since_cursor=cursor), f"told: {named}"
        )
        assert CONFIG in there.host.journal("podwatch", since_cursor=cursor)
        told = there.host.run(["podwatch", "status"], check=False)
        assert (told.code, "the configuration is refused" in told.stdout) == (1, True)
        check = there.check()
        assert (check.code, check.stdout.startswith("PODWATCH UNKNOWN - ")) == (3, True)
    there.until_whole()

    assert there.main_pid() == pid


@on_one_suite
def test_a_bad_configuration_at_the_start(there: Installed) -> None:
    """A start with a file that is refused fails once, naming it, and is not tried again."""
    cursor = there.host.journal_cursor()
    there.host.write(CONFIG, "= broken")
    there.host.run(["systemctl", "restart", "podwatch"], check=False)
    shown = there.host.unit_show("podwatch", "ActiveState", "NRestarts", "ExecMainStatus")
    told = there.host.journal("podwatch", since_cursor=cursor)
    status = there.host.run(["podwatch", "status"], check=False).stdout
    there.host.run(["rm", CONFIG])
    there.host.run(["systemctl", "start", "podwatch"])
    there.until_whole()

    assert f"the configuration is refused: {CONFIG}" in status
    assert shown == {"ActiveState": "failed", "NRestarts": "0", "ExecMainStatus": "64"}
    assert CONFIG in told


@on_one_suite
def test_an_unreadable_directory_is_unknown(there: Installed) -> None:
    """Where podwatch may not read netavark's state, that is told, and nothing is repaired."""
    before, rules = there.incidents(), there.host.nft("list", "table", "inet", "netavark")
    mode = there.host.run(["stat", "--format=%a", _PORTS]).stdout.strip()
    there.host.run(["chmod", "000", _PORTS])
    try:
        there.host.shell("nft add chain inet netavark x; nft delete chain inet netavark x")
        there.until(lambda: there.status()["state"] == "unknown", "unknown")
        unknown = there.status()["unknown"]
    finally:
        there.host.run(["chmod", mode, _PORTS])
    there.until(lambda: there.status()["state"] == "ok", "ok again", 30)

    assert any(_PORTS in f"{part['what']} {part['why']}" for part in unknown), unknown
    assert (there.incidents(), there.host.nft("list", "table", "inet", "netavark")) == (
        before,
        rules,
    )


@on_one_suite
def test_a_corrupt_state_file_is_one_unknown(there: Installed) -> None:
    """A state file that makes no sense makes its container unknown and nobody lost."""
    before = there.incidents()
    name = there.host.shell(f"ls {_PORTS} | head -n 1").stdout.strip()
    text = there.host.read(f"{_PORTS}/{name}")
    there.host.write(f"{_PORTS}/{name}", text[: len(text) // 2])
    try:
        told = json.loads(there.host.run(["podwatch", "check", "--json"], check=False).stdout)
    finally:
        there.host.write(f"{_PORTS}/{name}", text)
    there.until(lambda: there.status()["state"] == "ok", "ok", 30)

    assert told["state"] == "unknown"
    assert any(name in part["what"] for part in told["unknown"])
    assert not told["missing"]
    assert there.incidents() == before


@on_one_suite
def test_anybody_may_ask_for_status(there: Installed) -> None:
    """A user without privileges reads the status; `check` says that it needs root."""
    there.host.nft("flush", "ruleset")
    there.until(lambda: any(incident["ended"] for incident in there.history()), "written down")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "podwatch"]
    status = there.host.run([*as_nobody, "status", "--host"], check=False)

    assert status.code == 0, status
    told = there.host.run([*as_nobody, "check", "--host"], check=False)
    hint = "podwatch: check --host needs root\n  → sudo podwatch check --host\n"
    assert (told.code, told.stderr) == (3, hint)


@on_one_suite
def test_usage_and_absence(there: Installed) -> None:
    """Wrong usage exits 64; a daemon that does not run is unknown, with what to do."""
    assert there.host.run(["podwatch", "--nonsense"], check=False).code == 64
    there.host.run(["systemctl", "stop", "podwatch"])
    assert there.host.unit_show("podwatch", "Result") == {"Result": "success"}  # nobody killed it
    told = there.host.run(["podwatch", "status"], check=False)
    there.host.run(["systemctl", "start", "podwatch"])

    assert told.code == 3
    assert "systemctl start podwatch" in told.stdout


@on_one_suite
def test_a_stop_amid_a_reload(there: Installed) -> None:
    """SIGTERM while containers are being reloaded: podwatch ends, and waits for no more of them."""
    there.host.write(CONFIG, '[restore]\nmethods = ["reload"]\nquiet = 0\nat_once = 1\n')
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until_whole()
    there.host.nft("delete", "table", "inet", "netavark")
    before = there.reloads()
    there.until(lambda: there.status()["restoring"].startswith("reloading"), "reloading")
    there.host.run(["systemctl", "stop", "podwatch"])
    reloads = there.reloads() - before
    result = there.host.unit_show("podwatch", "Result")
    there.host.run(["rm", CONFIG])
    there.host.run(["systemctl", "start", "podwatch"])
    there.until_whole(30)

    assert result == {"Result": "success"}  # within its time: systemd did not kill it
    assert reloads < sum(container["needs_rules"] for container in there.status()["containers"])


@on_one_suite
def test_a_dry_run_changes_nothing(there: Installed) -> None:
    """`podwatch run --dry-run` tells, in the status and at the terminal, what it would do."""

    def would(what: str) -> bool:
        status = there.status()
        return bool(status["dry_run"]) and status["restoring"].startswith(what)

    there.host.run(["systemctl", "stop", "podwatch"])
    reloads = there.reloads()
    with there.host.popen(["podwatch", "run", "--dry-run"], stderr=subprocess.PIPE) as dry:
        assert dry.stderr is not None
        try:
            there.until(lambda: there.status()["dry_run"] and there.status()["state"] == "ok", "ok")
            there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
            there.until(lambda: would("would replay"), "told")
            damaged = there.host.nft("list", "table", "inet", "netavark")
            shown = there.host.run(["podwatch", "status"], check=False).stdout
            looks = there.status()["counters"]["looks"]
            there.host.shell("nft add chain inet netavark x; nft delete chain inet netavark x")
            there.until(lambda: there.status()["counters"]["looks"] > looks, "looked again")
            after = there.host.nft("list", "table", "inet", "netavark")
        finally:
            there.host.run(["kill", str(there.status()["pid"])])
            said = dry.stderr.read()
            there.host.run(["systemctl", "start", "podwatch"])
    there.until_whole()

    assert after == damaged
    assert there.reloads() == reloads
    assert "would replay: a verified copy is at hand" in shown
    assert said.count("would replay: a verified copy is at hand") == 1


def test_restore_by_hand(there: Installed) -> None:
    """Without the daemon `podwatch restore` heals; its dry run only says what it would do."""
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
    dry = there.host.run(["podwatch", "restore", "--dry-run"], check=False)
    lost = there.check()
    wet = there.host.run(["podwatch", "restore"], check=False)
    whole = there.check()
    there.host.run(["systemctl", "start", "podwatch"])

    assert (dry.code, lost.code, wet.code, whole.code) == (2, 2, 0, 0)
    assert "would" in dry.stdout


def test_without_systemd_and_without_a_bus(there: Installed) -> None:
    """In bare namespaces `podwatch run` repairs a flush by running podman itself."""
    there.host.run(["sh", "-c", _BARE], timeout=90)


_BARE = f"""
exec unshare --net --mount --pid --fork --mount-proc sh -eux -c '
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /var/tmp/bare && mount -t tmpfs tmpfs /var/lib/containers
ip link set lo up
tar -C / -c bin/busybox 2>/dev/null | podman import - local/busybox >/dev/null ||
    tar -C / -ch usr/bin/busybox | podman import - local/busybox >/dev/null
podman run -d --name bare --cgroups=disabled -p 8099:80 local/busybox \
    $(tar -C / -c bin/busybox >/dev/null 2>&1 && echo /bin/busybox || echo /usr/bin/busybox) \
    sleep 300
printf '[restore]\nmethods = ["reload"]\n' > /run/bare.conf
podwatch run --config /run/bare.conf 2>/run/bare.log & pid=$!
whole() {{ podwatch check >/dev/null 2>&1; }}
for i in $(seq 100); do [ -e {STATUS} ] && whole && break; sleep 0.1; done
nft flush ruleset
for i in $(seq 100); do
    nft list table inet netavark >/dev/null 2>&1 && whole && break; sleep 0.1
done
whole
nft list chain inet netavark NETAVARK-HOSTPORT-DNAT | grep 8099
grep "how: podman network reload of 1 container" /run/bare.log
kill $pid; wait $pid
podman rm -f -t 0 bare
'
"""


@on_one_suite
def test_a_pause_that_cannot_be_read_is_one(there: Installed) -> None:
    """A link in place of the pause's directory pauses, is told, and resume ends it at once."""
    cursor = there.host.journal_cursor()
    there.host.run(["mkdir", "/etc/victims"])
    there.host.shell("rm -rf /run/podwatch/pause; ln -s /etc/victims /run/podwatch/pause")
    there.host.run(["systemctl", "restart", "podwatch"])
    try:
        there.host.nft("delete", "table", "inet", "netavark")
        there.until(lambda: there.status()["state"] == "lost", "told")
        (held,) = (
            obstacle for obstacle in there.status()["blocked"] if obstacle["kind"] == "paused"
        )
        assert "/run/podwatch/pause is a link" in held["what"]
        assert held["advice"] == "podwatch resume"
        told = there.host.run(["podwatch", "pause"], check=False)
        assert told.code == 3
        assert "not followed" in told.stderr
        assert "not followed" in there.host.journal("podwatch", since_cursor=cursor)
        assert there.host.shell("ls /etc/victims").stdout == ""
    finally:
        there.host.run(["podwatch", "resume"])
    there.until_whole()


@on_one_suite
@pytest.mark.parametrize("name", ["run.lock", "restore.lock"])
def test_a_linked_lock_is_not_followed(there: Installed, name: str) -> None:
    """A link in a lock's place is taken away, where it leads nothing is made, and all is well."""
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.nft("delete", "table", "inet", "netavark")
    there.host.run(["ln", "-sfn", "/etc/victim", f"/run/podwatch/{name}"])
    there.host.run(["systemctl", "--no-block", "start", "podwatch"])
    there.until_whole()
    assert there.host.shell(f"stat -c %F /run/podwatch/{name}").stdout.startswith("regular")
    assert there.host.run(["test", "-e", "/etc/victim"], check=False).code != 0
