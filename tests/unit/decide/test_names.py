# SPDX-License-Identifier: Apache-2.0
"""Names: when they are lost, and what is told of those that podwatch cannot bring back."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from podwatch.decide.names import lost_names, name_notices
from podwatch.words.gates import NetworkFile
from podwatch.words.links import Links
from podwatch.words.names import HUNG_S, Entry, NameServer, Served
from podwatch.words.network import (
    Container,
    ContainerClass,
    ContainerState,
    Endpoint,
    FirewallDriver,
    Network,
    Setup,
)
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import CLOSING, MissingKind, WarningKind

V4, V6, SITE_V4 = ip_address("10.89.50.1"), ip_address("fd50::1"), ip_address("10.89.51.1")
PID_FILE = "/run/aardvark.pid"
APP = Served("app", "/run/app", (V4, V6), (Entry("web", names=("web",)),))
SITE = Served("site", "/run/site", (SITE_V4,), (Entry("db"),))
WELL = NameServer(
    PID_FILE,
    7,
    "aardvark-dns",
    (7,),
    (APP, SITE),
    {(V4, 53): 0, (V6, 53): 0, (SITE_V4, 53): 0},
    53,
)
DEAD = replace(WELL, name="", running=(), sockets={})
WEB = Endpoint("web", "a", "app", ())
SETUP = Setup(FirewallDriver.NFTABLES, {"a": Network("a", "podman1", ())}, (WEB,))
LINKS = Links(
    {},
    {
        "podman1": (ip_interface("10.89.50.1/24"), ip_interface("fd50::1/64")),
        "podman2": (ip_interface("10.89.51.1/24"),),
    },
)
ON_SITE = Container("db", "db", kind=ContainerClass.INTERNAL, networks=("site",))
CONTAINERS = {"web": Container("web", "web", kind=ContainerClass.BRIDGE, networks=("app",))}
CONTAINERS["db"] = ON_SITE
FILES = {
    "app": NetworkFile("app", ContainerClass.BRIDGE, "podman1", asks_names=True),
    "site": NetworkFile("site", ContainerClass.INTERNAL, "podman2", asks_names=True),
}


def seen(
    server: NameServer | None,
    containers: Mapping[str, Container] = CONTAINERS,
    links: Links | None = LINKS,
    *,
    busy: str = "",
) -> Snapshot:
    """A look that found this name server."""
    return Snapshot(
        SETUP,
        None,
        None,
        containers=containers,
        names=server,
        links=links,
        files=FILES,
        held={"site": {"db": (SITE_V4,)}},
        busy=busy,
    )


def lost(server: NameServer | None, links: Links | None = LINKS) -> list[str]:
    """What is missing, each in its words."""
    return [loss.what for loss in lost_names(SETUP, seen(server, links=links))]


def told(snapshot: Snapshot, setup: Setup = SETUP) -> list[tuple[WarningKind, str, str]]:
    """What is told: kind, what, advice."""
    return [(note.kind, note.what, note.advice) for note in name_notices(setup, snapshot)]


@pytest.mark.parametrize("server", [None, WELL])
def test_nothing_is_lost_where_all_is_well(server: NameServer | None) -> None:
    """One that runs, is named and listens everywhere; or no files of names at all."""
    assert lost(server) == []
    assert told(seen(server)) == []


def test_one_that_has_ended_is_lost_with_the_names_of_its_networks() -> None:
    """All of them are named, as no name resolves on any."""
    (loss,) = lost_names(SETUP, seen(DEAD))

    assert loss.kind == MissingKind.NAMES
    assert loss.what == ("aardvark-dns does not run: names of networks app, site do not resolve")
    assert (loss.network, loss.detail) == ("app, site", PID_FILE)


@pytest.mark.parametrize("state", [ContainerState.ENDED, ContainerState.GONE])
def test_who_does_not_run_asks_for_no_names(state: ContainerState) -> None:
    """Entries of the dead make no loss, nor do those of whom podman does not know."""
    nobody = Setup(FirewallDriver.NFTABLES)
    only = replace(DEAD, served=(SITE,))
    dead = {"db": replace(ON_SITE, state=state)}

    assert list(lost_names(nobody, seen(only, dead))) == []
    assert list(lost_names(nobody, seen(only, {}))) == []
    assert len(list(lost_names(nobody, seen(only)))) == 1


def test_who_has_state_asks_for_names_though_podman_was_not_asked_yet() -> None:
    """At the first look podman's list is not there: netavark's state tells who runs."""
    only = replace(DEAD, served=(APP,))
    (loss,) = lost_names(SETUP, seen(only, {}))
    assert loss.what.endswith("names of network app do not resolve")


def test_many_networks_are_not_all_named() -> None:
    """Five, and how many more there are."""
    many = tuple(replace(APP, network=f"n{number}") for number in range(7))
    assert lost(replace(DEAD, served=many)) == [
        "aardvark-dns does not run: names of networks n0, n1, n2, n3, n4 and 2 more do not resolve"
    ]


@pytest.mark.parametrize(
    ("named", "name", "then"),
    [
        (0, "", "names nobody that runs"),
        (8, "", "names nobody that runs"),
        (8, "sleep", "names sleep (8), which the next start or stop of a container would send"),
    ],
)
def test_a_pid_file_that_does_not_name_it(named: int, name: str, then: str) -> None:
    """netavark would start a second one, or end another process by its signal."""
    (loss,) = lost_names(SETUP, seen(replace(WELL, named=named, name=name)))

    assert (loss.kind, loss.detail) == (MissingKind.PID_FILE, "7")
    assert f"aardvark-dns runs as 7, and {PID_FILE} {then}" in loss.what


def test_one_that_is_about_to_end_need_not_be_named() -> None:
    """Without a file of any network it takes its pid file away and ends."""
    assert lost(replace(WELL, named=0, name="", served=())) == []


def test_two_are_told_and_not_repaired() -> None:
    """Which of them is right nobody knows: the pid file is left alone."""
    two = replace(WELL, named=0, running=(7, 9))

    assert lost(two) == []
    ((kind, what, advice),) = told(seen(two))
    assert kind is WarningKind.NAME_SERVERS
    assert kind not in CLOSING
    assert "runs 2 times for the same networks (7 9)" in what
    assert advice == "kill 7 9: podwatch then starts one anew"


def test_an_address_without_a_listener_is_lost() -> None:
    """Each address that the host has, and a container asks on; the others are well."""
    deaf = replace(WELL, sockets={(V4, 53): 0, (SITE_V4, 53): 0})
    (loss,) = lost_names(SETUP, seen(deaf))

    assert (loss.kind, loss.network) == (MissingKind.LISTENER, "app")
    assert loss.what == "network app: aardvark-dns does not listen on fd50::1"
    assert loss.detail == "fd50::1:53"


def test_a_listener_on_another_port_is_none() -> None:
    """It has to answer on the port that it was started with."""
    assert len(lost(replace(WELL, port=1053))) == 3


def test_addresses_come_before_listeners() -> None:
    """Nobody can listen on an address that the host has not: the link's loss is told."""
    nobody = replace(WELL, sockets={})
    assert lost(nobody, links=Links()) == []
    assert lost(nobody, links=None) == []


