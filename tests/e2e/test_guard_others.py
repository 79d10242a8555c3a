# SPDX-License-Identifier: Apache-2.0
"""Others' commands beside the guard: none that succeeds without it fails with it.

A table that nobody else may change is new to whoever changes all of them: nft, iptables, firewalld,
ufw, podman, Docker. And who saves the whole ruleset saves the guard with it.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.installed import Installed, installed
from tests.lab.client import HOST_V4
from tests.lab.containers import IMAGE
from tests.lab.docker import LOAD_IMAGE, install_docker

pytestmark = pytest.mark.e2e

FILE = "/etc/nftables.conf"
INCLUDED = "/etc/nftables.d/saved.nft"
ELSEWHERE = "/root/saved.nft"
AT_ONCE = 10
"""So many times the ruleset is saved and loaded in one line."""

THEIRS = (
    "table inet filter { chain input { type filter hook input priority 0; tcp dport 22 accept; }; }"
)
_RUN = "run --detach --name theirs --stop-signal KILL"
_WEB = f"{IMAGE} /busybox sh -c 'echo theirs >/index.html; exec /busybox httpd -f -p 80 -h /'"
_ASK = f"curl --silent --show-error --retry 5 --retry-connrefused --max-time 5 http://{HOST_V4}"

COMMANDS = {
    "iptables": (
        "iptables -N THEIRS",
        "iptables-save >/run/theirs",
        "iptables-restore </run/theirs",
        "iptables-restore --noflush </run/theirs",
        "ip6tables-save | ip6tables-restore",
        "iptables -F",
        "iptables -X THEIRS",
        "iptables -t nat -F",
        "iptables -t nat -N THEIRS",
        "iptables -t nat -X THEIRS",
        "iptables-legacy -t nat -L -n",
    ),
    "firewalld": (
        "firewall-cmd --add-port=8999/tcp",
        "firewall-cmd --reload",
        "firewall-cmd --complete-reload",
        "systemctl restart firewalld",
    ),
    "ufw": (
        "systemctl stop firewalld",
        "ufw --force enable",
        "ufw reload",
        "ufw disable",
        "systemctl start firewalld",
    ),
    "podman": (
        f"podman {_RUN} --publish 8088:80 {_WEB}",
        f"{_ASK}:8088/",
        "podman stop --time 0 theirs",
        "podman start theirs",
        "podman network reload theirs",
        f"{_ASK}:8088/",
        "podman rm --force --time 0 theirs",
        "podman network create theirs",
        "podman network rm theirs",
    ),
    "docker": (
        "systemctl start docker",
        LOAD_IMAGE,
        "docker network create theirs",
        f"docker {_RUN} --network theirs --publish 8089:80 {_WEB}",
        f"{_ASK}:8089/",
        "systemctl restart docker",
        "docker start theirs",
        "docker stop --time 0 theirs",
        "docker rm theirs",
        "docker network rm theirs",
        "systemctl stop docker.socket docker",
    ),
    "nft": (
        "nft list ruleset",
        "nft --json list ruleset",
        "nft flush ruleset",
        "nft flush ruleset inet",
        "systemctl restart nftables",
        "systemctl reload nftables",
        "systemctl stop nftables",
        "systemctl start nftables",
        "nft add table inet theirs",
        "nft delete table inet theirs",
        "systemctl restart firewalld",  # which nftables.service ends on Debian 12
    ),
}
"""What succeeds without a guard; each group leaves the host as it found it."""

AT_THE_GUARD = (
    "nft delete table {}",
    "nft flush table {}",
    "nft flush chain {} prerouting",
    "nft add rule {} prerouting tcp dport 1 accept",
    "nft add chain {} theirs",
    "nft add table {}",
)


@pytest.fixture(scope="module", params=("trixie", "forky", "bookworm"))
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """A host with podwatch and Debian's Docker installed, and the standard containers running."""
    with installed(request.param) as host:
        install_docker(host.host, request.param)
        yield host


def guards(there: Installed) -> list[str]:
    """The tables that are a guard by their name, "inet podwatch-guard-3f2a"."""
    tables = there.host.nft("list", "tables").splitlines()
    return [table.removeprefix("table ") for table in tables if "podwatch-guard" in table]


@contextmanager
def guarded(there: Installed, mode: str) -> Iterator[None]:
    """Run podwatch, started anew, with such a guard."""
    with there.configured(f'[restore]\nguard = "{mode}"\n'):
        there.start_anew()
        there.until(
            lambda: (
                there.status()["guard"]["mode"] == mode
                and guards(there) == ([guard_of(there)] if mode != "off" else [])
            ),
            f"with the guard {mode}",
        )
        yield


def guard_of(there: Installed) -> str:
    """The guard's table as podwatch tells it."""
    return f"inet {there.status()['guard']['table']}"


def is_at_rest(there: Installed) -> bool:
    """Whether nothing is missing, and firewalld has done what a start of it does."""
    code = there.host.run(["firewall-cmd", "--state"], check=False).code
    return code == 0 and there.status()["state"] == "ok"


def failed(there: Installed, groups: Collection[str], mode: str) -> str:
    """What of these groups of commands failed beside such a guard, which is there after each."""
    told = ""
    with guarded(there, mode):
        there.host.run(["systemctl", "reset-failed"])  # no start of the last run counts
        before = guards(there)
        for group in groups:
            for command in COMMANDS[group]:
                result = there.host.run(command, check=False, timeout=120)
                if result.code:
                    told += f"{command}\n{result.code}: {result.stderr}\n"
                assert guards(there) == before, command
            there.until(lambda: is_at_rest(there), "at rest")
        assert there.status()["guard"]["mode"] == mode
        assert [guard_of(there)] == before or mode == "off"
    return told


