# SPDX-License-Identifier: Apache-2.0
"""podwatch.service as the user podwatch, with CAP_NET_ADMIN alone: it heals, and it is not root.

What makes it so is the drop-in that the package offers. The tests that break into root from there
are run as that user with that capability, as a podwatch would that somebody has taken over.
"""

import itertools
import json
from collections.abc import Callable
from functools import partial

import pytest

from tests.e2e.agreement import agree
from tests.e2e.installed import Installed, built_package
from tests.lab.faults import ALL, Fault
from tests.lab.inside import Result
from tests.lab.network_faults import HEALED, NetworkFault

pytestmark = pytest.mark.e2e

DROP_IN = "/etc/systemd/system/podwatch.service.d/nonroot.conf"
OFFERED = "/usr/share/podwatch/units/nonroot.conf"
TAKEN_OVER = (
    *("setpriv", "--reuid=podwatch", "--regid=podwatch", "--clear-groups"),
    *("--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin"),
    *("--bounding-set=-all,+net_admin", "--no-new-privs"),
)
"""What podwatch's process may do, and no more."""

_CAP_NET_ADMIN = 1 << 12
_STRUCK = (
    "nft delete table inet netavark",
    "nft flush ruleset",
    "one rule deleted",
    "firewall-cmd --reload",
)
_LINKS = ("bridge down", "bridge deleted", "veth deleted")
_SYSTEMD = (
    "busctl call --allow-interactive-authorization=no org.freedesktop.systemd1 "
    "/org/freedesktop/systemd1 org.freedesktop.systemd1.Manager"
)
_ID = "0123456789abcdef" * 4
_ALLOWED = (
    *("podwatch-inspect", "podwatch-networks", "podwatch-network@podman", "podwatch-network@x"),
    *(f"podwatch-reload@{_ID}", "podwatch-trust@10.88.0.0-16", "podwatch-dns"),
    *("podwatch-dns-hup", "podwatch-dns-pid"),
    *("podwatch-dhcp-enable@cni-dhcp", "podwatch-dhcp-restart@cni-dhcp"),
    *("podwatch-dhcp-enable@netavark-dhcp-proxy", "podwatch-dhcp-restart@netavark-dhcp-proxy"),
)
_REFUSED = (
    "KillUnit ssi podwatch-inspect.service main 9",
    "SetUnitProperties 'sba(sv)' podwatch-inspect.service true 0",
    "RestartUnit ss podwatch-inspect.service replace",
    "StopUnit ss firewalld.service replace",
    "StartUnit ss netavark-dhcp-proxy.socket replace",
    "StartUnit ss podwatch-dhcp-enable@ssh.service replace",
    "StartUnit ss podwatch-reload@short.service replace",
    "ResetFailedUnit s netavark-dhcp-proxy.socket",
    "EnableUnitFiles asbb 1 netavark-dhcp-proxy.socket false false",
    "DisableUnitFiles asb 1 podwatch.service false",
    "SetEnvironment as 1 LD_PRELOAD=/run/podwatch/evil.so",
    "Reload",
    "PowerOff",
)
_OWN_NAMES = (
    *("pause/pause.json", "status.json", "rules.json", "run.lock", "restore.lock"),
    *("relays.json", "name-server.env", "podman.json", "networks.json"),
)
_LISTS = ("podman.json", "networks.json", "networks.ids", "network-podman.json")
_OF_ROOT = (
    *("podwatch status", "podwatch pause --for 1m", "podwatch resume", "podwatch check"),
    *("podwatch explain", "podwatch history", "podwatch restore", "podwatch release"),
    *("systemctl start podwatch-inspect", "systemctl start podwatch-networks"),
    *("systemctl start podwatch-network@podman", "systemctl start podwatch-dns"),
    "systemctl start podwatch-dns-pid",
)


def restarted(there: Installed) -> None:
    """Have what was installed take effect."""
    there.host.run(["systemctl", "daemon-reload"])
    there.start_anew()


def taken_over(there: Installed, script: str) -> Result:
    """Run a script as a podwatch that somebody has taken over."""
    return there.host.run([*TAKEN_OVER, "sh", "-c", script], check=False)


