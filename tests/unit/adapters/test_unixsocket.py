# SPDX-License-Identifier: Apache-2.0
"""Listening sockets, as the kernel lists them: the path and the listener are two facts."""

import socket
from pathlib import Path

from podwatch.adapters.unixsocket import is_listening, path_exists


def test_path_and_listener_are_two_facts(tmp_path: Path) -> None:
    """A listener outlives its path, a path outlives its listener, a file is no socket."""
    path = str(tmp_path / "a b.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        assert (path_exists(path), is_listening(path)) == (True, False)
        server.listen()
        assert (path_exists(path), is_listening(path)) == (True, True)
        Path(path).unlink()
        assert (path_exists(path), is_listening(path)) == (False, True)
    Path(path).touch()
    assert (path_exists(path), is_listening(path)) == (False, False)
