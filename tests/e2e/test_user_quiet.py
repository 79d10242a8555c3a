# SPDX-License-Identifier: Apache-2.0
"""A user whose containers come and go: nothing is told, nothing is done, and nothing is held."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.bench.idle import usage
from tests.e2e.of_user import OfUser, booted, watched
from tests.lab.containers import IMAGE, web
from tests.lab.machine import until
from tests.lab.user import User

pytestmark = pytest.mark.e2e

MIB = 1024
_CHURN = f"""
serve='/busybox httpd -f -p 80'
for i in $(seq 6); do
    podman run --quiet -d --name n$i --stop-signal KILL --network n1 -p $((9000 + i)):80 \\
        {IMAGE} $serve
    podman run --quiet -d --name p$i --stop-signal KILL -p $((9100 + i)):80 {IMAGE} $serve
    podman pod create --name o$i --network n1 -p $((9200 + i)):80
    podman run --quiet -d --pod o$i --name i$i --stop-signal KILL {IMAGE} $serve
    podman network create m$i; podman run --quiet --rm --network m$i {IMAGE} /busybox true
    podman restart -t 0 n$i; podman kill p$i; podman start p$i; podman stop -t 0 n$i
    podman pod rm -f o$i; podman rm -f n$i p$i; podman network rm m$i
done
"""


@pytest.fixture(scope="module", params=("trixie", "forky"))
def there(request: pytest.FixtureRequest) -> Iterator[OfUser]:
    """A user whose containers podwatch watches, on a host with firewalld at hand."""
    with booted(request.param) as host:
        yield watched(host)


@contextmanager
def nothing_invented(there: OfUser, *, restarted: bool = False) -> Iterator[None]:
    """After the block nothing was told as lost, nothing restored, and no relay is there twice."""
    before, relays, netns = there.status()["counters"], there.user.relays(), there.user.netns()
    lives, written = there.containers.lives(), len(there.written())
    yield
    there.until_whole(30)
    assert there.written()[written:] == []
    after = there.status()["counters"]
    counted = ("incidents", "restored", "failed")
    assert [after[name] for name in counted] == [before[name] for name in counted]
    assert there.user.relays() == relays
    if not restarted:
        assert there.user.netns() == netns
        assert there.containers.lives() == lives


def test_churn_is_no_loss(there: OfUser) -> None:
    """30 containers and pods started, restarted, killed, stopped and removed, with networks."""
    with nothing_invented(there):
        there.user.shell(_CHURN, timeout=240)


def test_the_end_of_the_pause_process_is_no_loss(there: OfUser) -> None:
    """Nothing needs it: podman starts another one when it is asked next."""
    with nothing_invented(there):
        before = there.user.pause()
        there.user.kill(before)
        there.user.podman("ps")
        assert there.user.pause() != before


def test_sessions_that_come_and_go_are_no_loss(there: OfUser) -> None:
    """Each with its podman, as by ssh."""
    with nothing_invented(there):
        for _ in range(3):
            assert "web1" in there.user.session("podman ps --format '{{.Names}}'")


def test_a_reload_of_the_hosts_firewalld_is_no_loss(there: OfUser) -> None:
    """The host's rules are not the user's: theirs are as they were."""
    ports = " ".join(f"--add-port={port}/tcp" for port in there.containers.ports.values())
    with nothing_invented(there):
        there.host.run(f"systemctl start firewalld; firewall-cmd --permanent {ports}")
        there.host.run(["firewall-cmd", "--reload"])
        there.until_whole()
        there.host.run(["systemctl", "stop", "firewalld"])


def test_migrate_is_no_loss(there: OfUser) -> None:
    """`podman system migrate` stops all: no relay is put back, and what starts then is whole."""
    with nothing_invented(there, restarted=True):
        there.user.podman("system", "migrate", timeout=120)
        there.until(lambda: there.status()["state"] == "ok", "ok", 30)
        assert there.user.relays()["rootlessport"] == 0
        there.user.podman("pod", "start", "pod")
        there.user.podman("start", "--all")
        there.containers.look()


def _rests(there: OfUser) -> bool:
    """Whether no child of podwatch's has ended for as long as two looks at it take."""
    before = usage(there.host, there.status_file)
    time.sleep(2)  # a child of the first look lives for less
    after = usage(there.host, there.status_file)
    return (before.ended, before.children) == (after.ended, 0)


