# SPDX-License-Identifier: Apache-2.0
"""netavark's state files: what is read from them, and that nothing odd is ever guessed at."""

import json
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.state import parse_driver, parse_endpoint, parse_network
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Endpoint, FirewallDriver, Isolation, Network, PortMapping

NETWORK: dict[str, Any] = {
    "subnets": ["10.89.3.0/24", "fd10:88:a::/64"],
    "bridge_name": "podman1",
    "network_id": "ec79dd0cad82",
    "network_hash_name": "52A648766DA40",
    "isolation": "Normal",
    "dns_port": 53,
}
ENDPOINT: dict[str, Any] = {
    "container_id": "2d0d2f1b",
    "network_id": "ec79dd0cad82",
    "port_mappings": [
        {"container_port": 80, "host_ip": "", "host_port": 8080, "protocol": "tcp", "range": 1},
        {"container_port": 53, "host_ip": "192.0.2.5", "host_port": 5353, "protocol": "udp"},
        {"container_port": 9000, "host_ip": "::", "host_port": 90, "protocol": "sctp", "range": 3},
    ],
    "network_name": "dual",
    "network_hash_name": "52A648766DA40",
    "container_ip_v4": "10.89.3.2",
    "subnet_v4": "10.89.3.0/24",
    "container_ip_v6": "fd10:88:a::2",
    "subnet_v6": "fd10:88:a::/64",
    "dns_port": 1053,
    "dns_server_ips": ["10.89.3.1", "fd10:88:a::1"],
}


def network(**changes: Any) -> Network:
    """The network file with some keys changed, parsed."""
    return parse_network(json.dumps(NETWORK | changes))


def endpoint(**changes: Any) -> Endpoint:
    """The container file with some keys changed, parsed."""
    return parse_endpoint(json.dumps(ENDPOINT | changes))


def without(data: dict[str, Any], *keys: str) -> str:
    """A file that lacks some keys, as text."""
    return json.dumps({key: value for key, value in data.items() if key not in keys})


@pytest.mark.parametrize("word", ["nftables", "iptables", "firewalld", "none", "nftables\n"])
def test_drivers_are_read(word: str) -> None:
    """Each of netavark's drivers is known by its name, with or without a newline behind it."""
    assert parse_driver(word) is FirewallDriver(word.strip())


@pytest.mark.parametrize("word", ["", "nft", "NFTABLES", "nftables iptables", "\0"])
def test_other_words_are_no_driver(word: str) -> None:
    """A word that is not a driver is an error that quotes it."""
    with pytest.raises(StateUnreadable, match="unknown firewall driver") as caught:
        parse_driver(word)
    assert repr(word.strip()) in str(caught.value)
    assert caught.value.hint


def test_a_network_is_read_whole() -> None:
    """Every key of a network file of netavark 1.14 ends up where it belongs."""
    assert network() == Network(
        id="ec79dd0cad82",
        bridge="podman1",
        subnets=(ip_network("10.89.3.0/24"), ip_network("fd10:88:a::/64")),
        isolation=Isolation.NORMAL,
        dns_port=53,
        internal=False,
        outbound=(),
        hash_name="52A648766DA40",
    )


def test_a_container_is_read_whole() -> None:
    """Every key of a container's file of netavark 1.14 ends up where it belongs."""
    assert endpoint() == Endpoint(
        container_id="2d0d2f1b",
        network_id="ec79dd0cad82",
        network_name="dual",
        addresses=(
            (ip_address("10.89.3.2"), ip_network("10.89.3.0/24")),
            (ip_address("fd10:88:a::2"), ip_network("fd10:88:a::/64")),
        ),
        port_mappings=(
            PortMapping(8080, 80, "tcp"),
            PortMapping(5353, 53, "udp", host_ip=ip_address("192.0.2.5")),
            PortMapping(90, 9000, "sctp", 3, ip_address("::")),
        ),
        dns_port=1053,
        dns_servers=(ip_address("10.89.3.1"), ip_address("fd10:88:a::1")),
        internal=False,
    )


def test_keys_of_older_versions_are_enough() -> None:
    """netavark 1.9 knew no network_id: it is taken from the file's name."""
    old = parse_network(without(NETWORK, "network_id"), network_id="abc")
    assert old.id == "abc"
    old_endpoint = parse_endpoint(
        without(ENDPOINT, "network_id", "container_id"), network_id="abc", container_id="d0e"
    )
    assert (old_endpoint.network_id, old_endpoint.container_id) == ("abc", "d0e")