def transient(unit: str, creates: str) -> str:
    """The call that has systemd run a program of the caller's choice under a unit's name."""
    touch = f"1 ExecStart 'a(sasb)' 1 /usr/bin/touch 2 /usr/bin/touch {creates} false 0"
    return f"{_SYSTEMD} StartTransientUnit 'ssa(sv)a(sa(sv))' {unit} fail {touch}"


def whose(there: Installed, path: str) -> str:
    """Mode, user and group of a file."""
    return there.host.run(["stat", "-c", "%a %U:%G", path]).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def before(there: Installed) -> int:
    """podwatch is root at first, and has healed something; then it is not root any more.

    The incidents that are in the history of the first.
    """
    there.lose_the_table()
    there.until_whole()
    there.until(lambda: bool(there.history()) and there.history()[-1]["verified"], "written down")
    written = len(there.history())
    assert whose(there, "/run/podwatch/rules.json") == "600 root:root"
    there.host.run(["install", "-Dm644", OFFERED, DROP_IN])
    restarted(there)
    return written


def test_it_is_not_root(there: Installed, before: int) -> None:
    """One user, one capability, and nothing unknown; it says so, and knows its past."""
    status = there.host.read(f"/proc/{there.main_pid()}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    uid = there.host.run(["id", "-u", "podwatch"]).stdout.strip()
    document = there.status()

    assert set(fields["Uid"].split()) == {uid} != {"0"}
    for held in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[held], 16) == _CAP_NET_ADMIN
    assert "as podwatch with CAP_NET_ADMIN" in there.host.journal("podwatch")
    assert (document["state"], document["unknown"]) == ("ok", [])
    assert len(there.history()) == before
    assert whose(there, "/run/podwatch/rules.json") == "600 podwatch:podwatch"
    assert whose(there, "/run/podwatch-podman") == "2750 root:podwatch"
    assert whose(there, "/run/podwatch-podman/podman.json") == "640 root:podwatch"
    agree(there, is_open=True)


def test_its_exposure_is_no_greater(there: Installed) -> None:
    """systemd rates the unit at 2.0 or less, as where it is root."""
    rate = ["systemd-analyze", "security", "--no-pager", "--threshold=20", "podwatch"]
    rated = there.host.run(rate, check=False)

    assert rated.code == 0, rated.stdout[-400:]


@pytest.mark.parametrize("fault", [fault for fault in ALL if fault.name in _STRUCK], ids=str)
def test_rules_and_sources_come_back(there: Installed, fault: Fault) -> None:
    """Every way is open again, and all that podwatch tells says so; sources by a unit of root's."""
    cursor = there.host.journal_cursor()
    fault.strike(there.host)

    agree(there, is_open=True)
    if fault.name == "firewall-cmd --reload":
        there.until(lambda: there.status()["state"] == "ok", "ok")
        by_root = "podwatch-trust@10.88.0.0-16"  # the journal has it a little later
        there.until(lambda: "Finished" in there.host.journal(by_root, cursor), "by root's unit")


@pytest.mark.parametrize("fault", [fault for fault in HEALED if fault.name in _LINKS], ids=str)
def test_the_network_under_the_rules_comes_back(there: Installed, fault: NetworkFault) -> None:
    """Links and addresses by itself; a lost veth by a unit of root's, for its container alone."""
    there.start_anew()
    fault.strike(there.host)

    agree(there, is_open=True)
    there.until(lambda: there.status()["state"] == "ok", "ok")


def test_settings_come_back(there: Installed) -> None:
    """Those of /proc/sys/net are its capability's to set."""
    path = "/proc/sys/net/ipv4/ip_forward"
    there.host.shell(f"echo 0 > {path}")

    there.until(lambda: there.host.read(path).strip() == "1", "set again", 1)
    agree(there, is_open=True)


def test_names_come_back(there: Installed) -> None:
    """A unit of root's starts aardvark-dns again, and one sends root's its signal."""
    directory = "/run/containers/networks/aardvark-dns"
    before = there.host.read(f"{directory}/aardvark.pid")
    there.host.shell(f"kill -KILL {before}")
    there.until(lambda: there.host.read(f"{directory}/aardvark.pid") != before, "started again")
    agree(there, is_open=True)

    server = there.host.read(f"{directory}/aardvark.pid").strip()
    there.host.shell(f"kill -0 {server}; printf 1 > {directory}/aardvark.pid")
    there.until(lambda: there.host.read(f"{directory}/aardvark.pid") == server, "named again")
    for unit in ("podwatch-dns", "podwatch-dns-pid"):
        assert "Start" in there.host.journal(unit)
    taken_over(there, f"{_SYSTEMD} StartUnit ss podwatch-dns-hup.service replace")
    there.until(lambda: "Finished" in there.host.journal("podwatch-dns-hup"), "sent")
    agree(there, is_open=True)