def test_idle_it_costs_nothing(there: OfUser) -> None:
    """All its processes together have less than 32 MiB, it starts none and wakes up seldom."""
    there.start_anew()
    there.until_whole()
    there.until(lambda: _rests(there), "at rest")
    first = usage(there.host, there.status_file)
    began = time.monotonic()
    time.sleep(15)  # the length of the observation
    last = usage(there.host, there.status_file)
    minutes = (time.monotonic() - began) / 60
    assert last.ended == first.ended
    assert (last.wakeups - first.wakeups) / minutes < 60
    group = (
        f"/sys/fs/cgroup{there.systemctl('show', '--property=ControlGroup', '--value', 'podwatch')}"
    )
    pids = there.host.shell(f"find {group} -name cgroup.procs -exec cat {{}} +").stdout.split()
    maps = " ".join(f"/proc/{pid}/smaps_rollup" for pid in pids)
    shares = there.host.shell(f"sed -n 's/^Pss: *//p' {maps}").stdout.splitlines()
    assert sum(int(share.split()[0]) for share in shares) < 32 * MIB


@pytest.mark.parametrize("runs", [True, False])
def test_podman_needs_no_podwatch_and_is_not_disturbed(there: OfUser, *, runs: bool) -> None:
    """`podman unshare --rootless-netns` and `rm -af` do the same with podwatch and without."""
    there.systemctl("start" if runs else "stop", "podwatch")
    written = there.written()
    netns = there.user.netns()
    seen = there.user.podman("unshare", "--rootless-netns", "readlink", "/proc/self/ns/net")
    assert seen == netns
    assert there.containers.closed() == set()
    there.user.podman("rm", "--all", "--force", "--time=0", timeout=90)
    there.user.podman("network", "prune", "--force")
    assert until(lambda: not any(there.user.relays().values()), 30), there.user.relays()
    assert there.user.netns() == ""
    held = [process for process in there.user.processes() if process.netns == netns]
    assert held == []
    there.start_containers()
    there.systemctl("start", "podwatch")
    there.until_whole()
    assert there.written() == written


def test_the_end_of_a_session_ends_everything(there: OfUser) -> None:
    """Without linger: warned beforehand, then nothing is left, with podwatch as without it."""
    users = [_briefly(there, "watched", 8190), _briefly(there, "unwatched", 8191)]
    first = users[0]
    first.run([*first.systemctl, "enable", "--now", "podwatch.service"])
    status = ["podwatch", "status", "--all"]
    there.until(lambda: "linger" in first.run(status, check=False).stdout, "warned")
    cursor = there.host.journal_cursor()
    there.host.run(["systemctl", "stop", *(f"user@{user.uid}" for user in users)], timeout=100)
    for user in users:
        assert until(partial(_has_gone, user), 20), user.processes()
    told = there.host.journal(since_cursor=cursor)
    assert "podwatch.service: Failed with result" not in told, told
    assert "podwatch.service: State 'stop-sigterm' timed out" not in told, told


def _has_gone(user: User) -> bool:
    return not user.processes() and not user.host.exists(user.runtime)


def _briefly(there: OfUser, name: str, port: int) -> User:
    """A user without linger and with a container on a bridge."""
    user = User(there.host, name, linger=False)
    there.host.run(["systemctl", "start", f"user@{user.uid}"])
    user.podman("network", "create", "n1")
    web(user, "web", networks=["n1"], publish=[f"{port}:80"])
    return user
