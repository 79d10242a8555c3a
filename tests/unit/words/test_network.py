# SPDX-License-Identifier: Apache-2.0
"""How the words of a network are shown to a person."""

from ipaddress import ip_address

import pytest

from podwatch.words.network import Container, ContainerState, PortMapping


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


def test_one_port_of_a_range_is_one_port() -> None:
    """It leads as far into the container's range as it is in the host's."""
    mapping = PortMapping(9000, 100, "tcp", 3, ip_address("192.0.2.1"))
    assert mapping.only(9002) == PortMapping(9002, 102, "tcp", 1, ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    ("address", "way"),
    [
        ("10.89.0.2", "9000-9001/tcp → 10.89.0.2:80"),
        ("fd00::2", "9000-9001/tcp → [fd00::2]:80"),
    ],
)
def test_a_way_leads_from_the_host_to_the_first_port(address: str, way: str) -> None:
    """An address of IPv6 stands in brackets before a port."""
    assert PortMapping(9000, 80, "tcp", 2).way_to(ip_address(address)) == way


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


ANSWERS = {
    ContainerState.CREATED: {"is_running", "is_doubtful"},
    ContainerState.PRESUMED: {"is_running"},
    ContainerState.UP: {"is_running", "is_up"},
    ContainerState.PAUSED: {"is_running", "is_up", "is_paused"},
    ContainerState.UNLISTED: {"is_running"},
    ContainerState.JUST_ENDED: set(),
    ContainerState.ENDED: {"is_dead", "is_doubtful"},
    ContainerState.GONE: {"is_dead", "is_doubtful"},
}


@pytest.mark.parametrize("state", ContainerState)
def test_a_state_answers_every_question(state: ContainerState) -> None:
    """Of each state it is fixed whether rules are expected, and what podman and the kernel say."""
    questions = ("is_running", "is_up", "is_paused", "is_dead", "is_doubtful")
    container = Container("1a", "web", state)

    assert {word for word in questions if getattr(container, word)} == ANSWERS[state]


def test_a_container_is_up_unless_anything_else_is_said() -> None:
    """Whoever makes one of an id and a name takes it for up."""
    assert Container("1a", "web").state is ContainerState.UP