def test_who_did_it_is_told(there: Installed) -> None:
    """The program that took the rules away, and what it was run by."""
    cursor = there.host.journal_cursor()
    there.host.write("/root/breaker.sh", "#!/bin/sh\nnft delete table inet netavark\nsleep 0.3\n")
    there.host.run(["sh", "/root/breaker.sh"])
    there.until_whole()

    told = there.host.journal("podwatch", since_cursor=cursor)
    assert "cause: nft (pid" in told or "nft delete table inet netavark" in told
    assert "/root/breaker.sh" in json.dumps(there.history()[-1])


def test_the_dhcp_proxys_socket_comes_back(there: Installed) -> None:
    """Stopped and disabled, with a network that wants it: units of root's do it."""
    socket = "netavark-dhcp-proxy.socket"
    there.host.run(["systemctl", "disable", "--now", socket, "netavark-dhcp-proxy.service"])
    there.host.podman("network", "create", "--driver=macvlan", "--opt=parent=eth0", "leased")
    try:
        there.until(
            lambda: (
                there.host.unit_show(socket, "ActiveState", "UnitFileState")
                == {"ActiveState": "active", "UnitFileState": "enabled"}
            ),
            "there again",
        )
        there.until(lambda: there.status()["state"] == "ok", "ok")
        assert there.status()["dhcp"]["state"] == "ok", there.status()["dhcp"]
    finally:
        there.host.podman("network", "rm", "leased")


def test_a_container_without_a_network_of_its_own_is_seen(there: Installed) -> None:
    """The OCI runtime's directory is root's to read, but for a right that is given."""
    run = ["--detach", "--name=onhost", "--network=host", "local/busybox", "/busybox", "sleep"]
    there.host.podman("run", *run, "600")
    try:
        there.until(
            lambda: any(each["name"] == "onhost" for each in there.status()["containers"]), "seen"
        )
    finally:
        there.host.podman("rm", "--force", "--time=0", "onhost")


def test_a_pause_by_root_holds(there: Installed) -> None:
    """It is known until when, why and by whom; what is missing comes back when it ends."""
    there.host.run(["podwatch", "pause", "--for", "10m", "--reason", "a new firewall"])
    there.until(lambda: "a new firewall" in str(there.status()["blocked"]), "paused")
    there.lose_the_table()
    there.until(lambda: there.status()["state"] == "lost", "seen")
    assert there.host.run(["nft", "list", "table", "inet", "netavark"], check=False).code != 0
    assert "until it is ended" not in str(there.status()["blocked"])
    assert whose(there, "/run/podwatch/pause/pause.json") == "600 podwatch:podwatch"

    there.host.run(["podwatch", "resume"])
    there.until_whole()


def test_a_pause_that_cannot_be_read_holds(there: Installed) -> None:
    """Whoever wrote it wanted something, and the last thing they wanted is a repair."""
    there.host.shell("install -m 600 /dev/null /run/podwatch/pause/pause.json")
    there.until(lambda: "Permission denied" in str(there.status()["blocked"]), "paused")
    there.lose_the_table()
    there.until(lambda: there.status()["state"] == "lost", "seen")
    assert there.host.run(["nft", "list", "table", "inet", "netavark"], check=False).code != 0

    there.host.run(["podwatch", "resume"])
    there.until_whole()


