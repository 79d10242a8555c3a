# SPDX-License-Identifier: Apache-2.0
"""The guard's script: what is in its maps and chains for a setup, and how little a change takes.

That it does what netavark's rules do is shown with both in the kernel (tests/integration).
"""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from podwatch.drivers.guard import anchor, changed, guard, made_anew
from podwatch.words.guard import Forward, GuardMode
from podwatch.words.network import (
    Endpoint,
    FirewallDriver,
    Isolation,
    Network,
    PortMapping,
    Setup,
)

FOUR, SIX = ip_network("10.89.3.0/24"), ip_network("fd10:88:a::/64")
NAME = "podwatch-guard-1234"
MARKED = "meta mark & 0x2000 == 0x2000 masquerade\n"


def network(number: int, isolation: Isolation = Isolation.NEVER, **more: object) -> Network:
    """A network with a bridge and a subnet of its number."""
    plain = Network(f"{number:064x}", f"podman{number}", (ip_network(f"10.89.{number}.0/24"),))
    return replace(plain, isolation=isolation, **more)  # type: ignore[arg-type]


def endpoint(of: Network, *ports: PortMapping, **more: object) -> Endpoint:
    """A container's place on a network: the second address of each subnet."""
    addresses = tuple((subnet[2], subnet) for subnet in of.subnets)
    plain = Endpoint(f"c{of.bridge}", of.id, of.bridge, addresses, ports)
    return replace(plain, **more)  # type: ignore[arg-type]


def setup(*endpoints: Endpoint, networks: tuple[Network, ...]) -> Setup:
    """What netavark set up."""
    return Setup(FirewallDriver.NFTABLES, {one.id: one for one in networks}, endpoints)


DUAL = replace(network(3), subnets=(FOUR, SIX))


def forwards(*ports: PortMapping, of: Network = DUAL, **more: object) -> dict[str, str]:
    """What the guard's maps hold for one container with these ports: "map key" to address."""
    held = guard(setup(endpoint(of, *ports, **more), networks=(of,)), marks=False)
    return {f"{place} {key}": way.to for (place, key), way in held.forwards.items()}


def test_a_port_is_forwarded_for_each_address() -> None:
    """A port without a host's address has an element for each family."""
    assert forwards(PortMapping(8080, 80, "tcp")) == {
        "ports4 tcp . 8080": "10.89.3.2 . 80",
        "ports6 tcp . 8080": "fd10:88:a::2 . 80",
    }


def test_a_range_has_an_element_for_each_port() -> None:
    """As netavark has a rule for each."""
    assert forwards(PortMapping(9000, 9100, "sctp", 2, ip_address(0))) == {
        "ports4 sctp . 9000": "10.89.3.2 . 9100",
        "ports4 sctp . 9001": "10.89.3.2 . 9101",
    }


def test_a_port_of_one_address_is_for_that_alone() -> None:
    """The host's address is a part of the key; of the other family there is nothing."""
    assert forwards(
        PortMapping(53, 5353, "udp", host_ip=ip_address("192.0.2.5")),
        PortMapping(54, 5354, "udp", host_ip=ip_address("2001:db8::5")),
        PortMapping(55, 5355, "udp", host_ip=ip_address("::")),
    ) == {
        "ports4_at 192.0.2.5 . udp . 53": "10.89.3.2 . 5353",
        "ports6_at 2001:db8::5 . udp . 54": "fd10:88:a::2 . 5354",
        "ports6 udp . 55": "fd10:88:a::2 . 5355",
    }


@pytest.mark.parametrize("ports", [(), None])
def test_who_publishes_nothing_has_no_element(ports: tuple[PortMapping, ...] | None) -> None:
    """Whether its state says an empty list or none."""
    assert forwards(port_mappings=ports) == {}


def test_an_internal_place_publishes_nothing() -> None:
    """As netavark has no rule for a port there."""
    assert forwards(PortMapping(8080, 80, "tcp"), internal=True) == {}


def test_an_address_of_a_link_alone_is_left_out() -> None:
    """nft takes no scope in an element; netavark could not forward it either."""
    local = ip_address("fe80::5%eth0")
    assert forwards(PortMapping(8080, 80, "tcp", host_ip=local)) == {}


def test_names_are_redirected_where_the_server_has_another_port() -> None:
    """Over TCP and UDP, for the families that the container has; they are no container's ports."""
    servers = (ip_address("10.89.3.1"), ip_address("fd10:88:a::1"))
    single = network(3)
    found = guard(
        setup(endpoint(single, dns_port=1053, dns_servers=servers), networks=(single,)),
        marks=False,
    )
    assert found.forwards == {
        ("ports4_at", "10.89.3.1 . tcp . 53"): Forward("10.89.3.1 . 1053"),
        ("ports4_at", "10.89.3.1 . udp . 53"): Forward("10.89.3.1 . 1053"),
    }
    assert (found.ports, found.containers) == (0, 0)
    assert forwards(dns_servers=servers) == {}


