# SPDX-License-Identifier: Apache-2.0
"""What a containers.conf says of Podman's networks."""

import pytest

from podwatch.formats.containers_conf import (
    ContainersConf,
    choose_backend,
    parse_containers_conf,
)
from podwatch.words.dhcp import Backend
from podwatch.words.errors import StateUnreadable


def test_backend_and_directory() -> None:
    """They are read from [network]; what is not set, or is of another kind, is empty."""
    text = '[network]\nnetwork_backend = "cni"\nnetwork_config_dir = "/srv/nets"\n'

    assert parse_containers_conf(text) == ContainersConf("cni", "/srv/nets")
    assert parse_containers_conf("[containers]\npids_limit = 0\n") == ContainersConf()
    odd = "[network]\nnetwork_backend = 7\nnetwork_config_dir = [1]\n"
    assert parse_containers_conf(odd) == ContainersConf("", "", None)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("[network]\ndns_bind_port = 1053\n", 1053),
        ("[network]\ndns_bind_port = 0\n", 0),
        ('[network]\nnetwork_backend = "netavark"\n', None),
        ("[network]\ndns_bind_port = true\n", None),
        ('[network]\ndns_bind_port = "1053"\n', None),
        ("network = 3\n", None),
        ("", None),
    ],
)
def test_the_port_of_aardvark_dns(text: str, port: int | None) -> None:
    """A number, or nothing is said of it."""
    assert parse_containers_conf(text).dns_port == port


@pytest.mark.parametrize(
    ("named", "netavark", "cni", "backend"),
    [
        ("cni", True, False, Backend.CNI),
        ("netavark", False, True, Backend.NETAVARK),
        ("of Podman 9", False, True, Backend.NETAVARK),
        ("", False, True, Backend.CNI),
        ("", True, True, Backend.NETAVARK),
        ("", False, False, Backend.NETAVARK),
        ("", True, False, Backend.NETAVARK),
    ],
)
def test_the_backend_is_named_or_the_one_there_is(
    named: str, backend: Backend, *, netavark: bool, cni: bool
) -> None:
    """Podman 3 names none: it is CNI where CNI has a network and netavark is not installed."""
    assert choose_backend(named, netavark=netavark, cni=cni) is backend


@pytest.mark.parametrize("text", ["= broken", "[network", "x = " + "[" * 100_000])
def test_a_containers_conf_that_is_none(text: str) -> None:
    """What is not TOML is an error, neither a backend nor a port."""
    with pytest.raises(StateUnreadable, match="not TOML"):
        parse_containers_conf(text)