@pytest.mark.parametrize(("taker", "left"), [("0.0.0.0", 1), ("::", 0)])  # noqa: S104
def test_a_port_that_another_has_is_told(taker: str, left: int) -> None:
    """No signal makes aardvark-dns listen there; one on [::] may have both families."""
    taken = replace(WELL, sockets={(ip_address(taker), 53): 0, (ip_address(taker), 54): 0})
    assert len(lost(taken)) == left

    ((kind, what, advice),) = told(seen(taken))
    assert kind in CLOSING
    assert "networks app, site: aardvark-dns does not listen" in what
    assert "ss -lnup 'sport = :53'" in advice


def test_a_taken_port_of_another_number_is_nobodys_business() -> None:
    """Whoever listens on every address with it."""
    sockets = {**WELL.sockets, (ip_address("::"), 5353): 0}
    assert told(seen(replace(WELL, sockets=sockets))) == []


def test_one_that_leaves_queries_unread_is_hung() -> None:
    """It is told with what ends it for good; a moment's queue is none."""
    assert told(seen(replace(WELL, deaf_s=HUNG_S - 0.1))) == []

    ((kind, what, advice),) = told(seen(replace(WELL, deaf_s=HUNG_S)))
    assert kind in CLOSING
    assert "aardvark-dns (7) does not answer" in what
    assert advice.startswith("kill -9 7: ")
    assert told(seen(replace(DEAD, deaf_s=HUNG_S))) == []


