# SPDX-License-Identifier: Apache-2.0
"""Chains of others that drop forwarded packets: whom they shut out, and what lets them through."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.drivers import forwarding, iptables, nftables
from podwatch.drivers.driver import about
from podwatch.drivers.forwarding import (
    dns_remedy,
    drops,
    is_of_others,
    parse_chains,
    parted,
    publishes,
    reached,
    remedy,
    unheard,
)
from podwatch.drivers.iptables_save import filter_chains
from podwatch.words.names import Askers
from podwatch.words.network import Endpoint, FirewallDriver, Network, PortMapping, Setup
from podwatch.words.way import BaseChain

SUBNETS = (ip_network("10.88.0.0/16"), ip_network("fd10::/64"))
NETWORK = Network("n" * 64, "podman0", SUBNETS)
PORT = PortMapping(8080, 80, "tcp")
HOSTS = Path(__file__).parents[2] / "data"


def setup(driver: FirewallDriver = FirewallDriver.NFTABLES, *ports: PortMapping) -> Setup:
    """A container on one network, with these ports published."""
    addresses = ((ip_address("10.88.0.2"), SUBNETS[0]),)
    endpoint = Endpoint("c" * 64, NETWORK.id, "podman", addresses, port_mappings=ports or None)
    return Setup(driver, {NETWORK.id: NETWORK}, (endpoint,))


def chain(
    *rules: str, policy: str = "drop", table: str = "inet site", around: tuple[str, ...] = ()
) -> BaseChain:
    """A chain of forwarded packets, with these rules and those of chains it jumps to."""
    return BaseChain(table, "passing", "forward", policy, rules, (*rules, *around))


def shut_out(found: Setup, chains: list[BaseChain]) -> list[tuple[BaseChain, str, Network]]:
    """Who is shut out, with the tables of the setup's own driver."""
    return list(forwarding.shut_out(found, chains, about(found.driver).tables))


def asking(port: int = 53, network: Network = NETWORK) -> list[Askers]:
    """A network whose containers ask on an address of each of its IP versions."""
    servers = tuple(subnet[1] for subnet in network.subnets)
    return [Askers("podman", network, servers, port)]


def incoming(*rules: str, table: str = "inet site", around: tuple[str, ...] = ()) -> BaseChain:
    """A chain of packets to the host that drops what its rules do not accept."""
    return BaseChain(table, "incoming", "input", "drop", rules, (*rules, *around))


@pytest.mark.parametrize(
    "closed",
    [
        chain(),
        chain("counter jump ufw-user-forward"),
        *(
            chain("ct state established accept", last, policy="accept")
            for last in (
                "drop",
                "counter reject",
                'log prefix "no: " drop',
                'counter xt target "REJECT"',
                "-j REJECT --reject-with icmp-port-unreachable",
                '-m comment --comment "the rest" -j DROP',
            )
        ),
    ],
)
def test_what_drops_the_rest(closed: BaseChain) -> None:
    """A policy that drops, or a last rule that drops everything, shuts out what nobody accepts."""
    assert drops(closed)
    assert [found[1:] for found in shut_out(setup(), [closed])] == [("podman", NETWORK)]


@pytest.mark.parametrize(
    "open_chain",
    [
        chain(policy="accept"),
        chain('iifname "eth0" drop', policy="accept"),
        chain("ip6 hoplimit 1 drop", policy="accept"),
        chain("counter accept"),
        chain("ct state established,new accept", "drop"),
        chain("-m state --state NEW,ESTABLISHED -j ACCEPT"),
    ],
)
def test_what_does_not_drop_the_rest(open_chain: BaseChain) -> None:
    """A rule that drops some packets, or a chain that accepts all new ones, shuts nobody out."""
    assert not drops(open_chain)


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.88.0.0/16 counter accept",
        'ip daddr 10.0.0.0/8 accept comment "ours"',
        'iifname "eth0" oifname "podman0" counter accept',
        'oifname "podman*" accept',
        'oifname { "lo", "podman0" } goto containers',
        'oifname vmap { "podman0" : jump containers, "eth0" : drop }',
        "ip daddr @containers accept",
        "ct status dnat accept",
        "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        "-o podman+ -j ACCEPT",
        "-d 10.88.0.0/16 -j theirs",
        "-m set --match-set containers dst -j ACCEPT",
        'oifname "podman0" ct state established,related,new accept',
        'oifname "podman0" counter queue to 0',
    ],
)
def test_who_is_accepted_is_not_shut_out(rule: str) -> None:
    """Whatever may let the network through counts, in the chain or behind a jump."""
    assert shut_out(setup(), [chain(rule)]) == []
    assert shut_out(setup(), [chain("jump more", around=(rule,))]) == []