def test_what_succeeds_without_a_guard_does_with_it(there: Installed) -> None:
    """Every command of others ends with 0 without the guard, and with it, which stays.

    The anchor's table is no less podwatch's own: what changes tables by nft shows that.
    """
    assert failed(there, COMMANDS, "off") == ""
    assert failed(there, COMMANDS, "full") == ""
    assert failed(there, ["nft"], "anchor") == ""
    there.until_whole()


def test_what_aims_at_the_guard_is_refused(there: Installed) -> None:
    """Who is to change the guard itself is told that it is not permitted, and it stays."""
    with guarded(there, "full"):
        guard = guards(there)
        for command in AT_THE_GUARD:
            told = there.host.run(command.format(guard[0]), check=False)
            assert told.code == 1, command
            assert "Operation not permitted" in told.stderr
        assert guards(there) == guard


def save(there: Installed, path: str) -> str:
    """A command line that saves the ruleset, as one does to have it loaded at boot.

    Of Debian 12 without iptables' tables, which its nft prints in a way that it cannot read.
    """
    what = "ruleset inet" if there.host.suite == "bookworm" else "ruleset"
    return f"{{ echo flush ruleset; nft list {what} 2>/dev/null; }} > {path}"


@pytest.fixture(scope="module")
def theirs(there: Installed) -> None:
    """From here on there is no firewalld, but a filter table of the administrator's."""
    there.host.shell("systemctl stop firewalld; nft flush ruleset")
    there.host.run(["nft", THEIRS])
    there.until_whole()


def is_loaded(there: Installed) -> bool:
    """Whether the administrator's filter table is there, with its rule."""
    return "dport 22 accept" in there.host.nft("list", "table", "inet", "filter", check=False)


def saved_copy(there: Installed) -> str:
    """The file that podwatch tells has a copy of a guard."""
    return str(there.status()["guard"]["saved"])


@pytest.mark.parametrize("path", [FILE, INCLUDED])
@pytest.mark.usefixtures("theirs")
def test_a_saved_guard_lets_its_file_be_loaded(there: Installed, path: str) -> None:
    """The guard has another name by then: their filter table is loaded, no copy stays.

    Its status names the file, until the copy is taken out of it.
    """
    if path == INCLUDED:
        there.host.write(FILE, f'flush ruleset\ninclude "{INCLUDED.rpartition("/")[0]}/*.nft"\n')
        there.host.write(INCLUDED, "")
    with guarded(there, "full"):
        was = guard_of(there)
        there.host.run(save(there, path))
        assert was in there.host.read(path)
        there.until(lambda: was not in guards(there), "under another name")
        there.host.run(["systemctl", "restart", "nftables"])

        assert is_loaded(there)
        assert len(guards(there)) == 1
        there.until(lambda: guards(there) == [guard_of(there)], "told")
        assert saved_copy(there) == path
        assert f"a copy of the guard is saved in {path}" in there.host.run("podwatch status").stdout

        there.host.run(["sed", "-i", "/^table inet podwatch-guard/,/^}/d", path])
        there.until(lambda: not saved_copy(there), "no copy told")
        there.host.run(["systemctl", "reload", "nftables"])
        assert is_loaded(there)


@pytest.mark.parametrize("mode", ["anchor", "full"])
@pytest.mark.usefixtures("theirs")
def test_saved_and_loaded_in_one_line(there: Installed, mode: str) -> None:
    """What nftables.service loads as soon as it is saved is loaded: the guard is quicker."""
    with guarded(there, mode):
        for at in range(AT_ONCE):
            # More than five starts in ten seconds are too many for systemd.
            again = "systemctl reset-failed nftables; systemctl restart nftables"
            there.host.run(f"{save(there, FILE)} && {{ {again}; }}")
            assert is_loaded(there), at
            assert len(guards(there)) == 1


@pytest.mark.usefixtures("theirs")
def test_a_saved_guard_is_nobodys_at_boot(there: Installed) -> None:
    """Loaded before podwatch runs, the file leaves no guard behind, and podwatch makes its own."""
    with guarded(there, "full"):
        was = guard_of(there)
        there.host.run(save(there, FILE))
        there.host.run(["systemctl", "stop", "podwatch"])
        assert guards(there) == []
        there.host.run(["systemctl", "restart", "nftables"])

        assert is_loaded(there)
        assert guards(there) == []
        there.start_anew()
        there.until(lambda: guards(there) == [guard_of(there)] != [was], "a guard of its own")
        assert saved_copy(there) == FILE
        assert is_loaded(there)


@pytest.mark.usefixtures("theirs")
def test_a_copy_elsewhere_is_refused_until_the_name_is_another(there: Installed) -> None:
    """A file that podwatch does not read is not loaded, nothing of it, while it has the name."""
    with guarded(there, "full"):
        there.host.run(save(there, ELSEWHERE))
        told = there.host.run(["nft", "-f", ELSEWHERE], check=False)
        assert told.code == 1
        assert "Operation not permitted" in told.stderr
        assert is_loaded(there)  # as before: it is one transaction

        there.start_anew()
        there.host.run(["nft", "delete", "table", "inet", "filter"])
        there.host.run(["nft", "-f", ELSEWHERE])
        assert is_loaded(there)
        assert len(guards(there)) == 1
