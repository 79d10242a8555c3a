# SPDX-License-Identifier: Apache-2.0
"""Names: aardvark-dns killed, stopped, hung, misnamed, with a file damaged or an entry missing."""

from collections.abc import Iterator

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, installed, on_one_suite
from tests.lab.containers import web

pytestmark = pytest.mark.e2e

A = "/run/containers/networks/aardvark-dns"
_SERVING = "grep -slx aardvark-dns /proc/[0-9]*/comm | cut -d/ -f3"
_CHURN = """
i=0
while [ ! -e /run/churn.stop ]; do
    i=$((i + 1))
    podman run --quiet --detach --name churn-$i --stop-signal KILL --network names local/busybox \\
        /busybox httpd -f -p 80 >/dev/null 2>>/run/churn.err || echo "run $i" >>/run/churn.failed
    podman rm --force churn-$i >/dev/null 2>>/run/churn.err || echo "rm $i" >>/run/churn.failed
done
echo $i >/run/churn.count
"""


@pytest.fixture(scope="module", params=("trixie", "forky", "bookworm"))
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """A host with two containers that ask for each other's names, beside the standard ones."""
    with installed(request.param) as found:
        subnet = "--subnet=10.89.50.0/24"
        found.host.podman("network", "create", subnet, "names")
        for name in ("db", "api"):
            web(found.host, name, networks=["names"])
        # netavark before 1.9 lets a bridge take the MAC of another port when a container restarts:
        # its neighbours ask the old one for up to a minute, whatever answers names.
        found.host.shell(
            "cd /sys/class/net; for bridge in podman*; do "
            "ip link set $bridge address $(cat $bridge/address); done"
        )
        found.until(lambda: resolve(found), "names resolve")
        yield found


def resolve(there: Installed, *names: str) -> bool:
    """Whether names resolve: these two's for each other, and one of the standard networks' too."""
    asked = [("api", "db"), ("db", "api"), ("dual-web", "dual-udp")]
    # For IPv4 alone: aardvark-dns 1.4 asks elsewhere for what it has no address of a family.
    ask = ["/busybox", "timeout", "2", "/busybox", "nslookup", "-type=a"]
    return all(
        there.host.run(["podman", "exec", caller, *ask, name], check=False).code == 0
        for caller, name in asked
    )


def send(there: Installed, signal: str, pid: str) -> None:
    """Send a signal; Debian 12 has no kill(1)."""
    there.host.shell(f"kill -{signal} {pid}")


def serving(there: Installed) -> list[str]:
    """The processes that are aardvark-dns."""
    return there.host.shell(_SERVING, check=False).stdout.split()


def named(there: Installed) -> str:
    """The process that the pid file names."""
    return there.host.shell(f"cat {A}/aardvark.pid", check=False).stdout.strip()


def told(there: Installed) -> str:
    """All that the status tells."""
    return there.host.run(["podwatch", "status"], check=False).stdout


def is_lost(there: Installed) -> bool:
    """Whether it is told that aardvark-dns does not run."""
    return any("aardvark-dns does not run" in loss["what"] for loss in there.status()["missing"])


def until_one_serves(there: Installed, *, but: str = "") -> str:
    """Wait until one aardvark-dns runs, is named, and every name resolves; its process."""

    def is_right() -> bool:
        found = serving(there)
        return found == [named(there)] and found[0] != but and resolve(there)

    there.until(is_right, "one aardvark-dns that answers")
    there.until(lambda: there.status()["state"] == "ok", "ok")
    agree(there, is_open=True)
    return named(there)


def test_one_that_is_killed_is_started_again(there: Installed) -> None:
    """By a unit of its own: names resolve, the pid file is right, status and history name it."""
    before = until_one_serves(there)
    reloads = there.reloads()
    send(there, "KILL", before)
    after = until_one_serves(there, but=before)

    assert there.host.unit_show("podwatch-dns", "MainPID")["MainPID"] == after
    there.until(lambda: there.status()["last_incident"]["verified"], "over")
    incident = there.history()[-1]
    assert "aardvark-dns does not run: names of networks dual" in incident["missing"][0]
    assert incident["names"] == 1
    assert incident["cause"] == f"aardvark-dns ({before}) ended"
    assert f"aardvark-dns was started again ({after})" in incident["how"][0]
    assert there.reloads() == reloads


def test_a_container_that_comes_and_goes_is_known(there: Installed) -> None:
    """netavark tells the one that podwatch started, and starts no other."""
    before = until_one_serves(there)
    send(there, "KILL", before)
    server = until_one_serves(there, but=before)
    web(there.host, "late", networks=["names"])
    ask = ["podman", "exec", "api", "/busybox", "nslookup", "-type=a", "late"]
    there.until(lambda: there.host.run(ask, check=False).code == 0, "the new name resolves")
    there.host.podman("rm", "--force", "late")
    assert serving(there) == [named(there)] == [server]


