# SPDX-License-Identifier: Apache-2.0
"""Relays: which have to run for which containers, what is lost, and what can be started again."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from podwatch.decide.decision import Limits, Memory
from podwatch.decide.policy import BEYOND, step
from podwatch.decide.relays import missing_relays
from podwatch.words.means import Method
from podwatch.words.netns import START_ANEW
from podwatch.words.network import (
    Container,
    ContainerState,
    FirewallDriver,
    PortMapping,
    Setup,
)
from podwatch.words.relays import UPLINK, Duty, Relay, RelayKind, Relays, Role
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Blocked, BlockedKind, Missing, MissingKind, State, Verdict

NETNS = "/run/user/1000/containers/networks/rootless-netns/rootless-netns"
HTTP = (PortMapping(8082, 80, "tcp"),)

WEB1 = Container(
    "a" * 64,
    "web1",
    networks=("n1",),
    pid=277,
    netns="4026533088",
    mode="bridge",
    sandbox="/run/user/1000/netns/netns-1",
    conmon=275,
    ports=HTTP,
)
WEB = Container(
    "b" * 64,
    "web",
    pid=326,
    netns="4026533390",
    mode="pasta:-T,5000",
    sandbox="/run/user/1000/netns/netns-2",
    conmon=324,
    ports=(PortMapping(8081, 80, "tcp"),),
)
SLIRP = Container(
    "c" * 64,
    "slirp",
    pid=489,
    netns="4026533558",
    mode="slirp4netns",
    sandbox="/run/user/1000/netns/netns-3",
    conmon=487,
    ports=(PortMapping(8085, 80, "tcp"),),
)

PASTA = ("/usr/bin/pasta", "--config-net", "--quiet", "--netns")
FOR_ALL = Relay(RelayKind.PASTA, 247, 1, "/usr/bin/pasta.avx2", (*PASTA, NETNS), NETNS)
FOR_WEB = Relay(RelayKind.PASTA, 320, 2, "/usr/bin/pasta.avx2", (*PASTA, WEB.sandbox), WEB.sandbox)
FOR_WEB1 = Relay(
    RelayKind.PORTS,
    261,
    3,
    "/usr/libexec/podman/rootlessport",
    ("rootlessport",),
    netns=4026533088,
    child=267,
    end_pipe=37312281,
)
FOR_SLIRP = Relay(
    RelayKind.SLIRP,
    471,
    4,
    "/usr/bin/slirp4netns",
    ("/usr/bin/slirp4netns", "-c", "-e", "4", "--netns-type=path", SLIRP.sandbox, "tap0"),
    SLIRP.sandbox,
    end_pipe=37313999,
)
PORTS_OF_SLIRP = replace(FOR_WEB1, pid=473, netns=4026533558, child=479, end_pipe=37314000)
ALL = (FOR_ALL, FOR_WEB, FOR_WEB1, FOR_SLIRP, PORTS_OF_SLIRP)
HEALTHY = {
    UPLINK: FOR_ALL,
    Duty(Role.WAY, WEB.id): FOR_WEB,
    Duty(Role.PORTS, WEB1.id): FOR_WEB1,
    Duty(Role.WAY, SLIRP.id): FOR_SLIRP,
    Duty(Role.PORTS, SLIRP.id): PORTS_OF_SLIRP,
}


def lost(
    running: tuple[Relay, ...],
    *containers: Container,
    healthy: Mapping[Duty, Relay] = HEALTHY,
    netns_file: str = NETNS,
    taken: frozenset[tuple[str, int]] | None = None,
) -> list[Missing]:
    """What is lost where these relays run, by default with all three containers."""
    found = containers or (WEB1, WEB, SLIRP)
    snapshot = Snapshot(
        None,
        None,
        None,
        containers={container.id: container for container in found},
        relays=Relays(running, healthy, netns_file, taken),
    )
    return list(missing_relays(Setup(FirewallDriver.UNKNOWN), snapshot))


def without(*gone: Relay) -> tuple[Relay, ...]:
    """All relays but these."""
    return tuple(relay for relay in ALL if relay not in gone)


def test_nothing_is_lost_while_every_relay_runs() -> None:
    """The uplink, the ways of containers without a bridge, and who listens for their ports."""
    assert lost(ALL) == []


def test_nobody_looks_on_a_host_of_root() -> None:
    """Where no relays were looked for none is missed."""
    snapshot = Snapshot(None, None, None, containers={WEB1.id: WEB1})
    assert list(missing_relays(Setup(FirewallDriver.UNKNOWN), snapshot)) == []


def test_the_uplink_is_lost_for_all_on_bridges() -> None:
    """It is one loss, of all containers that are up on a bridge, and can be put right."""
    other = replace(WEB1, id="d" * 64, name="web2", ports=(), netns="4026533089")
    (loss,) = lost(without(FOR_ALL), WEB1, WEB, other, SLIRP)
    assert (loss.kind, loss.reloadable, loss.place) == (MissingKind.UPLINK, True, "uplink:")
    assert loss.container_ids == (WEB1.id, other.id)
    assert loss.what == (
        "pasta of the user's network does not run: web1, web2 reach nothing outside"
    )


def test_without_a_bridge_there_is_no_uplink() -> None:
    """podman takes it away with the last container on a bridge."""
    assert lost(without(FOR_ALL, FOR_WEB1), WEB, SLIRP) == []
    assert lost(without(FOR_ALL), replace(WEB1, ports=()), netns_file="") == []


def test_a_container_without_a_bridge_has_a_relay_of_its_own() -> None:
    """With pasta or slirp4netns ended nothing goes in or out of it."""
    way, slirp = lost(without(FOR_WEB, FOR_SLIRP))
    assert [way.kind, way.container, way.reloadable] == [MissingKind.RELAY, "web", True]
    assert way.what == "web: its pasta does not run: nothing goes in or out"
    assert slirp.what == "slirp: its slirp4netns does not run: nothing goes in or out"
    assert slirp.container_ids == (SLIRP.id,)


def test_somebody_has_to_listen_for_what_is_published() -> None:
    """rootlessport does, on a bridge and with slirp4netns; pasta does it by itself."""
    first, second = lost(without(FOR_WEB1, PORTS_OF_SLIRP))
    assert (first.kind, first.place) == (MissingKind.PORT_RELAY, f"ports:{WEB1.id}")
    assert first.what == "web1: rootlessport does not run: nobody listens on 8082/tcp"
    assert second.container == "slirp"


def test_half_a_rootlessport_takes_packets_nowhere() -> None:
    """A parent without its child listens, and that is all."""
    half = replace(FOR_WEB1, child=0)
    (loss,) = lost((*without(FOR_WEB1), half))
    assert loss.what == (
        "web1: rootlessport (pid 261) has lost its second half, and takes what comes to "
        "8082/tcp nowhere"
    )
    assert (loss.value, loss.reloadable) == ("child", True)


@pytest.mark.parametrize(
    "state", [ContainerState.JUST_ENDED, ContainerState.ENDED, ContainerState.PRESUMED]
)
def test_who_is_not_up_needs_no_relay(state: ContainerState) -> None:
    """podman ends a container's relays with it, and starts them before it calls it up."""
    gone = [replace(container, state=state) for container in (WEB1, WEB, SLIRP)]
    assert lost((), *gone) == []


