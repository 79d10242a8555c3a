# SPDX-License-Identifier: Apache-2.0
"""What a look shows beside rules: which links lead to whom, which settings forward."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from podwatch.decide.facts import facts, with_sockets
from podwatch.words.links import Inner, Link, Links
from podwatch.words.snapshot import Firewalld, Snapshot
from podwatch.words.way import BaseChain, Kernel, Policy, Wire

HERE = ip_address("10.88.0.2")
VETH = Link("veth0", 7, netns_id=3)
INNER = Inner("eth0", 2, peer=7, addresses=(ip_interface("10.88.0.2/16"),))
LOOK = Snapshot(
    None, None, None, links=Links({"veth0": VETH}), namespaces={3: (INNER, Inner("lo", 1))}
)


def test_an_address_is_reached_by_the_other_end_of_its_link() -> None:
    """That is the link with the index that the one inside names; none where it has gone."""
    assert facts(LOOK).wires == {HERE: (Wire(VETH),)}
    down = replace(INNER, is_up=False)
    assert facts(replace(LOOK, namespaces={3: (down,)})).wires == {
        HERE: (Wire(VETH, is_up_inside=False),)
    }
    loose = replace(INNER, peer=8)
    assert facts(replace(LOOK, namespaces={3: (loose,)})).wires == {HERE: (Wire(None),)}


def test_a_container_may_have_its_address_on_a_bridge_of_its_own() -> None:
    """It is reached by the link that leads into its namespace; its own link comes first."""
    own = Inner("br0", 3, kind="bridge", addresses=INNER.addresses)
    plain = replace(INNER, addresses=())
    assert facts(replace(LOOK, namespaces={3: (own, plain)})).wires == {HERE: (Wire(VETH),)}
    second = Link("veth1", 8, netns_id=3)
    links = Links({"veth0": VETH, "veth1": second})
    both = replace(LOOK, links=links, namespaces={3: (Inner("eth1", 3, peer=8), INNER)})
    assert facts(both).wires == {HERE: (Wire(VETH), Wire(second))}


@pytest.mark.parametrize(
    "look",
    [
        replace(LOOK, links=None),
        replace(LOOK, namespaces=None),
        replace(LOOK, namespaces={}),
    ],
    ids=["no links", "no namespaces", "one of them unknown"],
)
def test_links_that_are_not_all_known_lead_nowhere_for_sure(look: Snapshot) -> None:
    """Who is in the namespace that nobody told of is not known."""
    assert facts(look).wires is None


def test_a_host_without_containers_has_no_such_link() -> None:
    """A link of the host's own, and one whose other end is in no namespace, lead to nobody."""
    own = Links({"eth0": Link("eth0", 1), "veth9": Link("veth9", 2, netns_id=-1)})
    assert facts(replace(LOOK, links=own, namespaces={})).wires == {}


def test_what_counts_of_settings_chains_and_policies() -> None:
    """Settings that forward, chains that packets pass when they are, firewalld's policies."""
    policy = Policy("site", ("trusted",), ("public",), "DROP")
    forward, to_host = (BaseChain("inet site", hook, hook, "drop") for hook in ("forward", "input"))
    sysctls = {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/a/forwarding": "0",
        "net/x/rp_filter": "2",
    }
    seen = facts(
        replace(
            LOOK,
            sysctls=sysctls,
            drops=(forward, to_host),
            firewalld=Firewalld(running=True, between=(policy,)),
        )
    )
    assert seen.forwarding == {"net/ipv4/ip_forward": True, "net/ipv4/conf/a/forwarding": False}
    assert (seen.others, seen.policies) == ((forward,), (policy,))
    assert facts(LOOK).policies == ()


def test_sockets_are_added_to_what_was_seen() -> None:
    """Who keeps ports and who listens; all else stays."""
    sockets = Kernel(
        held={(80, "tcp"): ""},
        bound=frozenset({(80, "tcp")}),
        listens={"web": frozenset({(80, "tcp")})},
    )
    both = with_sockets(facts(LOOK), sockets)
    assert (both.held, both.bound, both.listens) == (sockets.held, sockets.bound, sockets.listens)
    assert both.wires == facts(LOOK).wires
