# SPDX-License-Identifier: Apache-2.0
"""What podwatch shows: who caused a loss, what happened, and that a pause is kept."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from podwatch.report.history import RECORD
from podwatch.report.status import SHAPE, fit
from tests.bench.seeing import MANY_INCIDENTS
from tests.e2e.installed import Installed
from tests.lab.containers import web

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
]

TRIES = 3
"""Most have to be told in full. A short-lived writer can be gone before more than its name is."""

_SCRIPT = "/usr/local/sbin/site-firewall"


@dataclass(frozen=True)
class Way:
    """A way to cause a loss, and what history has to say of it.

    `script` is a line for the shell. `by` is the cause's word, `says` what its sentence holds.
    """

    name: str
    script: str
    by: str
    says: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


WAYS = (
    Way(
        "typed in a shell",
        "systemd-run --quiet --wait --pipe --unit=typed-$$ "
        "bash -ic 'nft flush ruleset; true' 2>/dev/null",
        "nft",
        ("nft (pid ", "“nft flush ruleset”", "bash", "unit typed-"),
    ),
    Way(
        "systemctl restart nftables",
        "systemctl restart nftables",
        "nft",
        ("nft (pid ", "/usr/sbin/nft", "unit nftables.service"),  # its stop flushes, and its start
    ),
    Way("firewall-cmd --reload", "firewall-cmd --reload", "firewalld", ("firewalld",)),
    Way("systemctl restart firewalld", "systemctl restart firewalld", "firewalld", ("firewalld",)),
    Way(
        "a script run by a service",
        f"systemd-run --quiet --wait --unit=site-firewall-$$ {_SCRIPT}",
        "nft",
        ("“nft delete table inet netavark”", f"/bin/sh {_SCRIPT}", "unit site-firewall-"),
    ),
    Way("ufw with a hook", "ufw --force reload", "nft", ("nft (pid ", f"/bin/sh {_SCRIPT}")),
)


def _history(there: Installed, *arguments: str) -> list[dict[str, Any]]:
    said = there.host.run(["podwatch", "history", "--json", *arguments]).stdout
    return [json.loads(line) for line in said.splitlines()]


@pytest.fixture(scope="module")
def ready(there: Installed) -> Installed:
    """A host with a script that flushes, and ufw with a hook that does."""
    there.host.write(_SCRIPT, "#!/bin/sh\nnft delete table inet netavark\ntrue\n", 0o755)
    there.host.write("/etc/ufw/before.init", f"#!/bin/sh\n[ $1 = stop ] || {_SCRIPT}\n", 0o755)
    return there


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_history_names_the_cause(ready: Installed, way: Way) -> None:
    """Each way of causing a loss is in the history with its cause, its means and its end."""
    if way.name.startswith("ufw"):
        ready.host.shell("ufw --force enable; ufw allow from any; ufw default allow routed")
        ready.until_whole()
    whole = []
    for _ in range(TRIES):
        before = ready.incidents()
        ready.host.shell(way.script)
        ready.until(lambda: ready.incidents() > before, "noticed")  # noqa: B023 (waited for)
        ready.until_whole()
        found = _history(ready, "-n", str(ready.incidents() - before))
        assert way.by in [incident["by"] for incident in found]
        told = next(incident for incident in found if incident["by"] == way.by)
        assert told["verified"]
        assert told["ended"] >= told["began"]
        assert told["missing"]
        whole.append(all(text in told["cause"] for text in way.says))
        assert whole[-1] or "ended before it could be asked" in told["cause"], told["cause"]
        if whole.count(True) > TRIES / 2:
            break
    assert whole.count(True) > TRIES / 2, told["cause"]
    if way.name.startswith("ufw"):
        ready.host.shell("ufw --force disable")


def test_command_lines_are_for_root_alone(ready: Installed) -> None:
    """What a script was called with is in root's history, and nowhere that others can read."""
    argument = "--with=hunter2"
    cursor = ready.host.journal_cursor()
    for _ in range(TRIES):  # a short-lived writer can be gone before it is asked
        before = ready.incidents()
        ready.host.run(["systemd-run", "--quiet", "--wait", "--unit=deploy", _SCRIPT, argument])
        ready.until(lambda: ready.incidents() > before, "noticed")  # noqa: B023 (waited for)
        ready.until_whole()
        (told,) = _history(ready, "-n", "1")
        if argument in told["cause"]:
            break
    assert argument in told["cause"]
    assert argument in told["process"]["parent"]
    assert "unit deploy.service" in ready.status()["last_incident"]["cause"]
    since = f"--after-cursor={cursor}"
    journal = ready.host.run(["journalctl", "-u", "podwatch", since, "-o", "export"]).stdout
    assert "unit deploy.service" in journal
    assert argument not in journal + ready.host.run(["systemctl", "status", "podwatch"]).stdout
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    reads = ["grep", "-rs", "-e", argument, "/run/podwatch", "/var/lib/podwatch"]
    assert ready.host.run([*nobody, *reads], check=False).stdout == ""