@pytest.mark.parametrize(
    "rule",
    [
        "ip daddr 10.88.0.0/24 accept",
        'oifname "podman0" ct state established,related accept',
        'oifname "podman0" drop',
        'oifname "podman1" accept',
        "-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-d 10.88.0.0/16 -j DROP",
        "jump ufw-user-forward",
        'oifname "podman1*" accept',
        "ct status dnat jump ports",
        "ip daddr @containers jump containers",
        "ct state established,related ip daddr @containers accept",
    ],
)
def test_who_is_not_named_or_only_answered_is_shut_out(rule: str) -> None:
    """A part of the network, answers alone, another bridge: none lets new connections in."""
    assert shut_out(setup(), [chain(rule)]) != []


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("table", "versions"), [("ip filter", {4}), ("ip6 filter", {6}), ("inet site", {4, 6})]
)
def test_each_ip_version_is_judged_by_its_own_tables(
    table: str, versions: set[int], version: int
) -> None:
    """iptables' chain shuts out IPv4 alone, ip6tables' IPv6, one of the family inet both."""
    subnets = tuple(subnet for subnet in SUBNETS if subnet.version == version)
    network = replace(NETWORK, subnets=subnets)
    seen, asks = replace(setup(), networks={network.id: network}), asking(network=network)
    closed, deaf = chain(table=table), incoming(table=table)
    concerned = version in versions

    assert shut_out(seen, [closed]) == [(closed, "podman", network)] * concerned
    assert list(parted([network], [closed], {4, 6})) == [(closed, network)] * concerned
    assert list(parted([network], [closed], {4, 6} - {version})) == []
    assert list(unheard(asks, [deaf])) == [(deaf, asks[0])] * concerned


def test_containers_of_one_network_pass_who_lets_the_network_through() -> None:
    """What they send each other passes the hook forward alone, and whatever accepts it there."""
    assert list(parted([NETWORK], [incoming()], {4, 6})) == []
    assert list(parted([NETWORK], [chain("ip daddr 10.88.0.0/16 accept")], {4})) == []


def test_a_network_is_known_by_its_bridge_where_it_has_no_name() -> None:
    """Of a network whose file cannot be read, and of an internal one, nothing is said."""
    (endpoint,) = setup().endpoints
    nameless = replace(setup(), endpoints=(replace(endpoint, network_name=""),))
    inner = replace(setup(), networks={NETWORK.id: replace(NETWORK, internal=True)})

    assert [name for _, name, _ in shut_out(nameless, [chain()])] == ["podman0"]
    assert shut_out(inner, [chain()]) == []
    assert shut_out(replace(setup(), networks={}), [chain()]) == []


@pytest.mark.parametrize("driver", [FirewallDriver.IPTABLES, FirewallDriver.CNI])
def test_a_driver_of_iptables_accepts_nothing_in_a_table_of_others(driver: FirewallDriver) -> None:
    """In a table that is not iptables' nobody has accepted what containers send."""
    assert shut_out(setup(driver), [chain()]) != []
    assert "iifname podman0 accept" in remedy(chain(), "podman0", about(driver).tables)