def test_a_paused_container_needs_its_relays() -> None:
    """It goes on where it was."""
    (loss,) = lost((), replace(WEB, state=ContainerState.PAUSED))
    assert loss.container == "web"


def test_a_pods_member_has_the_relays_of_the_infra_container() -> None:
    """podman lists the pod's ports with each member."""
    infra = replace(WEB1, name="f52-infra", pod="p1", is_infra=True)
    member = replace(WEB1, id="e" * 64, name="m1", pod="p1", mode=f"container:{infra.id}")
    assert lost((FOR_ALL, FOR_WEB1), member, infra) == []
    (loss,) = lost((FOR_ALL,), member, infra)
    assert loss.container_ids == (infra.id,)
    assert loss.what == "pod p1: rootlessport does not run: nobody listens on 8082/tcp"


def test_what_was_never_seen_healthy_is_told_with_the_remedy() -> None:
    """Nobody knows how it was started, and podman restarts none of it by itself."""
    way, uplink, ports = sorted(
        lost((), WEB1, WEB, healthy={}, taken=frozenset()), key=lambda loss: loss.kind != "relay"
    )
    assert way.what == (
        "web: its pasta does not run: nothing goes in or out; podwatch cannot start it again: "
        "podman restart web"
    )
    assert uplink.what.endswith("podwatch cannot start it again: podman network reload web1")
    assert ports.what.endswith(
        "nobody listens on 8082/tcp; podwatch cannot start it again: podman restart web1"
    )
    assert not any(loss.reloadable for loss in (way, uplink, ports))