def test_a_loss_while_podwatch_was_away(ready: Installed) -> None:
    """What was lost while podwatch did not run is told as that, and with the containers' names."""
    ready.host.run(["systemctl", "stop", "podwatch"])
    ready.host.nft("flush", "chain", "inet", "netavark", "NETAVARK-HOSTPORT-DNAT")
    ready.host.run(["systemctl", "start", "podwatch"])
    ready.until_whole(20)

    (told,) = _history(ready, "-n", "1")
    assert told["cause"] == "while podwatch was not running"
    assert any(what.startswith("web-a: 8081/tcp") for what in told["missing"]), told["missing"]
    assert "of podwatch's start" in ready.host.run(["podwatch", "history", "-n", "1"]).stdout


def test_each_class_of_container_is_shown(ready: Installed) -> None:
    """Every container that is up is told with its class, and why there are no rules of it."""
    host = ready.host

    def classes() -> dict[str, str]:
        return {container["name"]: container["class"] for container in ready.status()["containers"]}

    standard = dict.fromkeys(("web-a", "web-b", "dual-web", "dual-udp"), "bridge")
    standard |= {"isolated-web": "bridge", "pod pod": "bridge", "pod-web": "member"}
    standard |= {"macvlan-web": "macvlan", "none-web": "none", "host-web": "host"}
    ready.until(lambda: classes() == standard, "told")
    host.podman("network", "create", "--internal", "--disable-dns", "apart")
    web(host, "apart-web", networks=["apart"])
    host.podman("pause", "web-b")
    web(host, "guest-web", networks=["container:web-a"], ports=[88])
    more = {**standard, "apart-web": "internal", "guest-web": "shared"}
    ready.until(lambda: classes() == more, "more told")
    told = host.run(["podwatch", "status", "--all"]).stdout
    host.podman("unpause", "web-b")
    host.podman("rm", "--force", "--time=0", "apart-web", "guest-web")
    ready.until(lambda: classes() == standard, "gone")

    shown = [" ".join(line.split()) for line in told.splitlines()]
    for line in (
        "pod-web in pod pod",
        "macvlan-web macvlan lan: no rules on this host",
        "none-web no Podman network",
        "host-web the host's network",
        "apart-web internal network apart: no rules on this host",
        "guest-web on the network of web-a",
    ):
        assert line in shown
    (paused,) = (line for line in shown if line.startswith("web-b "))
    assert paused.endswith("(paused: cannot be reloaded until podman unpause)")
    assert shown[0].startswith("● podwatch: ok, 6 containers on 3 networks, ")
    assert "containers=6;" in host.run(["podwatch", "check"]).stdout
    assert "host-web" not in host.run(["podwatch", "status"]).stdout


