# SPDX-License-Identifier: Apache-2.0
"""A user's network namespace from outside, without a right in the namespace podwatch is in.

The user here is `nobody`, and the namespaces are made as podman makes them: one for users, one for
mounts and one for the network, the latter with a file.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from podwatch.adapters import kernel, links, namespace, sysctl
from podwatch.adapters.libnftables import NftProgram
from podwatch.adapters.links import Orders
from podwatch.adapters.netlink import Change, NftablesWatch, generation, table_exists
from podwatch.adapters.paths import Rootless
from podwatch.adapters.user_namespaces import MemberWatch, find, member
from podwatch.daemon.rules import NftablesRules
from podwatch.words.errors import RestoreFailed
from podwatch.words.rules import Ruleset
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

NOBODY = 65534
LIMIT_S = 20.0
NETNS = "containers/networks/rootless-netns/rootless-netns"

INSIDE = """
set -e
mkdir -p "$(dirname "$1")" && : >"$1"
mount --bind /proc/self/ns/net "$1"
ip link set lo up
ip link add podman1 type bridge
ip addr add 10.89.0.1/24 dev podman1
echo ready
exec sleep 1000
"""


@contextmanager
def users_podman(directory: Path) -> Iterator[Rootless]:
    """A user's namespaces below this runtime directory, as that user sees them from outside."""
    directory.mkdir(parents=True)
    os.chown(directory, NOBODY, NOBODY)
    process = subprocess.Popen(
        [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("unshare", "--user", "--map-root-user", "--mount", "--net"),
            *("sh", "-c", INSIDE, "sh", str(directory / NETNS)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        pause = directory / "libpod/tmp/pause.pid"
        pause.parent.mkdir(parents=True)
        pause.write_text(str(process.pid))
        os.chown(pause, NOBODY, NOBODY)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
        yield Rootless(directory)
    finally:
        namespace.look_after(None)
        os.setresuid(0, 0, 0)
        process.kill()
        process.wait()


def entered(rootless: Rootless) -> namespace.Entered:
    """The namespace that its file leads to, looked after from now on."""
    pid = member(rootless)
    path, mounted = find(rootless, pid)
    found = namespace.Entered.through(pid, path)
    assert found.inode == mounted
    namespace.look_after(found)
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that other users reach."""
    path = Path(f"/tmp/podwatch-user-{os.getpid()}")
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@in_private_network
def test_what_is_inside_is_seen_and_changed_from_outside(directory: Path) -> None:
    """Links, rules and settings of a namespace are read and set without being in it."""
    with users_podman(directory) as rootless:
        entered(rootless)
        there = links.read()
        assert set(there.by_name) == {"lo", "podman1"}
        assert not there.by_name["podman1"].is_up
        with Orders() as orders:
            orders.set_up("podman1")
        assert links.read().by_name["podman1"].is_up
        assert kernel.is_link("podman1")
        assert set(links.read(namespace.Own()).by_name) == {"lo"}

        asyncio.run(
            NftProgram().apply("add table inet netavark\nadd chain inet netavark FORWARD\n")
        )
        assert table_exists("inet", "netavark")
        listed = asyncio.run(NftProgram().list_table("inet", "netavark"))
        assert "chain FORWARD" in listed
        assert generation() > 0

        path = "net/ipv4/conf/podman1/route_localnet"
        assert sysctl.read([path]) == {path: "0"}
        sysctl.write(path, "1")
        assert sysctl.read([path, "net/ipv4/conf/nothing/forwarding"]) == {path: "1"}


@in_private_network
def test_a_script_that_is_refused_says_why(directory: Path) -> None:
    """nft's own words come out of the namespace."""
    with users_podman(directory) as rootless:
        entered(rootless)
        with pytest.raises(RestoreFailed, match="syntax error"):
            asyncio.run(NftProgram().apply("add nonsense\n"))


@in_private_network
def test_changes_inside_are_heard_outside(directory: Path) -> None:
    """The kernel tells of a transaction in the namespace, and not of one beside it."""
    with users_podman(directory) as rootless:
        entered(rootless)
        heard: list[Change] = []
        watch = NftablesWatch(heard.append, lambda: None)
        watch.open()
        asyncio.run(NftProgram().apply("table inet t { }\n"))
        deadline = time.monotonic() + LIMIT_S
        while not heard and time.monotonic() < deadline:
            watch.drain()
        watch.close()
    assert [change.writer.name for change in heard] == ["nft"]


@in_private_network
def test_a_namespace_that_lost_its_file_gets_it_back(directory: Path) -> None:
    """An unmounted file is heard of at once, and the namespace that is kept is mounted again."""

    async def unmounted(rootless: Rootless, pid: int) -> None:
        told = asyncio.Event()
        watch = MemberWatch(told.set)
        watch.attach(asyncio.get_running_loop())
        watch.follow(pid)
        enter = ["nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials"]
        umount = ["umount", "--lazy", str(rootless.directory / NETNS)]
        await (await asyncio.create_subprocess_exec(*enter, *umount)).wait()
        await asyncio.wait_for(told.wait(), LIMIT_S)
        watch.close()

    with users_podman(directory) as rootless:
        there, pid = entered(rootless), member(rootless)
        asyncio.run(unmounted(rootless, pid))
        path, mounted = find(rootless, pid)
        assert mounted == 0
        there.bind(path)
        assert find(rootless, pid) == (path, there.inode)


@in_private_network
def test_nothing_of_podwatchs_keeps_a_namespace(directory: Path) -> None:
    """Once it is left, no descriptor leads to it any more."""
    with users_podman(directory) as rootless:
        there = entered(rootless)
        links.read()
        sysctl.read(["net/ipv4/ip_forward"])
        inode = there.inode
        before = set(os.listdir("/proc/self/fd"))
        namespace.look_after(None)
        after = set(os.listdir("/proc/self/fd"))
        assert len(after) < len(before)
        targets = [os.readlink(f"/proc/self/fd/{fd}") for fd in after if _is_open(fd)]
        assert f"net:[{inode}]" not in targets
        assert links.read().by_name == {}
        assert not table_exists("inet", "netavark")


@in_private_network
def test_a_process_that_is_in_no_namespace_is_no_member(directory: Path) -> None:
    """A pid file that names a process of the host leads nowhere."""
    with users_podman(directory) as rootless:
        rootless.pause.write_text(str(os.getpid()))
        assert member(rootless) == 0


def _is_open(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


@in_private_network
def test_a_rule_that_is_listed_is_of_the_namespace_it_is_in(directory: Path) -> None:
    """Two namespaces with the same number of transactions are not taken for one another."""
    rules = NftablesRules(NftProgram())

    def read() -> Ruleset:
        return asyncio.run(rules.read())

    with users_podman(directory / "one") as first:
        entered(first)
        asyncio.run(NftProgram().apply("add table inet netavark\n"))
        number = generation()
        assert read().present
    with users_podman(directory / "two") as second:
        entered(second)
        asyncio.run(NftProgram().apply("add table inet another\n"))
        assert generation() == number
        assert not read().present
