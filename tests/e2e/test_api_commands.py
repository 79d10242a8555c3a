# SPDX-License-Identifier: Apache-2.0
"""Commands about the host, typed by who is not root: what is permitted, how the rest is refused.

Joe is in the group whose members may, with their own password; Jim is nobody.
"""

import subprocess
from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.installed import Installed
from tests.lab.inside import Result
from tests.lab.terminal import at_terminal

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse"  # noqa: S105 - of a host that is thrown away
RULE = "/etc/polkit-1/rules.d/10-lab.rules"
_PERMIT = """
polkit.addRule(function(action, subject) {
    if (action.id.indexOf("org.podwatch1.re") === 0 && subject.user === "jim")
        return polkit.Result.YES;
});
"""
SECRET = "password=secret"  # noqa: S105 - the same
_BREAK = """
import nftables, sys
open("/proc/self/comm", "w").write("breaker")  # one of a name is found, in a host within a host
nftables.Nftables().cmd("delete table inet netavark")
sys.stdin.read()  # whoever asks finds it
"""
_OF_SOCKETS = ("host port", "container")
_PAUSE = "/run/podwatch/pause/pause.json"


@pytest.fixture(scope="module", autouse=True)
def people(there: Installed) -> None:
    """The two users, once."""
    there.host.shell(
        "id joe 2>/dev/null || useradd --create-home --groups sudo joe; id jim || useradd jim"
    )
    there.host.run(["chpasswd"], input=f"joe:{PASSWORD}\n")


@pytest.fixture(autouse=True)
def as_it_was(there: Installed) -> Iterator[None]:
    """However a test ends, podwatch runs afterwards, nothing is paused, and everything works."""
    yield
    there.host.shell(f"rm -f {RULE}; systemctl start podwatch; podwatch resume")
    there.until_whole(40)


def podwatch(there: Installed, who: str, *typed: str) -> Result:
    """A command of somebody without a session or a terminal, as under cron."""
    become = ["setpriv", f"--reuid={who}", f"--regid={who}", "--init-groups"]
    return there.host.run([*become, "env", "HOME=/", "podwatch", *typed], check=False)


def joe(there: Installed, typed: Sequence[str], password: str = PASSWORD) -> Result:
    """A command of Joe's at his terminal, who types the password when he is asked."""
    return at_terminal(there.host, "joe", ["podwatch", *typed], password)


@pytest.mark.parametrize(
    ("typed", "action"),
    [
        (("pause", "--host"), "pause"),
        (("resume", "--host"), "pause"),
        (("restore", "--host"), "restore"),
        (("restore", "--host", "--dry-run"), "restore"),
    ],
)
def test_where_nobody_can_be_asked_the_right_that_is_missing_is_named(
    there: Installed, typed: tuple[str, ...], action: str
) -> None:
    """Being in the group is not enough without a terminal; nothing is done, the exit code is 3."""
    told = podwatch(there, "joe", *typed)

    assert (told.stdout, told.code) == ("", 3)
    assert told.stderr.startswith(
        f"podwatch: {typed[0]} --host is not permitted to joe (polkit action "
        f"org.podwatch1.{action}): "
    )
    assert "nothing is there through which polkit could ask for a password" in told.stderr
    as_root = " ".join(word for word in typed if word != "--host")
    assert told.stderr.endswith(f"\n  → sudo podwatch {as_root}\n")
    assert not there.host.exists(_PAUSE)


def test_a_typed_password_pauses_and_resumes(there: Installed) -> None:
    """A table that is deleted meanwhile stays away until he resumes; nobody is asked for less."""
    told = joe(there, ["pause", "--host", "--for", "10m", "--reason", "rewiring"])

    assert told.code == 0, told
    assert "AUTHENTICATING FOR org.podwatch1.pause" in told.stdout
    assert "paused by joe until " in told.stdout
    assert there.host.exists(_PAUSE)
    there.lose_the_table()
    there.until(lambda: there.status()["missing_count"] > 0, "seen")
    said = podwatch(there, "jim", "status", "--host")
    assert said.code == 2
    assert "paused by joe" in said.stdout
    assert "table inet netavark" not in there.host.nft("list", "tables")
    told = joe(there, ["resume", "--host"])
    assert told.code == 0, told
    assert told.stdout.endswith("the pause has ended\n")
    there.until_whole()


