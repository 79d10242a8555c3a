# SPDX-License-Identifier: Apache-2.0
"""A full guard goes in step with netavark: it takes no port for a container that has gone.

A client asks each port every 10 ms. Once podman is through with a container's end its port is
refused, or answered by whoever listens there then: what a guard that is late sends to the dead
address would have no answer.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.e2e.churn import NOBODY, THE_HOST, Lane, listening, told, wrong
from tests.e2e.installed import CONFIG, Installed, built_package
from tests.lab.asking import Asking
from tests.lab.containers import ContainerSet, import_image
from tests.lab.host import Host

pytestmark = pytest.mark.e2e

PORTS = range(8901, 8905)
EVENTS = {"trixie": 140, "forky": 60}
KILLS = {"trixie": 30, "forky": 20}
GUARD = "podwatch-guard-"
FULL = '[restore]\nguard = "full"\n'
STATE = "/run/containers/networks/firewall"


@pytest.fixture(scope="module", params=EVENTS)
def there(request: pytest.FixtureRequest) -> Iterator[Installed]:
    """A host with a full guard; that of forky has no firewalld."""
    firewalld = request.param == "trixie"
    with Host(request.param, firewalld=firewalld) as host, ExitStack() as stack:
        host.install(built_package())
        import_image(host)
        if firewalld:
            host.run(["firewall-cmd", f"--add-port={PORTS[0]}-{PORTS[-1]}/tcp"])
        there = Installed(host, ContainerSet(host))
        stack.enter_context(there.configured(FULL))
        yield there


@pytest.fixture
def lane(there: Installed) -> Iterator[Lane]:
    """A lane with a container whose port the guard holds."""
    lane = lanes(there, PORTS[:1], 1)[0]
    lane.begin()
    there.until(lambda: holds(there, lane.port), "held")
    yield lane
    there.until(lambda: cleared(there), "cleared")


def cleared(there: Installed) -> bool:
    """Whether all containers could be removed: that fails once where conmon was killed.

    netavark leaves the state of those whose rules are lost.
    """
    remove = f"podman rm -af -t0 && rm -f {STATE}/ports/*"
    return there.host.run(remove, check=False).code == 0


def lanes(there: Installed, ports: Iterable[int], seed: int) -> list[Lane]:
    """A lane for each port."""
    chances = (random.Random(f"{seed} {port}") for port in ports)  # noqa: S311 - no secret
    return [Lane(there, port, chance) for port, chance in zip(ports, chances, strict=True)]


def guards(there: Installed) -> list[str]:
    """The names of the guards' tables that there are."""
    lines = there.host.nft("list", "tables").splitlines()
    return [line.split()[-1] for line in lines if GUARD in line]


def holds(there: Installed, port: int) -> bool:
    """Whether a guard has a port."""
    run = there.host.run
    listed = [run(["nft", "list", "table", "inet", name], check=False) for name in guards(there)]
    return any(f"tcp . {port} : " in listing.stdout for listing in listed)


def heard_wrong(asking: Asking, churned: list[Lane]) -> list[str]:
    """What was wrong in all these lanes; prints what was heard."""
    spells = [spell for lane in churned for spell in lane.spells]
    print(told(spells, asking.exchanges))
    remarks = [remark for lane in churned for remark in lane.remarks]
    return [*remarks, *wrong(spells, asking.exchanges)]


def test_ports_follow_their_containers(there: Installed) -> None:
    """Who has gone is sent nothing, the host has its port at once, and who has come is held."""
    churned = lanes(there, PORTS, 15)
    for lane in churned:
        lane.held = lambda port: holds(there, port)
    events = EVENTS[there.host.suite] // len(PORTS)
    with Asking(there.host.client, PORTS) as asking, ThreadPoolExecutor(len(PORTS)) as pool:
        list(pool.map(lambda lane: lane.run(events), churned))
    assert heard_wrong(asking, churned) == []