def test_the_remedy_of_a_pod_is_of_the_pod() -> None:
    """To restart its infra container alone would be refused."""
    infra = replace(WEB, name="6eb-infra", pod="p2", is_infra=True)
    (loss,) = lost((), infra, healthy={})
    assert loss.what.endswith(": podman pod restart p2")


def test_podman_4_never_connects_its_network_anew() -> None:
    """There a reload does nothing for the uplink."""
    (loss,) = lost(
        (), replace(WEB1, ports=()), healthy={}, netns_file="/run/user/1/netns/rootless-netns-1f"
    )
    assert loss.what.endswith(START_ANEW)
    assert loss.what.startswith("the pasta or slirp4netns of the user's network does not run")


def test_who_listens_without_rootlessport_does_its_work() -> None:
    """A later podman has pasta listen: nothing is lost that was never there."""
    taken = frozenset({("tcp", 8082)})
    assert lost((FOR_ALL,), WEB1, healthy={UPLINK: FOR_ALL}, taken=taken) == []
    assert lost((FOR_ALL,), WEB1, healthy={UPLINK: FOR_ALL}, taken=None) == []
    assert len(lost((FOR_ALL,), WEB1, healthy={UPLINK: FOR_ALL}, taken=frozenset())) == 1


def test_slirp4netns_that_forwards_ports_itself_has_no_rootlessport() -> None:
    """And is not started again: podman told it of each port by its socket."""
    api = replace(FOR_SLIRP, argv=(*FOR_SLIRP.argv, "--api-socket", "/run/x.net"))
    healthy = {Duty(Role.WAY, SLIRP.id): api}
    assert lost((api,), SLIRP, healthy=healthy) == []
    (loss,) = lost((), SLIRP, healthy=healthy)
    assert (loss.kind, loss.reloadable) == (MissingKind.RELAY, False)


@pytest.mark.parametrize(
    ("container", "relay"),
    [
        (WEB, replace(FOR_WEB, exe="")),
        (WEB, replace(FOR_WEB, file="/run/user/1000/netns/netns-9")),
        (SLIRP, replace(FOR_SLIRP, end_pipe=0)),
        (replace(SLIRP, conmon=0), FOR_SLIRP),
    ],
)
def test_what_cannot_be_as_it_was_is_not_started(container: Container, relay: Relay) -> None:
    """Another program, another namespace, or one that nothing would end with its container."""
    duty = Duty(Role.WAY, container.id)
    losses = lost((PORTS_OF_SLIRP,), container, healthy={duty: relay})
    assert [loss.reloadable for loss in losses] == [False]


def test_an_uplink_of_another_namespace_is_none() -> None:
    """Nor is that of another container's its own."""
    away = replace(FOR_ALL, file="/run/user/1000/netns/netns-9")
    (loss,) = lost((*without(FOR_ALL), away))
    assert loss.kind == MissingKind.UPLINK
    (loss,) = lost(ALL, healthy={**HEALTHY, UPLINK: away}, netns_file="/other")
    assert not loss.reloadable


def test_only_what_can_be_started_is() -> None:
    """What is told with its remedy is tried neither now nor later."""
    can, cannot = lost((FOR_ALL, FOR_WEB1), healthy={Duty(Role.WAY, WEB.id): FOR_WEB})[:2]
    assert (can.reloadable, cannot.reloadable) == (True, False)
    verdict = Verdict(State.LOST, (can, cannot))
    _, decision = step(Memory(), verdict, 100.0, Limits())
    assert (decision.method, decision.missing) == (Method.RELAYS, (can,))
    _, decision = step(Memory(), replace(verdict, missing=(cannot,)), 100.0, Limits())
    assert (decision.method, decision.why) == (None, BEYOND)


def test_podman_at_work_is_waited_for() -> None:
    """It may be ending the container, or starting the relay."""
    (loss,) = lost(without(FOR_WEB))
    busy = Blocked(BlockedKind.BUSY, "podman is changing a network")
    _, decision = step(Memory(), Verdict(State.LOST, (loss,), blocked=(busy,)), 100.0, Limits())
    assert (decision.method, decision.look_at) == (None, 100.05)