def test_keys_of_newer_versions_are_read_or_ignored() -> None:
    """netavark 2's outbound addresses and `internal` are read; unknown keys change nothing."""
    newer = network(
        outbound_addr4="192.0.2.9", outbound_addr6="2001:db8::9", internal=True, color="green"
    )
    assert newer.outbound == (ip_address("192.0.2.9"), ip_address("2001:db8::9"))
    assert newer.internal
    assert network(color={"green": [1]}) == network()
    assert endpoint(internal=True, color=None).internal


@pytest.mark.parametrize("key", ["subnets", "isolation", "dns_port", "network_hash_name"])
def test_a_network_file_may_lack(key: str) -> None:
    """What older versions did not write has netavark's own defaults."""
    found = parse_network(without(NETWORK, key))
    assert (found.bridge, found.dns_port) == ("podman1", 53)


@pytest.mark.parametrize(
    "key", ["port_mappings", "network_name", "dns_port", "dns_server_ips", "subnet_v6"]
)
def test_a_container_file_may_lack(key: str) -> None:
    """What older versions or simpler containers do not have is not needed."""
    found = parse_endpoint(without(ENDPOINT, key))
    assert found.container_id == "2d0d2f1b"
    assert found.dns_port == (53 if key == "dns_port" else 1053)


def test_a_container_of_a_build_is_one() -> None:
    """`podman build` gives the container it works in a name for an id (podman 5.4.2)."""
    text = json.dumps({**ENDPOINT, "container_id": "buildah-buildah378019839"})
    assert parse_endpoint(text).container_id == "buildah-buildah378019839"


def test_absent_values_may_be_null() -> None:
    """netavark writes null for what a container does not have."""
    bare = endpoint(port_mappings=None, container_ip_v6=None, subnet_v6=None, dns_server_ips=None)
    assert bare.port_mappings is None
    assert [address.version for address, _ in bare.addresses] == [4]
    for half in ("container_ip_v4", "subnet_v4"):
        assert [address.version for address, _ in endpoint(**{half: None}).addresses] == [6]
    assert network(subnets=None).subnets == ()


@pytest.mark.parametrize("name", ["b", "fifteen-letters", "br-1.2@x"])
def test_an_interface_has_a_short_name(name: str) -> None:
    """Of one to fifteen letters, as the kernel has it (IFNAMSIZ)."""
    assert network(bridge_name=name).bridge == name


@pytest.mark.parametrize("port", [0, 65535])
def test_a_port_is_a_number_of_16_bits(port: int) -> None:
    """The first and the last are ports, wherever one stands; one that is not written is 0."""
    mapping = {"host_port": port, "container_port": port, "protocol": "udp"}
    found = endpoint(port_mappings=[mapping], dns_port=port)
    assert found.port_mappings == (PortMapping(port, port, "udp"),)
    assert found.dns_port == network(dns_port=port).dns_port == port
    assert endpoint(port_mappings=[{"protocol": "tcp"}]).port_mappings == (
        PortMapping(0, 0, "tcp"),
    )


def test_a_range_may_end_at_the_last_port() -> None:
    """Not behind it, on either side (see below)."""
    for first, second in ((65534, 1), (1, 65534)):
        mapping = {"host_port": first, "container_port": second, "protocol": "tcp", "range": 2}
        found = endpoint(port_mappings=[mapping]).port_mappings
        assert found == (PortMapping(first, second, "tcp", 2),)


@pytest.mark.parametrize("count", [0, 1])
def test_a_range_of_none_is_one_port(count: int) -> None:
    """netavark writes 0 or 1 for a single port."""
    mapping = {"host_port": 1, "container_port": 2, "protocol": "tcp", "range": count}
    assert endpoint(port_mappings=[mapping]).port_mappings == (PortMapping(1, 2, "tcp"),)


def test_a_subnet_may_have_host_bits() -> None:
    """netavark keeps a subnet as the configuration has it; the network is what counts."""
    assert network(subnets=["10.89.3.1/24"]).subnets == (ip_network("10.89.3.0/24"),)