def test_ports_and_containers_are_counted() -> None:
    """For the status: elements of containers, and how many containers have any."""
    one, other, silent = network(1), network(2), network(3)
    held = guard(
        setup(
            endpoint(one, PortMapping(80, 80, "tcp"), PortMapping(81, 81, "tcp")),
            endpoint(other, PortMapping(82, 80, "tcp")),
            endpoint(silent),
            networks=(one, other, silent),
        ),
        marks=False,
    )
    assert (held.mode, held.ports, held.containers) == (GuardMode.FULL, 3, 2)


def test_of_two_that_publish_a_port_the_first_has_it() -> None:
    """A map has one element for a key."""
    one, other = network(1), network(2)
    port = PortMapping(80, 80, "tcp")
    held = guard(
        setup(endpoint(one, port), endpoint(other, port), networks=(one, other)), marks=False
    )
    assert held.forwards == {("ports4", "tcp . 80"): Forward("10.89.1.2 . 80", "cpodman1")}


def test_what_leaves_is_masqueraded_but_for_the_own_subnet() -> None:
    """Hairpin first, then what stays inside, then all but multicast, for each subnet."""
    frame = guard(setup(endpoint(DUAL), networks=(DUAL,)), marks=False).frame
    assert sent(frame) == (
        f"  ip saddr 10.89.3.0/24 ip daddr 10.89.3.0/24 {MARKED}"
        "  ip saddr 10.89.3.0/24 ip daddr 10.89.3.0/24 accept\n"
        "  ip saddr 10.89.3.0/24 ip daddr != 224.0.0.0/4 masquerade\n"
        f"  ip6 saddr fd10:88:a::/64 ip6 daddr fd10:88:a::/64 {MARKED}"
        "  ip6 saddr fd10:88:a::/64 ip6 daddr fd10:88:a::/64 accept\n"
        "  ip6 saddr fd10:88:a::/64 ip6 daddr != ff00::/8 masquerade\n"
        f"  {MARKED}"
    )


def sent(frame: str) -> str:
    """The guard's rules for what leaves the host, or goes to a container."""
    return frame.partition("priority 101; policy accept;\n")[2].partition(" }\n")[0]


def test_what_is_carried_is_marked_by_where_it_comes_from() -> None:
    """What comes from a subnet, or from 127.0.0.1, is to be answered by way of the host."""
    frame = guard(setup(endpoint(DUAL), networks=(DUAL,)), marks=False).frame
    set_mark = "meta mark set meta mark | 0x2000\n"
    four, six = (frame.partition(f" chain {name} {{\n")[2] for name in ("carry4", "carry6"))
    assert four.partition("  dnat")[0].splitlines(keepends=True)[1:] == [
        f"  ip saddr 127.0.0.1 {set_mark}",
        f"  ip saddr 10.89.3.0/24 {set_mark}",
    ]
    assert six.partition("  dnat")[0].splitlines(keepends=True)[1:] == [
        f"  ip6 saddr fd10:88:a::/64 {set_mark}"
    ]


def test_with_iptables_a_network_is_one() -> None:
    """What goes to another subnet of the same network is not masqueraded, as netavark has it."""
    many = replace(DUAL, subnets=(FOUR, ip_network("10.89.4.0/24")))
    for driver, count in ((FirewallDriver.IPTABLES, 2), (FirewallDriver.NFTABLES, 1)):
        made = replace(setup(endpoint(many), networks=(many,)), driver=driver)
        rules = sent(guard(made, marks=False).frame)
        assert rules.count("ip saddr 10.89.3.0/24 ip daddr 10.89") == 1 + count
        assert rules.count("  ip saddr 10.89.4.0/24 ip daddr 10.89.3.0/24 accept\n") == count - 1


def test_an_old_netavark_takes_a_wildcard_for_an_address() -> None:
    """Before 1.6 no packet has it; a netavark of iptables without state is one of those."""
    made = setup(
        endpoint(DUAL, PortMapping(80, 80, "tcp", host_ip=ip_address(0))), networks=(DUAL,)
    )
    old = replace(made, driver=FirewallDriver.IPTABLES)
    assert list(guard(old, marks=False).forwards) == [("ports4_at", "0.0.0.0 . tcp . 80")]
    newer = replace(old, state_dir="/run/containers/networks/firewall")
    assert list(guard(newer, marks=False).forwards) == [("ports4", "tcp . 80")]


def test_an_address_for_what_leaves_is_used() -> None:
    """netavark 2.0's outbound_addr, of its own family alone."""
    out = replace(DUAL, outbound=(ip_address("192.0.2.9"),))
    frame = guard(setup(endpoint(out), networks=(out,)), marks=False).frame
    assert "ip daddr != 224.0.0.0/4 snat ip to 192.0.2.9\n" in frame
    assert "ip6 daddr != ff00::/8 masquerade\n" in frame