DAMAGED = replace(APP, damage="line 2: what?")


def test_a_damaged_file_closes_its_network() -> None:
    """It is made anew by a reload of each container there, once it is away."""
    nobody = {(SITE_V4, 53): 0}
    broken = replace(WELL, served=(DAMAGED, SITE), sockets=nobody)

    assert lost(broken) == []
    ((kind, what, advice),) = told(seen(broken))
    assert kind in CLOSING
    assert "does not understand /run/app (line 2: what?): no name of this network resolves" in what
    assert advice == "rm /run/app; podman network reload web"


def test_a_damaged_file_that_was_not_read_again_yet() -> None:
    """The way is open until the next signal of netavark's."""
    ((kind, what, _),) = told(seen(replace(WELL, served=(DAMAGED, SITE))))
    assert kind is WarningKind.NAME_SERVERS
    assert "with the next start or stop of a container no name" in what


def test_a_damaged_file_of_nobody_is_only_taken_away() -> None:
    """Nobody has to be reloaded for it."""
    none = Setup(FirewallDriver.NFTABLES)
    snapshot = seen(replace(WELL, served=(DAMAGED, SITE)), {"db": ON_SITE})
    assert [advice for _, _, advice in told(snapshot, none)] == ["rm /run/app"]


@pytest.mark.parametrize("network", ["app", "site"])
def test_a_container_that_it_does_not_know(network: str) -> None:
    """With state of netavark's or, on an internal network, without: its own reload tells it."""
    served = tuple(
        replace(each, entries=(Entry("other"),)) if each.network == network else each
        for each in WELL.served
    )
    name = {"app": "web", "site": "db"}[network]
    ((kind, what, advice),) = told(seen(replace(WELL, served=served)))

    assert kind in CLOSING
    assert f"network {network}: aardvark-dns does not know {name}: its names" in what
    assert advice == f"podman network reload {name}"


def test_a_container_whose_address_is_another() -> None:
    """It has an entry, and its name leads elsewhere; one entry of several that is right will do."""
    right, wrong = Entry("db", (SITE_V4,)), Entry("db", (V4,))
    ((_, what, advice),) = told(seen(replace(WELL, served=(APP, replace(SITE, entries=(wrong,))))))
    assert what == (
        "network site: aardvark-dns does not know the address of db: its names do not resolve"
    )
    assert advice == "podman network reload db"
    both = replace(WELL, served=(APP, replace(SITE, entries=(wrong, right))))
    assert told(seen(both)) == []


def test_who_surely_runs_has_to_be_known() -> None:
    """Not who is being started, was not listed yet, or is on a network without names."""
    only = replace(WELL, served=(replace(APP, entries=(Entry("other"),)),))
    other = {"web": replace(CONTAINERS["web"], state=ContainerState.CREATED)}

    assert told(seen(only, other)) == []
    assert told(seen(only, {})) == []
    assert told(replace(seen(only), files={})) == []
    plain = {name: replace(file, asks_names=False) for name, file in FILES.items()}
    assert told(replace(seen(only), files=plain)) == []


def test_who_has_left_an_internal_network_is_not_missed_there() -> None:
    """podman's list has not heard of it, its database of addresses has."""
    left = replace(WELL, served=(APP, replace(SITE, entries=(Entry("other"),))))
    assert told(replace(seen(left), held={"site": {}})) == []
    assert len(told(seen(left))) == 1


def test_who_shares_a_network_needs_no_entry() -> None:
    """The entry is that of whose network it is."""
    guest = Container("g", "guest", kind=ContainerClass.SHARED, networks=("app",), shares="web")
    assert told(seen(WELL, CONTAINERS | {"g": guest})) == []


def test_while_podman_is_at_work_no_entry_is_missed() -> None:
    """netavark writes them one after another."""
    empty = replace(WELL, served=(replace(APP, entries=()), replace(DAMAGED, network="x"), SITE))
    assert told(seen(empty, busy="podman is changing a network")) == []
    assert len(told(seen(empty))) == 2


def test_entries_of_one_that_is_dead_are_told_once_it_lives() -> None:
    """A reload while it does not run may cost a container its network; without files it starts."""
    empty = replace(DEAD, served=(SITE,))
    assert told(seen(empty)) == []
    assert len(told(seen(replace(DEAD, served=())))) == 2