@pytest.mark.parametrize(
    ("addresses", "is_for_others"),
    [
        ([], False),
        ([None], True),
        (["192.0.2.1"], True),
        (["127.0.0.1"], False),
        (["::1", "127.0.0.2"], False),
        (["127.0.0.1", "::"], True),
    ],
)
def test_a_port_of_the_loopback_address_is_for_the_host_itself(
    addresses: list[str | None], *, is_for_others: bool
) -> None:
    """A container publishes something once any of its ports can be asked for from outside."""
    (endpoint,) = setup().endpoints
    hosts = [address and ip_address(address) for address in addresses]
    ports = tuple(replace(PORT, host_ip=host or None) for host in hosts)
    assert publishes(replace(endpoint, port_mappings=ports)) is is_for_others
    assert not publishes(replace(endpoint, port_mappings=None))


def test_whose_chain_it_is() -> None:
    """Chains of the driver's tables, of firewalld, of bridges and of other hooks do not count."""
    assert is_of_others(chain(), {"inet netavark"})
    for table in ("inet netavark", "inet firewalld", "ip firewalld", "bridge filter"):
        assert not is_of_others(chain(table=table), {"inet netavark"})
    assert not is_of_others(BaseChain("inet site", "out", "output", "drop"), ())
    assert is_of_others(incoming(), ())
    assert not is_of_others(incoming(), (), ["forward"])


@pytest.mark.parametrize("name", ["bookworm-netavark-standard", "bookworm-cni-standard"])
def test_the_chain_that_the_rules_of_podman_are_in(name: str) -> None:
    """Where iptables' FORWARD drops, published ports do not answer: Podman accepts no new one.

    The driver's own rules there do not count, what containers send is accepted by them, and a port
    of the loopback address passes elsewhere.
    """
    driver = FirewallDriver.CNI if "cni" in name else FirewallDriver.IPTABLES
    saved = (HOSTS / name / "iptables.save").read_text()
    prefixes = ("NETAVARK", "CNI-")
    _, healthy = filter_chains({"ip": saved}, own=lambda each: each.startswith(prefixes))
    assert not drops(healthy)
    closed = saved.replace(":FORWARD ACCEPT", ":FORWARD DROP")
    _, dropping = filter_chains({"ip": closed}, own=lambda each: each.startswith(prefixes))
    assert drops(dropping)
    assert shut_out(setup(driver, PORT), [dropping]) != []
    assert shut_out(setup(driver), [dropping]) == []
    local = PortMapping(8080, 80, "tcp", host_ip=ip_address("127.0.0.1"))
    assert shut_out(setup(driver, local), [dropping]) == []
    accepted = closed.replace("-A FORWARD", "-A FORWARD -o podman0 -j ACCEPT\n-A FORWARD", 1)
    _, passing = filter_chains({"ip": accepted}, own=lambda each: each.startswith(prefixes))
    assert shut_out(setup(driver, PORT), [passing]) == []


@pytest.mark.parametrize(
    ("table", "rule", "wanted"),
    [
        ("ip filter", "counter jump ufw-before-forward", "ufw route allow in on podman0; ufw"),
        ("ip filter", "jump DOCKER-USER", "iptables -I DOCKER-USER -i podman0 -j ACCEPT; "),
        ("ip6 filter", "jump theirs", "ip6tables -I passing -i podman0 -j ACCEPT; ip6tables"),
        ("inet site", "jump theirs", "nft insert rule inet site passing iifname podman0 accept; "),
    ],
)
def test_the_remedy_is_in_the_words_of_who_drops(table: str, rule: str, wanted: str) -> None:
    """ufw, Docker, iptables and nftables each have their own way to let a network through."""
    found = remedy(chain(rule, table=table), "podman0", nftables.ABOUT.tables)
    assert found.startswith(wanted)


def test_the_remedy_leaves_isolation_in_place() -> None:
    """Where Podman's own chains are behind the remedy, it lets nothing past but forwarded ports."""
    for driver in (FirewallDriver.IPTABLES, FirewallDriver.CNI):
        found = remedy(chain("jump theirs", table="ip filter"), "podman0", about(driver).tables)
        assert found == "iptables -I passing -m conntrack --ctstate DNAT -j ACCEPT"


