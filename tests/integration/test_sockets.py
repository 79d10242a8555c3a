# SPDX-License-Identifier: Apache-2.0
"""Who keeps the host's ports, asked of the real kernel."""

import os
import socket
from pathlib import Path

import pytest

from podwatch.adapters.kernel import read_sockets
from podwatch.adapters.sockets import bound
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration


@in_private_network
def test_an_odd_name_cannot_reach_a_terminal() -> None:
    """Who keeps a port may call itself what a terminal obeys: it is told without that."""
    comm = Path("/proc/self/comm")
    before = comm.read_text()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 8080))
        listening.listen()
        comm.write_text("\x9b31m\u202eodd")
        try:
            kernel = read_sockets({})
        finally:
            comm.write_text(before.strip())

    assert (kernel.held or {}) == {(8080, "tcp"): f"\ufffd31m\ufffdodd (pid {os.getpid()})"}


def _tells_of_bound_sockets() -> bool:
    version, _, rest = os.uname().release.partition(".")
    return (int(version), int(rest.partition(".")[0])) >= (6, 8)


@in_private_network
def test_a_socket_that_is_bound_and_does_not_listen_keeps_its_port() -> None:
    """As podman 6 leaves published ports: found with its owner, over IPv4 and IPv6."""
    with (
        socket.socket() as silent,
        socket.socket(socket.AF_INET6) as silent6,
        socket.socket() as listening,
        socket.socket() as unbound,
    ):
        silent.bind(("0.0.0.0", 8080))  # noqa: S104 - as podman does, in a namespace of the test's own
        silent6.bind(("::", 8081))
        listening.bind(("127.0.0.1", 8082))
        listening.listen()
        unbound.settimeout(1)
        found = bound()
        kernel = read_sockets({}, found)

    expected = {(8080, "tcp"), (8081, "tcp")} if _tells_of_bound_sockets() else set()
    assert found.keys() == expected == kernel.bound
    assert (kernel.held or {}).keys() == {*expected, (8082, "tcp")}
    assert all(f"(pid {os.getpid()})" in (kernel.held or {})[lock] for lock in expected)