def test_a_paused_container_is_healed_when_it_runs_again(ready: Installed) -> None:
    """The others are reloaded without it, the reason is told, and after unpause it has its turn."""
    (port,) = (probe.port for probe in ready.containers["web-a"].probes)
    config = '[restore]\nmethods = ["reload"]\nbackoff = "200ms"\nbackoff_max = "2s"\nlimit = 100\n'
    ready.host.podman("pause", "web-a")
    with ready.configured(config):
        ready.host.nft("delete", "table", "inet", "netavark")
        held = "held back: web-a (paused: podman unpause)"
        ready.until(lambda: held in str(ready.status()["last_incident"]), "told", 30)
        failed = ready.containers.probe_ports()
        assert len(failed) == 1
        assert f"{port}" in failed[0]
        ready.host.podman("unpause", "web-a")
        ready.until_whole(20)


def test_documents_have_the_fields_they_are_described_with(ready: Installed) -> None:
    """status --json and history --json print what SHAPE and RECORD describe, no more, no less."""
    status = json.loads(ready.host.run(["podwatch", "status", "--json"], check=False).stdout)
    (incident,) = _history(ready, "-n", "1")

    assert status.pop("heartbeat") > status["started"]  # read_status adds it
    assert fit(status, SHAPE) == status
    assert fit(incident, RECORD) == incident
    assert SHAPE.keys() == status.keys()
    assert RECORD.keys() == incident.keys()


def test_ten_thousand_incidents(ready: Installed) -> None:
    """With 10,000 incidents the newest is the last, and history takes no four times as long."""
    ready.host.run(["systemctl", "stop", "podwatch"])
    ready.host.run(["python3", "-c", MANY_INCIDENTS.format(count=10_000)])
    ready.host.run(["systemctl", "start", "podwatch"])
    ready.until_whole()
    ready.host.nft("delete", "table", "inet", "netavark")
    ready.until(lambda: _history(ready, "-n", "1")[0]["verified"], "written")

    assert len(_history(ready, "-n", "0")) >= 10_000
    assert ready.host.run(["podwatch", "history"]).stdout.count("cause:") <= 100
    assert ready.host.run(["podwatch", "status"]).code == 0
    few = "mkdir -p /tmp/few; podwatch history --json -n 1 >/tmp/few/history.jsonl"
    ready.host.shell(few)
    timed = "s=$(date +%s%N); {} podwatch history >/dev/null; e=$(date +%s%N); echo $((e - s))"
    script = "; ".join([timed.format(""), timed.format("PODWATCH_STATE_DIR=/tmp/few")] * 5)
    took = [int(number) for number in ready.host.shell(script).stdout.split()]
    assert min(took[::2]) <= 4 * min(took[1::2]), took  # of five each: others test beside it


def test_a_pause_is_kept(ready: Installed) -> None:
    """While paused nothing is put back, over a restart too; resume and the time's end heal."""

    def status() -> str:
        return ready.host.run(["podwatch", "status"], check=False).stdout

    reloads = ready.reloads()
    ready.host.run(["podwatch", "pause", "--for", "10m", "--reason", "new switch"])
    ready.until(lambda: "new switch" in status(), "paused", 3)
    ready.host.nft("flush", "chain", "inet", "netavark", "FORWARD")
    damaged = ready.host.nft("list", "table", "inet", "netavark")
    ready.until(lambda: ready.status()["state"] == "lost", "lost")
    ready.host.run(["systemctl", "restart", "podwatch"])
    ready.until(lambda: "new switch" in status(), "paused again")

    ready.until(lambda: ready.status()["state"] == "lost", "lost still")
    assert ready.host.nft("list", "table", "inet", "netavark") == damaged
    assert "new switch" in ready.host.journal("podwatch")

    ready.host.run(["podwatch", "resume"])
    ready.until_whole(8)
    assert ready.reloads() == reloads  # the copy was not taken anew from the damaged table

    ready.host.run(["podwatch", "pause", "--for", "8s"])
    ready.until(lambda: "paused" in status(), "paused", 3)
    ready.host.nft("delete", "table", "inet", "netavark")
    ready.until_whole(8)
    assert "paused" not in status()