def test_a_port_of_the_dead_is_the_hosts(there: Installed, lane: Lane) -> None:
    """Who died without a teardown keeps its state: when its rules are lost, the host has the port.

    podwatch does not put the rules of the dead back, and the guard let go when the process ended.
    """
    there.start_anew()  # podman is asked anew, and knows the container's process by now
    there.until(lambda: "listed" in there.status()["last_look"]["cause"], "listed")
    with Asking(there.host.client, [lane.port]) as asking:
        lane.happen("death", lane.crash_with_conmon, NOBODY)
        there.until(lambda: not holds(there, lane.port), "let go")
        with listening(there, lane.port) as service:
            looks = there.status()["counters"]["looks"]
            lane.happen("loss", there.lose_the_table, f"={THE_HOST}")
            there.until(lambda: there.status()["counters"]["looks"] > looks, "seen")
            asking.until_asked(50)
            lane.over()
            service.serve_more()
    assert not holds(there, lane.port)
    assert heard_wrong(asking, [lane]) == []
    assert not any(exchange.heard == "silent" for exchange in asking.exchanges)


def test_killed_at_any_moment(there: Installed) -> None:
    """A podwatch that is killed leaves no guard behind, and no port to who has gone."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - no secret
    lane, stays = lanes(there, PORTS[:2], seed)
    stays.begin()
    left: list[str] = []
    with Asking(there.host.client, [lane.port]) as asking, ThreadPoolExecutor(1) as pool:
        for number in range(KILLS[there.host.suite]):
            if chance.random() < 0.8:
                there.until(lambda: bool(guards(there)), "guarded")
            happening = pool.submit(step(there, lane, chance))
            time.sleep(chance.uniform(0, 1.0))  # the moment is what varies
            left += [f"kill {number}: {name}" for name in left_by_a_kill(there)]
            happening.result()
            if lane.is_lost:
                there.until(lambda: there.check().code == 0, "whole")
                lane.until_answering()
        lane.clear()
    there.until(lambda: holds(there, stays.port), "held")
    stays.clear()
    assert left == []
    assert heard_wrong(asking, [lane]) == []


def step(there: Installed, lane: Lane, chance: random.Random) -> Callable[[], None]:
    """What happens to the lane next."""

    def lose() -> None:
        lane.happen("loss", there.lose_the_table, "")
        lane.is_lost = True

    def end() -> None:
        lane.end()
        if chance.random() < 0.5:
            lane.listen()

    if not lane.name:
        return lane.begin
    return lose if chance.random() < 0.3 else end


def left_by_a_kill(there: Installed) -> list[str]:
    """Kill podwatch; the guards that are there although their owner has ended."""
    pid, before = there.main_pid(), set(guards(there))
    there.host.run(f"kill -KILL {pid}")
    process = there.host.root / "proc" / pid
    there.until(lambda: not process.exists(), "ended")
    left = before & set(guards(there))
    there.until_another(pid)
    return sorted(left)


ENDS = {
    "stopped": ("systemctl stop podwatch", "systemctl start podwatch"),
    "paused": ("podwatch pause", "podwatch resume"),
    "a refused configuration": (
        f"echo 'nonsense = 1' >> {CONFIG}; systemctl reload podwatch",
        f"sed -i '/nonsense/d' {CONFIG}; systemctl reload podwatch",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_ends_when_podwatch_rests(there: Installed, lane: Lane, end: str) -> None:
    """Where podwatch must not repair, there is no guard; when it may again, the port is held."""
    begin, finish = ENDS[end]
    there.host.run(begin)
    there.until(lambda: not guards(there), "gone")
    assert there.host.client.http(lane.port) == lane.name
    there.host.run(finish)
    there.until(lambda: holds(there, lane.port), "held again")


def test_no_state_no_ports(there: Installed, lane: Lane) -> None:
    """Without netavark's state no port is held: at once, and not after half a minute."""
    there.host.run(["mv", STATE, f"{STATE}.away"])
    there.until(lambda: not holds(there, lane.port), "let go")
    there.until(lambda: there.status()["guard"]["ports"] == 0, "told")
    assert len(guards(there)) == 1
    there.host.run(["mv", f"{STATE}.away", STATE])
    there.until(lambda: holds(there, lane.port), "held again")