def test_a_drop_before_the_end_is_one() -> None:
    """A rule that drops everything drops, wherever it stands; what is behind it is not reached."""
    early = ("-j REJECT --reject-with icmp-port-unreachable", "-i podman0 -j ACCEPT")
    found = chain(*early, table="ip filter", policy="accept")

    assert drops(found)
    assert reached({"FORWARD": early}, "FORWARD") == early[:1]
    behind = ("jump shut", "-j shut", "-g more", "accept")
    around = {"FORWARD": behind, "shut": ("drop", "jump FORWARD"), "more": ("return",)}
    assert reached(around, "FORWARD") == (*behind, "drop", "jump FORWARD", "return")
    assert "delete “-j REJECT" in remedy(found, "podman0", iptables.ABOUT.tables)
    assert not drops(chain("-j ACCEPT", *early, table="ip filter", policy="accept"))


@pytest.mark.parametrize(
    "rule",
    [
        'iifname "podman0" accept comment "icmp"',
        'iifname { "lo", "podman*" } udp dport 53 counter accept',
        "ip saddr 10.0.0.0/8 counter accept",
        "ip saddr { 10.0.0.0-10.255.255.255 } accept",
        "udp dport 53 accept",
        "udp dport { 50-60, 443 } accept",
        "udp dport { 53-60 } accept",
        "udp dport { 50-53 } accept",
        "ct state established,related,new accept",
        "meta l4proto { tcp, udp } th dport 53 accept",
        "udp dport vmap { 53 : accept, 123 : accept }",
        "udp dport domain accept",
        "udp dport @allowed accept",
        'iifname . udp dport { "podman0" . 53 } accept',
        "iifname vmap @zones",
        'iifname != "eth0" accept',
        "meta mark 0x1 accept",
        "counter queue to 0",
        "-i podman+ -p udp -m udp --dport 53 -j ACCEPT",
        "-s 10.88.0.0/16 -p udp -m multiport --dports 53,5353 -j ACCEPT",
        "-p udp -m udp --dport 1:1024 -j ACCEPT",
        "-m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT",
        "-j ACCEPT",
    ],
)
def test_whose_questions_may_be_accepted_is_not_told(rule: str) -> None:
    """Every rule that may let questions to the DNS server through counts, behind a jump, too."""
    assert list(unheard(asking(), [incoming("udp dport 67 accept", rule)])) == []
    assert list(unheard(asking(), [incoming("jump more", around=(rule,))])) == []


@pytest.mark.parametrize(
    "rule",
    [
        "ct state established,related accept",
        "ct state vmap { invalid : drop, established : accept, related : accept }",
        "fib saddr . iif oif missing drop",
        'iifname "lo" accept',
        'iifname vmap { "lo" : accept, "eth0" : jump outside }',
        "tcp dport { 22, 53, 80 } accept",
        "icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept",
        "ip saddr 192.168.0.0/16 udp dport 53 accept",
        'ip saddr 192.168.1.5 accept comment "dns: udp dport 53"',
        "udp sport 67 udp dport 68 accept",
        "udp dport { 50-52, 54-60 } accept",
        'iifname "podman0" tcp dport 53 accept',
        'iifname "podman0" udp dport 67 accept',
        "meta pkttype multicast accept",
        "-i lo -j ACCEPT",
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT",
        "-s 192.168.0.0/16 -p udp -m udp --dport 53 -j ACCEPT",
        "-p icmp -m icmp --icmp-type 8 -j ACCEPT",
        "-p udp -m udp --dport 53 -j DROP",
        "-j ufw-user-input",
    ],
)
def test_whose_questions_nobody_accepts_is_told(rule: str) -> None:
    """What accepts something else alone lets no question through."""
    found = list(unheard(asking(), [incoming(rule)]))
    assert [each[1].network.bridge for each in found] == ["podman0"]


def test_questions_are_asked_where_there_is_dns() -> None:
    """A network without a DNS server of the chain's IP version has none, and another hook, none."""
    assert list(unheard([], [incoming()])) == []
    assert list(unheard(asking(), [chain()])) == []
    assert shut_out(setup(), [incoming()]) == []
    only_v4 = asking(network=replace(NETWORK, subnets=SUBNETS[:1]))
    assert list(unheard(only_v4, [incoming(table="ip6 filter")])) == []
    assert list(unheard(only_v4, [incoming(table="ip filter")])) != []


