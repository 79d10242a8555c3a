# SPDX-License-Identifier: Apache-2.0
"""Two users and root, each with the same networks: none is mixed up with another, nor believed."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.installed import Installed, on_one_suite
from tests.e2e.of_user import OfUser, booted, watched
from tests.lab.containers import Container, ContainerSet, Probe, web
from tests.lab.user_faults import kill_name_server, kill_uplink

pytestmark = pytest.mark.e2e


@dataclass
class Company:
    """One host, and who has containers there."""

    root: Installed
    first: OfUser
    second: OfUser

    def until_whole(self) -> None:
        """Wait until everything of each works."""
        for one in (self.root, self.first, self.second):
            one.until_whole(30)

    def users(self) -> str:
        """What root is told of the users' podwatch."""
        return self.root.host.run(["podwatch", "status", "--users"], check=False, timeout=20).stdout


@pytest.fixture(scope="module", params=("trixie", "forky"))
def there(request: pytest.FixtureRequest) -> Iterator[Company]:
    """Root and two users, with networks of the same names and subnets."""
    with booted(request.param) as host:
        # The users first: podman refuses a subnet that it sees on the host.
        users = watched(host, "u1", 8080), watched(host, "u2", 8180)
        for name, subnet in (("n1", "10.89.0.0/24"), ("north", "10.89.1.0/24")):
            host.podman("network", "create", f"--subnet={subnet}", name)
        web(host, "web1", networks=["n1"], publish=["8301:80"])
        web(host, "north", networks=["north"], publish=["8302:80"])
        described = [
            Container(name, "default", (Probe(name, "192.0.2.1", port),))
            for name, port in (("web1", 8301), ("north", 8302))
        ]
        root = Installed(host, ContainerSet(host, tuple(described)))
        company = Company(root, *users)
        company.until_whole()
        yield company


def test_each_heals_its_own(there: Company) -> None:
    """At once one loses the uplink, one aardvark-dns, root the rules: each history has its own."""
    lives = there.first.containers.lives(), there.second.containers.lives()
    before = [len(one.history()) for one in (there.root, there.first, there.second)]
    kill_uplink(there.first.containers)
    kill_name_server(there.second.containers)
    there.root.lose_the_table()
    there.until_whole()
    told = [
        [what for incident in one.history()[count:] for what in incident["missing"]]
        for one, count in zip((there.root, there.first, there.second), before, strict=True)
    ]
    assert [len(one) > 0 for one in told] == [True, True, True], told
    of_root, of_first, of_second = (" ".join(one) for one in told)
    assert "pasta" in of_first
    assert "aardvark-dns" not in of_first
    assert "aardvark-dns" in of_second
    assert "pasta" not in of_second
    assert "pasta" not in of_root
    assert "aardvark-dns" not in of_root
    assert (there.first.containers.lives(), there.second.containers.lives()) == lives


def test_root_is_told_what_each_user_says(there: Company) -> None:
    """By name and state, as a claim of theirs; root's own exit status is not touched by it."""
    told = there.users()
    assert "u1" in told
    assert "u2" in told
    there.first.user.run(["podwatch", "pause"])
    try:
        kill_name_server(there.first.containers)
        there.first.until(lambda: there.first.status()["state"] == "lost", "lost")
        line = next(line for line in there.users().splitlines() if "u1" in line)
        assert "lost" in line
    finally:
        there.first.user.run(["podwatch", "resume"])
    there.first.until_whole()
    assert there.root.check().code == 0


ATTACKS = {
    "a link to root's file": "ln -s /etc/shadow {0}",
    "a link to a device": "ln -s /dev/zero {0}",
    "a FIFO": "mkfifo {0}",
    "a directory": "mkdir {0}",
    "a huge file": "truncate -s 4G {0}",
    "garbage": "head -c 100000 /dev/urandom > {0}",
    "no object": "echo '[[[1, null]]]' > {0}",
    "escape sequences": (
        """printf '{{"version": 1, "state": "\\\\u001b[2J\\\\u0007ok", """
        """"heartbeat": "never", "pid": "x"}}' > {0}"""
    ),
    "deep nesting": "python3 -c 'print(\"[\" * 500000)' > {0}",
    "the directory is a link": "mv {1} {1}.own; ln -s /root {1}",
}


@pytest.fixture(scope="module")
def silent(there: Company) -> Iterator[OfUser]:
    """The second user, whose podwatch does not write."""
    there.second.systemctl("stop", "podwatch")
    yield there.second
    there.second.systemctl("start", "podwatch")
    there.second.until_whole()


@on_one_suite
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_document_of_a_user_is_believed_no_further(
    there: Company, silent: OfUser, attack: str
) -> None:
    """Whatever lies in its place: root's command ends, shows nothing secret, and tells the rest."""
    user = silent.user
    directory = f"{user.runtime}/podwatch"
    place = f"{directory}/status.json"
    try:
        user.shell(f"rm -rf {place}; {ATTACKS[attack].format(place, directory)}")
        told = there.users()
        assert "u1" in told
        assert "root:" not in told
        assert not any(ord(letter) < 32 and letter != "\n" for letter in told), repr(told)
        assert len(told) < 100_000
    finally:
        user.shell(
            f"[ ! -e {directory}.own ] || {{ rm {directory}; mv {directory}.own {directory}; }}; "
            f"rm -rf {place}"
        )
