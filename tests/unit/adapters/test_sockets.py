# SPDX-License-Identifier: Apache-2.0
"""Sockets that are bound and do not listen, as the real kernel lists them."""

import os
import socket

from podwatch.adapters.sockets import bound


def _tells() -> bool:
    version, _, rest = os.uname().release.partition(".")
    return (int(version), int(rest.partition(".")[0])) >= (6, 8)


def test_a_port_that_is_bound_has_its_socket() -> None:
    """By port and protocol, over IPv4 and IPv6; one that listens is another program's to list."""
    with (
        socket.socket() as silent,
        socket.socket(socket.AF_INET6) as silent6,
        socket.socket() as listening,
    ):
        silent.bind(("127.0.0.1", 0))
        silent6.bind(("::1", 0))
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        found = bound()
        expected = {
            (each.getsockname()[1], "tcp"): str(os.fstat(each.fileno()).st_ino)
            for each in (silent, silent6)
        }
        port = listening.getsockname()[1]

    assert {key: found.get(key) for key in expected} == (
        expected if _tells() else dict.fromkeys(expected)
    )
    assert (port, "tcp") not in found
