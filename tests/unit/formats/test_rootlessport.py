# SPDX-License-Identifier: Apache-2.0
"""What rootlessport is told, as podman tells it."""

import json
from ipaddress import ip_address

import pytest

from podwatch.formats.rootlessport import as_config, bridge_address, slirp_address
from podwatch.words.network import Container, PortMapping

WEB1 = Container(
    "1ebd",
    "web1",
    sandbox="/run/user/1000/netns/netns-1",
    ports=(
        PortMapping(8082, 80, "tcp"),
        PortMapping(5000, 5000, "udp", 10, ip_address("127.0.0.1")),
    ),
)


def test_it_is_told_what_to_publish_and_for_whom() -> None:
    """In podman's own words: no address of the host's is all of them."""
    text = as_config(WEB1, ip_address("10.89.0.2"), "/run/user/1000/libpod/tmp", is_on_bridge=True)
    assert json.loads(text) == {
        "Mappings": [
            {
                "host_ip": "",
                "container_port": 80,
                "host_port": 8082,
                "range": 1,
                "protocol": "tcp",
            },
            {
                "host_ip": "127.0.0.1",
                "container_port": 5000,
                "host_port": 5000,
                "range": 10,
                "protocol": "udp",
            },
        ],
        "NetNSPath": "/run/user/1000/netns/netns-1",
        "ExitFD": 3,
        "ReadyFD": 4,
        "TmpDir": "/run/user/1000/libpod/tmp",
        "ChildIP": "10.89.0.2",
        "ContainerID": "1ebd",
        "RootlessCNI": True,
    }


def test_on_a_bridge_an_ipv4_address_is_taken_first() -> None:
    """As podman does."""
    v4, v6 = ip_address("10.89.0.2"), ip_address("fd00::2")
    assert bridge_address([v6, v4]) == v4
    assert bridge_address([v6]) == v6
    assert bridge_address([]) is None


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("-c", "10.0.2.100"),
        ("-c --cidr=10.5.0.0/16 tap0", "10.5.0.100"),
        ("--cidr 10.6.7.0/24", "10.6.7.100"),
        ("--cidr=10.5.0.0/30", "None"),
        ("--cidr=x", "None"),
        ("--cidr", "None"),
    ],
)
def test_slirp4netns_gives_the_hundredth_address(words: str, address: str) -> None:
    """Of its subnet, which is an argument or the usual one."""
    assert str(slirp_address(["slirp4netns", *words.split()])) == address


def test_without_a_command_line_the_usual_subnet_counts() -> None:
    """Nothing was read, and that is no error."""
    assert str(slirp_address(())) == "10.0.2.100"