@pytest.mark.parametrize("how", ["unit", "scope"])
def test_what_is_stopped_is_started_again(there: Installed, how: str) -> None:
    """The unit in which podwatch started it, or all in the scope in which netavark did."""
    before = until_one_serves(there)
    if how == "scope":
        there.host.shell(
            f"podwatch pause; kill -KILL {before}; podman restart --time 0 db; podwatch resume"
        )
        before = until_one_serves(there, but=before)
    unit = there.host.shell(f"sed -n 's|.*/||p' /proc/{before}/cgroup | tail -n 1").stdout.strip()
    assert (unit == "podwatch-dns.service") == (how == "unit")
    # On forky what netavark starts ignores SIGTERM (seen), and systemd waits for 90 s.
    stop = ["stop"] if how == "unit" else ["kill", "--signal=KILL"]
    there.host.run(["systemctl", *stop, unit])
    until_one_serves(there, but=before)


@pytest.mark.parametrize("names", ["somebody else", "nobody"])
def test_a_pid_file_that_is_wrong_is_mended(there: Installed, names: str) -> None:
    """Before netavark sends its signal to another: that one lives on, and so does aardvark-dns."""
    server = until_one_serves(there)
    started = "systemd-run --quiet --unit=stranger sleep 600; systemctl show -P MainPID stranger"
    pid = there.host.shell(started).stdout.strip()
    try:
        does = f"printf {pid} > " if names == "somebody else" else "rm "
        there.host.shell(f"{does}{A}/aardvark.pid")
        assert until_one_serves(there) == server
        there.host.podman("restart", "--time", "0", "db")
        assert there.host.unit_state("stranger") == "active"
        assert until_one_serves(there) == server
    finally:
        there.host.run(["systemctl", "stop", "stranger"])
    said = there.history()[-1]["missing"][0]
    assert f"aardvark-dns runs as {server}, and {A}/aardvark.pid names" in said


def test_an_address_without_a_listener_is_listened_on(there: Installed) -> None:
    """One that was not there when aardvark-dns read its files: it is told once it is there."""
    server = until_one_serves(there)
    heard = "grep -q 0932590A:0035 /proc/net/udp"
    there.host.shell(f"sed -i '1s/$/,10.89.50.9/' {A}/names; kill -HUP {server}")
    try:
        there.until(lambda: resolve(there), "others are served")
        assert there.host.shell(heard, check=False).code != 0
        there.host.shell("ip address add 10.89.50.9/32 dev lo; systemctl reload podwatch")
        there.until(lambda: there.host.shell(heard, check=False).code == 0, "listening", 30)
        missed = "network names: aardvark-dns does not listen on 10.89.50.9"
        there.until(lambda: there.history()[-1]["missing"] == [missed], "in the history")
    finally:
        there.host.shell(
            f"sed -i '1s/,10.89.50.9//' {A}/names; kill -HUP {server}; "
            "ip address del 10.89.50.9/32 dev lo"
        )
    assert until_one_serves(there) == server


def test_one_that_hangs_is_told(there: Installed) -> None:
    """With what ends it; it is not ended, and where it goes on that is seen, too."""
    server = until_one_serves(there)
    send(there, "STOP", server)
    try:
        assert not resolve(there)
        advice = f"kill -9 {server}: podwatch then starts it anew"
        there.until(lambda: advice in told(there), "told", 70)
        assert there.status()["state"] == "lost"
        agree(there, is_open=False)
        assert serving(there) == [server]
    finally:
        send(there, "CONT", server)
    there.until(lambda: there.status()["state"] == "ok", "ok", 30)
    assert until_one_serves(there) == server


def test_the_advice_for_one_that_hangs_cures(there: Installed) -> None:
    """Killed, it is started anew."""
    server = until_one_serves(there)
    send(there, "STOP", server)
    send(there, "9", server)
    until_one_serves(there, but=server)


def advised(there: Installed, what: str) -> str:
    """The advice that the status has for this, once it tells of it."""
    there.until(
        lambda: any(what in notice["what"] for notice in there.status()["warnings"]), what, 30
    )
    notices = there.status()["warnings"]
    return str(next(notice["advice"] for notice in notices if what in notice["what"]))


def test_a_damaged_file_is_told_with_its_cure(there: Installed) -> None:
    """Nobody answers on that network; the others go on."""
    server = until_one_serves(there)
    there.host.shell(f"echo garbage >> {A}/names; kill -HUP {server}")
    advice = advised(there, "no name of this network resolves")
    assert there.status()["state"] == "lost"
    assert not resolve(there)
    there.host.shell(advice)
    until_one_serves(there)