def test_what_is_internal_or_empty_is_not_masqueraded() -> None:
    """A network nobody is on has no rules, and an internal one has no way out."""
    inner, empty = network(1, internal=True), network(2)
    frame = guard(setup(endpoint(inner), networks=(inner, empty)), marks=False).frame
    assert "10.89" not in frame


def drops(*networks: Network, marks: bool = False) -> str:
    """The guard's rules for what is forwarded, with a container on each of these networks."""
    made = guard(setup(*map(endpoint, networks), networks=networks), marks=marks)
    return made.frame.partition(" chain forward {\n")[2]


def test_isolated_networks_are_kept_apart() -> None:
    """Isolated from isolated, strict ones from all; what is not isolated reaches isolated ones."""
    never, one, other = network(1), network(2, Isolation.NORMAL), network(3, Isolation.NORMAL)
    strict = network(4, Isolation.STRICT)
    assert drops(never, one, other, strict) == (
        "  type filter hook forward priority 0; policy accept;\n"
        '  iifname "podman2" oifname { "podman3", "podman4" } drop\n'
        '  iifname "podman3" oifname { "podman2", "podman4" } drop\n'
        '  iifname "podman4" oifname { "podman1", "podman2", "podman3" } drop\n'
        " }\n"
    )


def test_where_nothing_is_to_be_kept_apart_no_packet_pays() -> None:
    """A chain there would cost every packet that is forwarded."""
    assert drops(network(1), network(2, Isolation.NORMAL)) == ""
    assert drops(network(1, Isolation.STRICT)) == ""


def test_connections_to_ports_are_marked_as_netavark_2_1_does() -> None:
    """Its strict isolation lets through what has the mark, and so does the guard's."""
    strict, other = network(1, Isolation.STRICT), network(2)
    held = guard(setup(endpoint(strict), endpoint(other), networks=(strict, other)), marks=True)
    assert held.frame.count("  ct mark set meta mark | 0x1000\n") == 2
    _, _, rules = held.frame.partition("priority 0; policy accept;\n")
    assert rules.startswith("  ct mark & 0x1000 == 0x1000 accept\n")
    assert "0x1000" not in drops(strict, other)


def test_the_anchor_meets_no_packet() -> None:
    """Its chains with a hook are empty, and its one rule is in a chain without."""
    made = anchor()
    assert (made.mode, made.ports, dict(made.forwards)) == (GuardMode.ANCHOR, 0, {})
    _, *chains = made.frame.split(" chain ")
    bodies = {chain.split()[0]: chain.splitlines()[1:-1] for chain in chains}
    assert bodies == {
        "kept": ["  ct state established accept"],
        "prerouting": ["  type nat hook prerouting priority -99; policy accept;"],
        "postrouting": ["  type nat hook postrouting priority 101; policy accept;"],
    }


def test_a_table_is_owned_and_made_in_one_transaction() -> None:
    """nft refuses a block without the flag; what was there goes first."""
    held = guard(
        setup(endpoint(DUAL, PortMapping(80, 80, "tcp", 2)), networks=(DUAL,)), marks=False
    )
    script = made_anew(NAME, held)
    assert script.startswith(
        f"add table inet {NAME} {{ flags owner; }}\ndelete table inet {NAME}\n"
        f"table inet {NAME} {{\n flags owner;\n"
    )
    assert (
        f"add element inet {NAME} ports4 "
        "{ tcp . 80 : 10.89.3.2 . 80, tcp . 81 : 10.89.3.2 . 81 }\n"
    ) in script
    assert made_anew("podwatch-guard-5678", held, NAME).endswith(f"delete table inet {NAME}\n")


def test_a_port_that_comes_or_goes_is_one_element() -> None:
    """All else stays; a port that leads elsewhere goes and comes; the same is no transaction."""
    before = guard(
        setup(
            endpoint(DUAL, PortMapping(80, 80, "tcp"), PortMapping(81, 81, "tcp")), networks=(DUAL,)
        ),
        marks=False,
    )
    now = guard(
        setup(endpoint(DUAL, PortMapping(81, 82, "tcp", host_ip=ip_address(0))), networks=(DUAL,)),
        marks=False,
    )
    assert changed(NAME, before, now) == (
        f"delete element inet {NAME} ports4 {{ tcp . 80, tcp . 81 }}\n"
        f"delete element inet {NAME} ports6 {{ tcp . 80, tcp . 81 }}\n"
        f"add element inet {NAME} ports4 {{ tcp . 81 : 10.89.3.2 . 82 }}\n"
    )
    assert changed(NAME, before, before) == ""


def test_a_network_that_comes_makes_the_table_anew() -> None:
    """Its rules are in the frame; a container that takes over another's port is no change."""
    one, other = network(1), network(2)
    before = guard(setup(endpoint(one), networks=(one,)), marks=False)
    now = guard(setup(endpoint(one), endpoint(other), networks=(one, other)), marks=False)
    assert changed(NAME, before, now) == made_anew(NAME, now)
    assert changed(NAME, anchor(), now) == made_anew(NAME, now)
