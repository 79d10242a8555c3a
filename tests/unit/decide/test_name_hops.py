# SPDX-License-Identifier: Apache-2.0
"""The way from a name to its address: who answers, where, and for whom."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from podwatch.decide.explain import explain
from podwatch.words.gates import NetworkFile
from podwatch.words.names import Entry, Served
from podwatch.words.network import Container, ContainerClass, ContainerState
from podwatch.words.snapshot import Snapshot
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.decide.whole_host import (
    DB,
    DNS,
    FAULTS,
    FILE,
    GATEWAYS,
    LINKS,
    NAMES,
    SERVED,
    WEB,
    WHOLE,
    of_names,
    of_web,
)


def names(snapshot: Snapshot) -> list[Way]:
    """The ways of names."""
    return [way for way in explain(snapshot) if way.kind is WayKind.NAMES]


def test_names_that_are_answered() -> None:
    """It is said where, and for whom; no way is there where no network has names."""
    (way,) = names(WHOLE)
    assert way.title == "names of db, web on app"
    what = "aardvark-dns answers on 10.89.0.1, fd89::1 for db, web"
    assert way.hops == (Hop("DNS", what),)
    assert names(replace(WHOLE, names=None)) == []


@pytest.mark.parametrize(
    ("fault", "place", "what", "advice"),
    [
        ("no names", "DNS", "aardvark-dns does not run", "podwatch restore"),
        ("deaf", "DNS", "aardvark-dns does not listen on fd89::1", "podwatch restore"),
        (
            "hung",
            "DNS",
            "aardvark-dns (7) has read no query for 60 s",
            "kill -9 7: podwatch then starts it anew",
        ),
        ("unknown to it", "DNS entry", "aardvark-dns does not know db", "podman network reload db"),
        (
            "damaged names",
            "DNS",
            "aardvark-dns does not understand /run/app (line 2)",
            "rm /run/app; podman network reload db web",
        ),
        (
            "port 53 taken",
            "DNS",
            "aardvark-dns does not listen on 10.89.0.1: another program has its port",
            "ss -lnup 'sport = :53' names it: let it listen on certain addresses only, or give "
            "aardvark-dns another port (dns_bind_port of containers.conf)",
        ),
        (
            "no address",
            "bridge",
            "podman1 lacks the address 10.89.0.1/24",
            "ip addr add 10.89.0.1/24 brd + dev podman1",
        ),
        ("bridge down", "bridge", "podman1 is down", "ip link set podman1 up"),
    ],
)
def test_names_that_are_not(fault: str, place: str, what: str, advice: str) -> None:
    """The first thing that keeps them from being answered, with what to do."""
    (way,) = names(FAULTS[fault](WHOLE))
    assert way.first_broken == Hop(place, what, Mark.BROKEN, advice)


def test_a_chain_that_drops_what_is_asked() -> None:
    """Another firewall's, at the hook of what is sent to the host: what lets it through is said."""
    (way,) = names(FAULTS["unheard"](WHOLE))
    hop = way.first_broken
    assert hop is not None
    assert (hop.place, "dport 53" in hop.advice) == ("other firewalls", True)


def test_what_is_no_harm_to_names() -> None:
    """An address that is not this host's; a file it has not read yet; who is being set up."""
    away = ip_address("192.0.2.53")
    served = replace(SERVED, addresses=(DNS[0], away))
    (way,) = names(of_names(served=(served,))(WHOLE))
    assert way.mark is Mark.OPEN
    assert f"{away} is no address of this host" in way.hops[0].what
    (way,) = names(of_names(served=(replace(SERVED, damage="line 2"),))(WHOLE))
    assert [hop.mark for hop in way.hops] == [Mark.NOTE]
    lacking = of_names(served=(replace(SERVED, entries=SERVED.entries[:1]),))(WHOLE)
    (way,) = names(replace(lacking, busy="podman is at work"))
    assert way.mark is Mark.OPEN


def test_a_file_that_names_another_address_only() -> None:
    """Nobody gets an answer: the file is what is wrong, as the address is none of the network's."""
    away = ip_address("10.89.0.200")
    (way,) = names(of_names(served=(replace(SERVED, addresses=(away,)),))(WHOLE))
    what = f"{away} is no address of this host: aardvark-dns gets no query there"
    cure = "rm /run/app; podman network reload db web"
    assert way.first_broken == Hop("DNS", what, Mark.BROKEN, cure)