def test_its_api_asks_polkit_about_its_callers(there: Installed) -> None:
    """It has the name on the bus, and polkit answers it, though it is not root."""
    nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups busctl call "
    api = f"{nobody} org.podwatch1 /org/podwatch1 org.podwatch1.Manager"
    rule = "/etc/polkit-1/rules.d/60-nobody.rules"
    assert there.host.shell(f"{api} Look").stdout == 's "ok"\n'
    refused = there.host.shell(f"{api} Pause ts 60 x", check=False)
    assert "needs administrative rights" in refused.stderr
    there.host.write(
        rule,
        'polkit.addRule(function(action, subject) { if (subject.user == "nobody" && '
        'action.id == "org.podwatch1.pause") return polkit.Result.YES; });\n',
    )
    try:
        pause = f"{api} Pause ts 60 x"
        there.until(lambda: there.host.shell(pause, check=False).code == 0, "permitted")
        assert whose(there, "/run/podwatch/pause/pause.json") == "600 podwatch:podwatch"
        assert there.host.shell(f"{api} Resume").stdout == "b true\n"
    finally:
        there.host.run(["rm", rule])
    there.until_whole()


def test_its_configuration_is_read_again(there: Installed) -> None:
    """By `systemctl reload`; metrics go to where node_exporter looks for them."""
    directory = "/var/lib/prometheus/node-exporter"
    there.host.run(["install", "-d", "-o", "prometheus", "-g", "prometheus", directory])
    restarted(there)
    with there.configured(f'[metrics]\ntextfile = "{directory}/podwatch.prom"\n'):
        there.until(lambda: there.host.exists(f"{directory}/podwatch.prom"), "written")
        assert there.host.unit_state("podwatch") == "active"
    there.host.run(["rm", "-r", directory])


def test_root_repairs_where_it_does_not_run(there: Installed) -> None:
    """`podwatch restore` leaves nothing behind that podwatch could not open."""
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.shell("rm -f /run/podwatch/restore.lock /run/podwatch/rules.json")
    there.lose_the_table()
    there.host.run(["podwatch", "restore"])
    agree(there, is_open=True)
    owners = there.host.shell("find /run/podwatch /var/lib/podwatch ! -user podwatch").stdout
    assert owners == ""
    there.host.run(["systemctl", "start", "podwatch"])
    there.lose_the_table()
    agree(there, is_open=True)


def test_a_wide_rule_would_give_root_away(there: Installed) -> None:
    """A rule by a prefix, as one would write it: systemd runs anything under such a name."""
    rule = "/etc/polkit-1/rules.d/60-wide.rules"
    wide = (
        'polkit.addRule(function(action, subject) { if (subject.user == "podwatch" && '
        'action.id == "org.freedesktop.systemd1.manage-units" && '
        '/^podwatch-/.test(action.lookup("unit"))) return polkit.Result.YES; });\n'
    )
    evil = transient("podwatch-evil.service", "/root/owned")
    there.host.write(rule, wide)
    try:
        there.until(
            lambda: taken_over(there, evil).code == 0 and there.host.exists("/root/owned"),
            "root's file made",
        )
    finally:
        there.host.run(["rm", "-f", rule, "/root/owned"])
    there.until(lambda: taken_over(there, evil).code != 0, "refused again")
    there.host.run(["rm", "-f", "/root/owned"])


def test_systemd_runs_nothing_of_its_choice(there: Installed) -> None:
    """Under no name that the rule allows, nor by any other method; those units it may start."""
    for number, unit in enumerate(_ALLOWED):
        tried = taken_over(there, transient(f"{unit}.service", f"/root/owned-{number}"))
        assert tried.code != 0, unit
        assert "fragment file" in tried.stderr or "already loaded" in tried.stderr, tried.stderr
    tried = taken_over(there, transient("podwatch-evil.service", "/root/owned"))
    assert tried.code != 0
    for call in _REFUSED:
        tried = taken_over(there, f"{_SYSTEMD} {call}")
        assert tried.code != 0, call
        told = tried.stderr.lower()
        assert any(why in told for why in ("denied", "authentication required", "not loaded")), told
    started = taken_over(there, f"{_SYSTEMD} StartUnit ss podwatch-inspect.service replace")

    assert started.code == 0, started.stderr
    assert there.host.shell("ls /root | grep owned || true").stdout == ""
    there.until_whole()


