# SPDX-License-Identifier: Apache-2.0
"""How the words of a network are shown to a person."""

from ipaddress import ip_address

import pytest

from podwatch.words.network import Container, PortMapping


@pytest.mark.parametrize(
    ("mapping", "shown"),
    [
        (PortMapping(8080, 80, "tcp"), "8080/tcp"),
        (PortMapping(5353, 53, "udp"), "5353/udp"),
        (PortMapping(9000, 1, "sctp", 3), "9000-9002/sctp"),
        (PortMapping(80, 80, "tcp", host_ip=ip_address("192.0.2.1")), "192.0.2.1:80/tcp"),
        (PortMapping(80, 80, "tcp", 2, ip_address("2001:db8::1")), "[2001:db8::1]:80-81/tcp"),
        (PortMapping(80, 80, "tcp", host_ip=ip_address("::")), "80/tcp"),
        (PortMapping(80, 80, "tcp", host_ip=ip_address(0)), "80/tcp"),
    ],
)
def test_a_port_mapping_is_shown_as_it_is_typed(mapping: PortMapping, shown: str) -> None:
    """A mapping reads like the argument of --publish; a wildcard address is left out."""
    assert str(mapping) == shown


@pytest.mark.parametrize(
    ("container", "title"),
    [
        (Container("1a", "web"), "web"),
        (Container("1a", "1a-infra", pod="shop", is_infra=True), "pod shop"),
        (Container("1a", "till", pod="shop"), "till"),
        (Container("1a", "1a-infra", is_infra=True), "1a-infra"),
    ],
)
def test_a_container_has_the_name_a_person_knows(container: Container, title: str) -> None:
    """A pod's infra container goes by the pod's name, any other by its own."""
    assert container.title == title
