# SPDX-License-Identifier: Apache-2.0
"""The saved copy: as fast as can be, exact in a fight, and free of cost on a quiet host."""

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench import idle
from tests.bench.outages import FAULTS, LIMIT, PODWATCH, Bench, installed_on
from tests.e2e.installed import Installed, on_one_suite
from tests.lab.client import HOST_V4
from tests.lab.containers import Probe, web
from tests.lab.host import Host
from tests.lab.machine import until

pytestmark = pytest.mark.e2e

MIN_RUNS = 2
MAX_RUNS = 5
"""So many pairs are measured if the first ones do not show it: the machine may be busy."""
MEDIAN_OF = 3
TIMES = 3
"""Half of podwatch's time is Python's, most of the limit's is the kernel's, and machines differ in
how much of the one they do in the time of the other: 1.1 to 2.1 were seen of the same podwatch."""

DEFAULT_SUBNET = "10.88.0.0/16"


def _rest() -> None:
    """Wait until the machine has come to rest from what was before, for a minute at the most."""

    def is_busy() -> bool:
        before = _cpu_times()
        time.sleep(0.5)  # the length of the observation
        spent = [late - early for early, late in zip(before, _cpu_times(), strict=True)]
        return spent[3] < 0.8 * sum(spent)  # proc_stat(5): the fourth is idle

    until(lambda: not is_busy(), 60)


def _cpu_times() -> list[int]:
    line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    return [int(number) for number in line.split()[1:]]