def test_an_entry_that_is_missing_is_told_with_its_cure(there: Installed) -> None:
    """A container that nobody finds by its name."""
    until_told_and_cured(there, "sed -i '/ db,/d'", "db")


@on_one_suite
@pytest.mark.parametrize(
    ("how", "unknown"),
    [("sed -i '/ db,/s/10[.0-9]*/10.89.9.99/'", "the address of db"), ("rm", "api, db")],
)
def test_an_entry_that_is_wrong_is_told_with_its_cure(
    there: Installed, how: str, unknown: str
) -> None:
    """A name that leads elsewhere; and a network of which aardvark-dns has no file any more."""
    until_told_and_cured(there, how, unknown)


def until_told_and_cured(there: Installed, how: str, unknown: str) -> None:
    """Do this to the file of the network: it is told who is not known, and the advice cures."""
    server = until_one_serves(there)
    there.host.shell(f"{how} {A}/names; kill -HUP {server}")
    advice = advised(there, f"aardvark-dns does not know {unknown}")
    assert there.status()["state"] == "lost"
    told = there.host.run(["podwatch", "explain", "db"], check=False).stdout
    assert f"✗ DNS entry       aardvark-dns does not know {unknown}" in told
    assert advice.endswith(" db")
    there.host.shell(advice)
    until_one_serves(there)


@on_one_suite
def test_a_file_that_names_another_address_is_told_with_its_cure(there: Installed) -> None:
    """aardvark-dns listens where nobody asks it."""
    server = until_one_serves(there)
    there.host.shell(f"sed -i '1s/[.0-9]*/10.89.9.99/' {A}/names; kill -HUP {server}")
    there.until(lambda: there.status()["state"] == "lost", "told", 30)
    assert not resolve(there)
    told = there.host.run(["podwatch", "explain", "db"], check=False).stdout
    assert "✗ DNS             10.89.9.99 is no address of this host" in told
    there.host.shell("rm " + told.partition("→ rm ")[2].splitlines()[0])
    until_one_serves(there)


def test_a_pause_holds(there: Installed) -> None:
    """It is told, and not started until the pause is over."""
    server = until_one_serves(there)
    there.host.run(["podwatch", "pause"])
    try:
        send(there, "KILL", server)
        there.until(lambda: is_lost(there), "told")
        assert there.status()["state"] == "lost"
        assert serving(there) == []
    finally:
        there.host.run(["podwatch", "resume"])
    until_one_serves(there, but=server)


def test_who_does_not_want_it_gets_no_repair(there: Installed) -> None:
    """restore.names = false: told, and left."""
    server = until_one_serves(there)
    with there.configured("[restore]\nnames = false\n"):
        send(there, "KILL", server)
        there.until(lambda: is_lost(there), "told")
        assert serving(there) == []
    until_one_serves(there, but=server)


def test_killed_again_and_again_while_containers_come_and_go(there: Installed) -> None:
    """One runs at the end, named, and answers; no start of a container failed for a second one."""
    until_one_serves(there)
    there.host.shell("rm -f /run/churn.*")
    there.host.write("/run/churn.sh", _CHURN)
    there.host.shell("systemd-run --quiet --unit=churn sh /run/churn.sh")
    kill = f"sleep 0.$((i * 37 % 80 + 10)); kill -KILL $({_SERVING})"
    kills = f"for i in $(seq 100); do {kill}; done"
    there.host.shell(f"{kills}; touch /run/churn.stop", check=False, timeout=300)
    there.until(lambda: there.host.exists("/run/churn.count"), "churned", 60)
    until_one_serves(there)

    said = there.host.shell("cat /run/churn.err", check=False).stdout
    # What was killed while it started has told nothing; whoever finds another in its place has.
    assert "in use" not in said
    assert "bind" not in said
    assert int(there.host.read("/run/churn.count")) > 10
    assert there.reloads() == 0


def test_its_last_container_ends_it(there: Installed) -> None:
    """The unit ends with it, and podwatch does not start it again."""
    server = until_one_serves(there)
    send(there, "KILL", server)
    until_one_serves(there, but=server)
    counted = there.incidents()
    there.host.podman("stop", "--all", "--time", "0")
    there.until(lambda: not serving(there), "ended")
    there.until(lambda: there.host.unit_state("podwatch-dns") == "inactive", "its unit, too")
    there.until(lambda: there.status()["state"] in ("ok", "degraded"), "nothing is lost")
    assert serving(there) == []
    assert there.incidents() == counted