@pytest.mark.parametrize("kind", ["links", "link to it all", "fifos"])
def test_root_is_led_nowhere(there: Installed, kind: str) -> None:
    """Whatever stands where root's commands and units look: root makes and waits for nothing.

    Of aardvark-dns, which does not run, they start none but the real one, with nothing preloaded.
    """
    victim, mark = "/etc/victim", "/etc/nologin"
    there.host.write(victim, "untouched\n")
    there.host.run(["systemctl", "stop", "podwatch"])
    puts = {
        "links": (f"ln -sfn {mark}", f"ln -sfn {victim}"),  # to nothing, and to a file
        "link to it all": ("ln -sfn /etc",),
        "fifos": ("mkfifo",),
    }[kind]
    names = ["pause"] if kind == "link to it all" else [*_OWN_NAMES]
    places = [f"/run/podwatch/{name}" for name in names]
    places += [f"/var/lib/podwatch/{name}" for name in ("history.jsonl", "firewalld.json")]
    lines = [
        f"rm -rf {place}; mkdir -p $(dirname {place}); {put} {place}"
        for place, put in zip(places, itertools.cycle(puts), strict=False)
    ]
    keep = "cp /var/lib/podwatch/history.jsonl /root/; rm -f /run/podwatch/pause/pause.json"
    there.host.shell(keep)
    try:
        for line in lines:
            assert taken_over(there, line).code == 0, line
        for name in (*_LISTS, *(f"{name}.new" for name in _LISTS)):
            tried = taken_over(there, f"ln -sfn {mark} /run/podwatch-podman/{name}")
            assert "Permission denied" in tried.stderr
        for command in _OF_ROOT:
            done = there.host.run(["timeout", "60", "sh", "-c", command], check=False, timeout=90)
            assert done.code != 124, f"{command} waited"
        assert there.host.read(victim) == "untouched\n"
        for made in (mark, "/etc/pause.json", "/etc/history.jsonl", "/etc/restore.lock"):
            assert not there.host.exists(made), made
        assert whose(there, victim) == "644 root:root"
    finally:
        there.host.shell(
            "rm -rf /run/podwatch/* /var/lib/podwatch/*; "
            "install -o podwatch -g podwatch -m 600 /root/history.jsonl /var/lib/podwatch/"
        )
        there.host.run(["systemctl", "restart", "podwatch"])
    there.until_whole(30)


def test_the_name_servers_unit_starts_nothing_of_its_choice(there: Installed) -> None:
    """Neither a program that the file names, nor a library that would be root's environment."""
    directory = "/run/containers/networks/aardvark-dns"
    evil = (
        "cd /run/podwatch; printf '#!/bin/sh\\ntouch /root/owned\\n' > aardvark-dns; "
        "chmod 755 aardvark-dns; rm -f name-server.env; "
        "printf 'AARDVARK_DNS=/run/podwatch/aardvark-dns\\nPORT=53\\n"
        "LD_PRELOAD=/run/podwatch/evil.so\\n' > name-server.env; "
        f"{_SYSTEMD} StartUnit ss podwatch-dns.service replace"
    )
    there.host.run(["systemctl", "stop", "podwatch"])
    there.host.shell(f"kill -KILL $(cat {directory}/aardvark.pid)")
    cursor = there.host.journal_cursor()
    assert taken_over(there, evil).code == 0
    there.until(
        lambda: "no aardvark-dns of root's alone" in there.host.journal("podwatch-dns", cursor),
        "refused",
    )

    assert not there.host.exists("/root/owned")
    there.host.run(["systemctl", "start", "podwatch"])
    agree(there, is_open=True)


@pytest.mark.parametrize(
    "rule",
    [
        "eb 8 -t filter -A INPUT --among-src-file /etc/token -j ACCEPT",
        "ipv4 6 -M /tmp/evil -t security -N of-podwatch",
        "ipv4 5 -A INPUT --modprobe=/tmp/evil -m nosuch",
    ],
    ids=["reads a file", "makes a chain", "runs a program"],
)
def test_firewalld_takes_no_orders(there: Installed, rule: str) -> None:
    """Its direct rules are arguments of programs that root runs, at each reload and for ever."""
    manager = "/org/fedoraproject/FirewallD1"
    busctl = "busctl --allow-interactive-authorization=no call -- org.fedoraproject.FirewallD1"
    there.host.write("/etc/token", "hunter2\n", mode=0o600)
    add = f"{busctl} {manager}/config org.fedoraproject.FirewallD1.config.direct addPassthrough sas"
    reload = f"{busctl} {manager} org.fedoraproject.FirewallD1 reload"
    zone = f"{busctl} {manager} org.fedoraproject.FirewallD1.zone changeZoneOfSource ss trusted"
    for order in (f"{add} {rule}", reload, f"{zone} 0.0.0.0/0"):
        tried = taken_over(there, order)
        assert "Not Authorized" in tried.stderr, tried
        assert "hunter2" not in tried.stderr
    assert not there.host.exists("/etc/firewalld/direct.xml")
    there.host.run(["rm", "/etc/token"])