@pytest.fixture(scope="module", params=["trixie", "forky"])
def hundred(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A host with 100 published containers; podwatch is installed and started when measured."""
    with Host(str(request.param)) as host:
        bench = installed_on(host)
        bench.grow(100)
        yield bench


@pytest.mark.alone
@pytest.mark.timeout(1200)
def test_an_outage_is_at_most_thrice_the_shortest_possible(hundred: Bench) -> None:
    """With 100 containers podwatch needs at most thrice as long as `nft -f` run at once.

    The best of a few each: whatever else the machine does only adds to a time, and adds more to
    podwatch, which listens, looks and repairs, than to a single command. `make bench` has the rest.
    """
    for fault in FAULTS[: 3 if hundred.host.suite == "trixie" else 1]:  # three ways to lose all
        _rest()
        ours: list[float] = []
        limit: list[float] = []
        while len(ours) < MIN_RUNS or (len(ours) < MAX_RUNS and min(ours) > TIMES * min(limit)):
            ours.append(hundred.measure(fault, PODWATCH).port_ms)
            limit.append(hundred.measure(fault, LIMIT).port_ms)
        assert min(ours) <= TIMES * min(limit), (fault.name, ours, limit)

    units = "journalctl --no-pager --quiet _PID=1 | grep -c 'Starting podwatch-reload@'"
    assert hundred.host.shell(units, check=False).stdout.strip() == "0"


@pytest.mark.alone
def test_the_way_out_is_back_right_after_firewalld_lets_it(hundred: Bench) -> None:
    """After firewalld drops everything podwatch takes at most thrice as long as one call takes.

    The call is that of a process which waits for the end of the drop window, looks at nothing, and
    knows beforehand which source is lost: nobody can be faster.
    """
    ours: list[float] = []
    limit: list[float] = []
    while len(ours) < MEDIAN_OF or (
        len(ours) < MAX_RUNS * MEDIAN_OF and not _at_most_thrice(ours, limit)
    ):
        if len(ours) % MEDIAN_OF == 0:
            _rest()
        limit.append(_late(hundred, trusts=True))
        hundred.start()
        ours.append(_late(hundred, trusts=False))
        hundred.host.run(["systemctl", "stop", "podwatch"])

    # By medians, as what firewalld does meanwhile varies. Where the machine was busy with something
    # else, the next ones tell.
    assert _at_most_thrice(ours, limit), (ours, limit)


def _at_most_thrice(ours: list[float], limit: list[float]) -> bool:
    last = slice(-MEDIAN_OF, None)
    return statistics.median(ours[last]) <= TIMES * statistics.median(limit[last])


def _late(bench: Bench, *, trusts: bool) -> float:
    """Seconds from the end of a reload's drop window until a container gets out again.

    With `trusts` it is brought there by the one call alone.
    """
    host, last = bench.host, bench.containers.containers[-1].name
    with (
        _end_of_drop_window(host, trusts=trusts) as ended,
        host.watch_egress(last, 0.005) as egress,
    ):
        host.run(["firewall-cmd", "--reload"])
        host.until_egress(last)
        window = float(ended())
    (seen,) = egress.reports.values()
    return seen.longest_from - window + seen.longest_ms / 1000


_WINDOW = """
import asyncio, sys, time
from podwatch.adapters.firewalld import FirewalldWatch
from podwatch.adapters.netlink import NftablesWatch
async def main(subnets):
    firewalld, calls, stopped = FirewalldWatch(), [], asyncio.Event()
    await firewalld.read()
    def seen(change):
        if "inet firewalld_policy_drop" in change.deleted:
            print(time.monotonic(), flush=True)
            calls.extend(asyncio.ensure_future(firewalld.trust(each)) for each in subnets)
    watch = NftablesWatch(seen, lambda: None)
    loop = asyncio.get_running_loop()
    watch.attach(loop)
    loop.add_reader(sys.stdin, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
asyncio.run(main(sys.argv[1:]))
"""


@contextmanager
def _end_of_drop_window(host: Host, *, trusts: bool) -> Iterator[Callable[[], str]]:
    enter = ["nsenter", f"--target={host.leader}", "--all", "env", "-i"]
    command = [*enter, "/usr/bin/python3", "-c", _WINDOW, *[DEFAULT_SUBNET] * trusts]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.stdout.readline
        finally:
            process.stdin.close()  # which ends it


_CHURN = """
end=$(($(date +%s) + 30))
while [ $(date +%s) -lt $end ]; do
    podman stop -t 0 churned >/dev/null
    podman start churned && podman restart -t 0 churned
done 2>/dev/null &
while [ $(date +%s) -lt $end ]; do nft flush ruleset; sleep 0.3; done
wait
podman start churned
"""


@on_one_suite
def test_a_container_that_comes_and_goes_during_a_fight(there: Installed) -> None:
    """After 30 s of starts, stops and flushes all is right, nothing is left, nothing is twice."""
    web(there.host, "churned", publish=["8190:80"])
    started = there.host.shell(_CHURN, check=False, timeout=150).stdout.count("churned")
    churned = Probe("churned", HOST_V4, 8190)
    there.until(lambda: churned.ask(there.host.client) is None, "the churned one answering", 60)
    assert started >= 5
    there.host.podman("rm", "--force", "--time=0", "churned")
    there.until(lambda: not there.containers.probe_all(), "answering", 60)
    there.until(lambda: not there.status()["missing"], "whole", 60)

    listing = there.host.nft("list", "table", "inet", "netavark")
    assert "8190" not in listing
    chain, seen = "", set()
    for line in map(str.strip, listing.splitlines()):
        chain = line if line.startswith("chain ") else chain
        assert line in ("", "}") or (chain, line) not in seen, (chain, line)
        seen.add((chain, line))


def test_an_idle_daemon_costs_nothing(there: Installed) -> None:
    """On a quiet host podwatch sleeps, starts no processes, and keeps to 40 MB."""
    there.host.run(["systemctl", "restart", "podwatch"])
    there.until_whole()
    time.sleep(10)  # until podman has been asked for names and everything has come to rest
    cursor = there.host.journal_cursor()
    # Bridges tell of their ports now and then by themselves: their multicast queries end.
    listens = "timeout 40 ip -o monitor link >/run/heard.links"
    there.host.shell(f"systemd-run --quiet --unit=heard-links sh -c '{listens}'")
    cost = idle.idle(there.host, 30)
    heard = len(there.host.read("/run/heard.links").splitlines())
    there.host.shell("systemctl stop heard-links", check=False)

    assert cost["wakeups"] <= 3 + heard, (cost, heard)  # the heartbeat's and at most one look's
    assert (cost["children"], cost["ended"]) == (0, 0)
    units = [str(entry.get("UNIT")) for entry in there.host.journal_json(since_cursor=cursor)]
    assert not [unit for unit in units if unit.startswith("podwatch-")]
    assert cost["rss_mib"] <= 40e6 / 2**20, cost
