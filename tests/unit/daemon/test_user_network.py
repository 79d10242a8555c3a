# SPDX-License-Identifier: Apache-2.0
"""What a user's networks have beside root's: the namespace they are in, and the host around it."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from podwatch.adapters import host_of_user, kernel, links, namespace
from podwatch.daemon.user_network import AroundUser, UserNetwork, read_outside, without_netns
from podwatch.words.errors import LinksUnreadable
from podwatch.words.links import Around, Links
from podwatch.words.netns import Netns
from podwatch.words.outside import Outside
from podwatch.words.snapshot import Part
from tests.unit.decide.whole_host import WHOLE

NETNS = Netns("/run/user/1000/netns", 7, 7, has_file=True)
HOST = Outside({4: "eth0"}, frozenset({ip_address("192.0.2.7")}))


class Host:
    """A host around a user's network, or one that does not tell of itself."""

    def __init__(self) -> None:
        self.outside: Outside | None = HOST
        self.network = UserNetwork(lambda: NETNS, self.look)

    def look(self) -> Outside:
        """What it is like now."""
        if self.outside is None:
            raise LinksUnreadable("the kernel does not tell")
        return self.outside


def test_a_look_has_the_namespace_and_the_host() -> None:
    """Both of one moment."""
    assert Host().network.read() == AroundUser(NETNS, HOST)


def test_a_host_that_does_not_tell_is_unknown() -> None:
    """The namespace is seen all the same."""
    host = Host()
    host.outside = None
    assert host.network.read() == AroundUser(NETNS, None)
    assert not host.network.is_other(), "nor does it tell anything new"


def test_a_change_of_the_host_is_noticed_until_it_is_looked_at() -> None:
    """As another address, which no event in the user's namespace announces."""
    host = Host()
    host.network.read()
    assert not host.network.is_other()
    host.outside = replace(HOST, addresses=frozenset({ip_address("192.0.2.8")}))
    assert host.network.is_other()
    host.network.read()
    assert not host.network.is_other()


def test_the_host_is_read_in_its_own_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the links with a default route alone, and without what is of one link alone."""
    eth0 = ("192.0.2.7/24", "2001:db8::7/64", "fe80::7/64")
    there = Links(
        addresses={
            "eth0": tuple(map(ip_interface, eth0)),
            "docker0": (ip_interface("172.17.0.1/16"),),
        }
    )

    def read(where: namespace.Own) -> Links:
        assert isinstance(where, namespace.Own)
        return there

    monkeypatch.setattr(kernel, "host_routed", lambda: {4: "eth0", 6: "wlan0"})
    monkeypatch.setattr(links, "read", read)
    monkeypatch.setattr(host_of_user, "ends_for", lambda: "alice")
    monkeypatch.setattr(host_of_user, "first_port", lambda: 1024)
    monkeypatch.setattr(host_of_user, "has_firewalld", lambda: True)
    assert read_outside() == Outside(
        {4: "eth0", 6: "wlan0"},
        frozenset({ip_address("192.0.2.7"), ip_address("2001:db8::7")}),
        "alice",
        1024,
        has_firewalld=True,
    )


def test_what_is_in_a_namespace_that_is_not_found_is_unknown() -> None:
    """Not lost: no rule and no link is put anywhere for it."""
    seen = replace(WHOLE, netns=Netns())
    found = without_netns(seen)
    assert (found.rules, found.links, found.namespaces, found.names) == (None, None, None, None)
    assert (found.sysctls, found.routed, found.drops, found.others) == ({}, {}, (), {})
    assert found.around == Around()
    assert [one.part for one in found.unknown] == [Part.RULES, Part.LINKS]
    assert found.setup == seen.setup


@pytest.mark.parametrize("netns", [None, NETNS, replace(NETNS, mounted=0)])
def test_what_was_entered_is_believed(netns: Netns | None) -> None:
    """On root's host, in a whole namespace, and in one that podman finds no more."""
    seen = replace(WHOLE, netns=netns)
    assert without_netns(seen) is seen


def test_without_networks_no_namespace_is_missed() -> None:
    """podman makes it with the first container on a bridge."""
    assert WHOLE.setup is not None
    nobody = replace(WHOLE, netns=Netns(), setup=replace(WHOLE.setup, endpoints=()))
    unread = replace(WHOLE, netns=Netns(), setup=None)
    assert without_netns(nobody) is nobody
    assert without_netns(unread) is unread