@pytest.mark.parametrize("word", ["Never", "Normal", "Strict", "strict"])
def test_isolation_is_read(word: str) -> None:
    """Each isolation is known by netavark's word for it."""
    assert network(isolation=word).isolation is Isolation(word.lower())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"subnets": "10.89.3.0/24"}, "subnets"),
        ({"subnets": [1]}, "subnets"),
        ({"subnets": ["10.89.3.0/33"]}, "10.89.3.0/33"),
        ({"bridge_name": ""}, "bridge_name"),
        ({"bridge_name": None}, "bridge_name"),
        ({"bridge_name": 7}, "bridge_name"),
        ({"bridge_name": "sixteen-letters!"}, "bridge_name"),
        ({"bridge_name": 'x" drop'}, "bridge_name"),
        *(({"bridge_name": f"a{char}b"}, "bridge_name") for char in '"\\/{}; \n'),
        ({"network_hash_name": "a\nb"}, "network_hash_name"),
        ({"network_id": []}, "network_id"),
        ({"isolation": "sometimes"}, "sometimes"),
        ({"isolation": True}, "isolation"),
        ({"dns_port": "53"}, "dns_port"),
        ({"dns_port": -1}, "dns_port"),
        ({"dns_port": 65536}, "65536"),
        ({"dns_port": True}, "dns_port"),
        ({"dns_port": 53.0}, "dns_port"),
        ({"internal": "no"}, "internal"),
        ({"outbound_addr4": "nowhere"}, "nowhere"),
        ({"outbound_addr4": 7}, "outbound_addr4"),
    ],
)
def test_wrong_values_of_a_network_are_named(change: dict[str, Any], named: str) -> None:
    """A value of the wrong kind is an error that names it, never a guess."""
    with pytest.raises(StateUnreadable, match=named.replace("|", r"\|")):
        network(**change)


def _mapping(**changes: Any) -> dict[str, Any]:
    return {
        "port_mappings": [
            {"host_port": 80, "container_port": 80, "protocol": "tcp", "range": 1, "host_ip": ""}
            | changes
        ]
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"container_id": "../../etc"}, "container_id"),
        ({"container_id": "x; reboot"}, "container_id"),
        ({"container_id": ""}, "container_id"),
        ({"container_ip_v4": "10.0.0"}, "container_ip_v4"),
        ({"container_ip_v6": 6}, "container_ip_v6"),
        ({"subnet_v4": "10.89.3.0/x"}, "subnet_v4"),
        ({"port_mappings": {}}, "port_mappings"),
        ({"port_mappings": ["80"]}, "port_mappings"),
        (_mapping(protocol="icmp"), "icmp"),
        (_mapping(protocol="tcp,udp"), "tcp,udp"),
        (_mapping(protocol=None), "protocol"),
        (_mapping(host_port="80"), "host_port"),
        (_mapping(container_port=None), "container_port"),
        (_mapping(host_port=65536), "host_port"),
        (_mapping(container_port=65536), "container_port"),
        (_mapping(host_port=0, container_port=0, range=65536), "range"),
        (_mapping(range=-1), "range"),
        (_mapping(host_port=65535, range=2), "range"),
        (_mapping(container_port=65000, range=1000), "range"),
        (_mapping(host_ip="localhost"), "localhost"),
        (_mapping(host_ip=1), "host_ip"),
        ({"dns_port": None}, "dns_port"),
        ({"dns_port": 65536}, "dns_port"),
        ({"dns_server_ips": "10.89.3.1"}, "dns_server_ips"),
        ({"dns_server_ips": ["aardvark"]}, "aardvark"),
        ({"network_name": 5}, "network_name"),
        ({"internal": 1}, "internal"),
    ],
)
def test_wrong_values_of_a_container_are_named(change: dict[str, Any], named: str) -> None:
    """A value of the wrong kind is an error that names it, never a guess."""
    with pytest.raises(StateUnreadable, match=named):
        endpoint(**change)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "null",
        "[]",
        "7",
        '"text"',
        "{}x",
        "\0",
        "[" * 100_000,
        json.dumps(NETWORK)[:-9],
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_not_a_whole_object_is_an_error(text: str) -> None:
    """An empty, half-written or foreign file is an error, whichever kind of file it was to be."""
    for parse in (parse_network, parse_endpoint):
        with pytest.raises(StateUnreadable, match="JSON"):
            parse(text)


def test_a_long_wrong_value_is_quoted_short() -> None:
    """An error stays readable whatever is in the file."""
    with pytest.raises(StateUnreadable) as caught:
        network(isolation="x" * 100_000)
    assert len(str(caught.value)) < 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(NETWORK)), json_values)
def test_any_value_of_a_network_is_read_or_an_error(key: str, value: Any) -> None:
    """Whatever stands behind a key of a network file, nothing but StateUnreadable is raised."""
    with suppress(StateUnreadable):
        assert isinstance(network(**{key: value}), Network)


@given(st.sampled_from(sorted(ENDPOINT)), json_values)
def test_any_value_of_a_container_is_read_or_an_error(key: str, value: Any) -> None:
    """Whatever stands behind a key of a container's file, nothing but StateUnreadable is raised."""
    with suppress(StateUnreadable):
        assert isinstance(endpoint(**{key: value}), Endpoint)


@given(st.text())
def test_no_text_is_taken_for_a_file(text: str) -> None:
    """Text that is not such a file raises StateUnreadable and nothing else."""
    for parse in (parse_network, parse_endpoint):
        with pytest.raises(StateUnreadable):
            parse(text)