def _refuses(journal: Callable[[], str]) -> bool:
    return "is no subnet of" in journal()


def test_root_trusts_podmans_subnets_alone(there: Installed) -> None:
    """The unit that gives a source back takes none but what netavark set up; another is refused."""
    start = f"{_SYSTEMD} StartUnit ss podwatch-trust@{{}}.service replace"
    for instance in ("0.0.0.0-0", "192.0.2.0-24", "::-0"):
        journal = partial(
            there.host.journal, f"podwatch-trust@{instance}", there.host.journal_cursor()
        )
        assert taken_over(there, start.format(instance)).code == 0
        there.until(partial(_refuses, journal), "refused")
    sources = there.host.run(["firewall-cmd", "--zone=trusted", "--list-sources"]).stdout.split()
    assert sources
    assert not {"0.0.0.0/0", "192.0.2.0/24", "::/0"} & {*sources}


def test_permanent_sources_need_root(there: Installed) -> None:
    """`firewalld.permanent` is told to be of no use, once; nothing is lost or unknown for it."""
    cursor = there.host.journal_cursor()
    with there.configured("[firewalld]\npermanent = true\n"):
        there.until(
            lambda: "firewalld.permanent needs root" in there.host.journal("podwatch", cursor),
            "told",
        )
        there.until(lambda: there.status()["state"] == "ok", "ok")
        assert there.status()["unknown"] == []
    assert there.host.journal("podwatch", cursor).count("firewalld.permanent needs root") == 1


@pytest.mark.parametrize("put", ["ln -sfn /root/victim", "mkfifo"])
def test_what_lies_in_the_locks_place_stops_nothing(there: Installed, put: str) -> None:
    """Who took podwatch over may leave it there: the service starts, and root's file stays."""
    there.host.run(["systemctl", "stop", "podwatch"])
    script = "; ".join(
        f"rm -f /run/podwatch/{name}; {put} /run/podwatch/{name}"
        for name in ("run.lock", "restore.lock")
    )
    assert taken_over(there, script).code == 0
    there.host.run(["systemctl", "start", "podwatch"])
    there.lose_the_table()
    there.until_whole()

    assert whose(there, "/run/podwatch/run.lock") == "600 podwatch:podwatch"
    assert not there.host.exists("/root/victim")


def test_a_host_without_polkit_is_told_so(there: Installed) -> None:
    """What firewalld does not tell is unknown then, and the advice is about polkit."""

    def status() -> str:
        return there.host.run(["podwatch", "status"], check=False).stdout

    there.host.run(["systemctl", "mask", "--runtime", "--now", "polkit"])
    try:
        there.host.run(["systemctl", "restart", "podwatch"])
        there.until(lambda: "polkit does not run" in status(), "told")
    finally:
        there.host.run(["systemctl", "unmask", "--runtime", "polkit"])
        there.host.run(["systemctl", "start", "polkit"])
        restarted(there)
    there.until(lambda: there.status()["state"] == "ok", "ok")


def test_an_upgrade_keeps_it_so(there: Installed) -> None:
    """The package installed over itself: it is whom it was, and nothing is lost."""
    there.host.install(built_package())
    there.until_whole()

    assert whose(there, f"/proc/{there.main_pid()}") == "555 podwatch:podwatch"


def test_it_is_root_again_without_the_file(there: Installed) -> None:
    """The files are root's, the history is whole, and what is lost comes back."""
    written = len(there.history())
    there.host.run(["rm", DROP_IN])
    restarted(there)

    assert whose(there, f"/proc/{there.main_pid()}") == "555 root:root"
    assert len(there.history()) == written
    assert there.host.shell("find /run/podwatch /var/lib/podwatch ! -user root").stdout == ""
    there.lose_the_table()
    agree(there, is_open=True)