def test_a_dns_port_of_its_own_is_the_one_that_counts() -> None:
    """With dns_bind_port the questions come to that port."""
    assert list(unheard(asking(1153), [incoming("udp dport 53 accept")])) != []
    assert list(unheard(asking(1153), [incoming("udp dport 1153 accept")])) == []


def test_podmans_own_rules_let_questions_through() -> None:
    """netavark's iptables driver accepts them in INPUT itself, unless something drops before."""
    saved = (
        "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:NETAVARK_INPUT - [0:0]\n{}"
        "-A INPUT -j NETAVARK_INPUT\n"
        "-A NETAVARK_INPUT -s 10.88.0.0/16 -p udp -m udp --dport 53 -j ACCEPT\nCOMMIT\n"
    )
    accepting, _ = filter_chains({"ip": saved.format("")}, own=lambda name: "NETAVARK" in name)
    assert drops(accepting)
    assert list(unheard(asking(), [accepting])) == []
    shut = saved.format("-A INPUT -j REJECT\n")
    dropping, _ = filter_chains({"ip": shut}, own=lambda name: "NETAVARK" in name)
    assert list(unheard(asking(), [dropping])) != []
    assert dns_remedy(dropping, "podman0", 53).startswith("delete “-j REJECT”")


@pytest.mark.parametrize(
    ("table", "rule", "wanted"),
    [
        ("ip filter", "jump ufw-before-input", "ufw allow in on podman0 to any port 53"),
        ("ip6 filter", "", "ip6tables -I incoming -i podman0 -p udp --dport 53 -j ACCEPT"),
        (
            "inet site",
            "",
            "nft insert rule inet site incoming iifname podman0 udp dport 53 accept",
        ),
    ],
)
def test_the_remedy_for_questions(table: str, rule: str, wanted: str) -> None:
    """It lets in what asks for names, and nothing else, in the words of whoever drops."""
    assert dns_remedy(incoming(rule, table=table), "podman0", 53) == wanted


CHAINS = """\
# Warning: table ip filter is managed by iptables-nft, do not touch!
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		jump ufw-user
	}

	chain ufw-user {
		oifname "podman0" accept
	}
}
table inet netavark {
	set s {
		type ipv4_addr
	}
	chain INPUT {
		type filter hook input priority filter; policy accept;
	}
}
"""


def test_base_chains() -> None:
    """Chains with a hook are told with policy, rules, and those of chains they may jump to."""
    forward, inner = list(parse_chains(CHAINS))

    around = ("jump ufw-user", 'oifname "podman0" accept')
    assert forward == BaseChain(
        "ip filter", "FORWARD", "forward", "drop", ("jump ufw-user",), around
    )
    assert (inner.table, inner.hook) == ("inet netavark", "input")


def test_a_base_chain_is_known_by_its_first_line() -> None:
    """What a rule says of hooks is no hook, and where no policy is printed, packets pass."""
    text = (
        "table inet site {\n\tchain passing {\n"
        "\t\ttype filter hook forward priority filter;\n"
        '\t\tcounter comment "see hook input"\n'
        '\t\tdrop comment "chain {"\n\t}\n}\n'
    )
    rules = ('counter comment "see hook input"', 'drop comment "chain {"')
    around = rules
    wanted = BaseChain("inet site", "passing", "forward", "accept", rules, around)
    assert list(parse_chains(text)) == [wanted]


def test_handles_are_no_part_of_rules() -> None:
    """`nft --handle` adds a number to each line but a chain's end: the same chains are read."""
    ends = ("}", ";", "\n", "netavark, do not touch!")
    lines = [x if x.endswith(ends) or not x else f"{x} # handle 7" for x in CHAINS.splitlines()]

    assert list(parse_chains("\n".join(lines))) == list(parse_chains(CHAINS))


@given(st.text())
def test_any_list_of_chains_is_read(text: str) -> None:
    """Whatever nft prints, reading it goes well."""
    list(parse_chains(text))