def test_a_socket_that_has_outlived_its_address() -> None:
    """Of a bridge of the administrator's that has lost it: he gives it back."""
    file = replace(FILE, kind=ContainerClass.UNMANAGED)
    links = replace(LINKS, addresses={"podman1": GATEWAYS[1:]})
    seen = replace(WHOLE, files={"app": file}, links=links)
    (way,) = names(of_names(served=(replace(SERVED, addresses=DNS[:1]),))(seen))
    assert way.first_broken is not None
    assert way.first_broken.advice == "ip addr add 10.89.0.1/24 brd + dev podman1"
    (way,) = names(seen)
    assert (way.mark, way.hops[0].mark) == (Mark.OPEN, Mark.NOTE)


def test_one_that_cannot_start_says_what_it_waits_for() -> None:
    """It wants all of its addresses: the one that is away takes the names of all networks."""
    links = replace(LINKS, addresses={"podman1": GATEWAYS[:1]})
    other = Served("other", "/run/other", (DNS[0],), (Entry(WEB),))
    seen = of_names(running=(), sockets={}, served=(other, SERVED))(replace(WHOLE, links=links))
    (way,) = names(seen)
    hop = way.hops[-1]
    assert hop.what == (
        "aardvark-dns does not run, and cannot start: fd89::1 of network app is away"
    )
    assert hop.advice.endswith("ip addr add fd89::1/64 nodad dev podman1")
    unlisted = replace(seen, links=None)
    assert names(unlisted)[0].hops[-1].what == "aardvark-dns does not run"


def test_an_address_that_is_another_containers() -> None:
    """The name of web leads elsewhere; that of db is answered."""
    right = Entry(DB, (ip_address("10.89.0.3"), ip_address("fd89::3")))
    wrong = Entry(WEB, (ip_address("10.89.0.77"), ip_address("fd89::2")))
    (way,) = names(of_names(served=(replace(SERVED, entries=(right, wrong)),))(WHOLE))
    what, cure = "aardvark-dns does not know the address of web", "podman network reload web"
    assert way.hops == (
        Hop("DNS entry", what, Mark.BROKEN, cure),
        Hop("DNS", "aardvark-dns answers on 10.89.0.1, fd89::1 for db"),
    )


def test_a_network_whose_file_is_gone() -> None:
    """Its containers are known to nobody, also where it was the only file."""
    other = Served("other", "/run/other", (DNS[0],), (Entry("x"),))
    for server in (of_names(served=(other,)), of_names(served=(), running=())):
        (way,) = names(server(WHOLE))
        cure = "podman network reload db web"
        assert way.title == "names of db, web on app"
        assert way.hops == (
            Hop("DNS entry", "aardvark-dns does not know db, web", Mark.BROKEN, cure),
        )
        assert names(replace(server(WHOLE), busy="podman is at work")) == []


def test_an_internal_network_has_names_too() -> None:
    """It has no rules and no state of netavark's; who is on it podman's addresses say."""
    inner = Container("e" * 64, "inner", kind=ContainerClass.INTERNAL, networks=("inside",))
    served = Served("inside", "/run/inside", (DNS[0],), (Entry(inner.id),))
    file = NetworkFile("inside", ContainerClass.INTERNAL, "podman2", asks_names=True)
    look = replace(
        WHOLE,
        containers={**WHOLE.containers, inner.id: inner},
        names=replace(NAMES, served=(SERVED, served)),
        files={"app": FILE, "inside": file},
        held={"inside": {inner.id: (ip_address("10.89.9.2"),)}},
    )
    assert [way.title for way in names(look)] == [
        "names of db, web on app",
        "names of inner on inside",
    ]
    stopped = {**look.containers, inner.id: replace(inner, state=ContainerState.ENDED)}
    assert len(names(replace(look, containers=stopped))) == 1


def test_whose_names_nobody_can_ask_for() -> None:
    """Who does not run any more has no names."""
    ended = of_web(ContainerState.ENDED)(WHOLE)
    assert [way.title for way in names(ended)] == ["names of db on app"]