def test_an_interrupt_ends_it(there: Installed) -> None:
    """Ctrl-C at the question: nothing is done, and he can ask again at once."""
    told = joe(there, ["resume", "--host"], "\x03")

    assert told.code == 130, told
    assert told.stdout.count("Password: ") == 1
    assert not there.host.shell("grep -lx pkttyagent /proc/[0-9]*/comm", check=False).stdout
    assert joe(there, ["resume", "--host"]).stdout.endswith("there is no pause\n")


def test_a_wrong_password_changes_nothing(there: Installed) -> None:
    """It is asked for once, as systemctl does; the command says that it was not permitted."""
    told = joe(there, ["pause", "--host"], "wrong")

    assert told.code == 3, told
    assert "podwatch: pause --host is not permitted to joe (polkit action " in told.stdout
    assert told.stdout.count("Password: ") == 1
    assert not there.host.exists(_PAUSE)
    assert there.status()["state"] == "ok"


def test_an_administrator_may_permit_it_to_others(there: Installed) -> None:
    """By a rule of polkit's: then nobody is asked, and what is missing comes back."""
    there.host.write(RULE, _PERMIT)
    there.until(lambda: podwatch(there, "jim", "restore", "--host", "--dry-run").code == 0, "known")
    for is_dry in (["--dry-run"], []):
        told = podwatch(there, "jim", "restore", "--host", "--stale", *is_dry)
        assert told.code == 0, told
        assert told.stdout.startswith("ok: nothing is missing that podwatch puts back")
        assert "nothing is left over" in told.stdout
    assert podwatch(there, "jim", "pause", "--host").code == 3


def test_anybody_is_told_the_ways_that_root_is_told(there: Installed) -> None:
    """The same words and exit code, healthy and broken, but for whose sockets listen."""
    name = there.containers.containers[0].name
    there.host.run(["podwatch", "pause"])
    for code in (0, 2):
        if code:
            there.lose_the_table()
        for target in ([], [name]):
            own = there.host.run(["podwatch", "explain", *target], check=False)
            told = podwatch(there, "jim", "explain", "--host", *target)
            assert (told.code, told.stderr) == (code, ""), told
            ways = own.stdout.partition("\nnote: ")[0].splitlines()
            assert told.stdout.splitlines() == [
                *(line for line in ways if not line[6:].startswith(_OF_SOCKETS)),
                f"({' '.join(['root sees whose sockets listen: sudo podwatch explain', *target])})",
            ]
    missing = podwatch(there, "jim", "explain", "--host", "nowhere")
    assert missing.code == 3
    assert "nowhere: there is no such container" in missing.stderr


def test_the_history_has_no_command_line_for_others(there: Installed) -> None:
    """Root's has what was typed, with its secret; Jim is told the rest."""
    before = len(there.history())
    argv = ["python3", "-X", SECRET, "-c", _BREAK]
    with there.host.popen(argv, stdin=subprocess.PIPE) as breaker:
        there.until(lambda: len(there.history()) > before, "seen")
        there.until(lambda: bool(there.history()[-1]["ended"]), "written down")
        breaker.communicate("")
    own = there.host.run(["podwatch", "history", "-n", "1"]).stdout
    assert SECRET in own
    told = podwatch(there, "jim", "history", "--host", "-n", "1")

    assert told.code == 0, told
    assert own.splitlines()[0].split(",")[0] in told.stdout
    assert "breaker (pid " in told.stdout
    assert SECRET not in told.stdout
    assert told.stdout.endswith("(root sees the commands: sudo podwatch history)\n")
    as_json = podwatch(there, "jim", "history", "--host", "--json")
    assert as_json.code == 0
    assert SECRET not in as_json.stdout


def test_a_service_that_does_not_run_is_not_started(there: Installed) -> None:
    """Whoever stopped it wanted that: it is a sentence, and root can still pause by the file."""
    there.host.run(["systemctl", "stop", "podwatch"])
    told = podwatch(there, "joe", "pause", "--host")

    assert told.code == 3
    assert told.stderr == (
        "podwatch: podwatch.service does not run, and only root does without\n"
        "  → systemctl status podwatch\n"
    )
    assert there.host.unit_state("podwatch") == "inactive"
    assert there.host.run(["podwatch", "pause"]).code == 0


def test_who_has_no_containers_is_told_of_roots(there: Installed) -> None:
    """At a terminal, where his runtime directory is known: nothing is done, and nothing guessed."""
    told = joe(there, ["pause"])

    assert told.code == 3
    assert "podman has kept nothing of yours" in told.stdout
    assert "→ podwatch pause --host\n" in told.stdout
