# SPDX-License-Identifier: Apache-2.0
"""Listening sockets, as the kernel lists them: the path and the listener are two facts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from podwatch.adapters import unixsocket
from podwatch.adapters.unixsocket import is_listening, path_exists

_IN_ANOTHER_PLACE = """
import socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(sys.argv[1])
server.listen()
print("listens", flush=True)
sys.stdin.read()
"""


def _refused() -> None:
    raise OSError


@pytest.mark.parametrize("by", ["file", "name"])
def test_path_and_listener_are_two_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A listener outlives its path, a path outlives its listener, a file is no socket.

    Where the kernel does not tell the file, its name does.
    """
    if by == "name":
        monkeypatch.setattr(unixsocket, "_listeners", _refused)
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


def test_another_file_of_that_name_is_not_listened_on(tmp_path: Path) -> None:
    """Where another socket has taken the path, whoever connects finds nobody: nor does podwatch."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
        server.bind(path)
        server.listen()
        Path(path).unlink()
        other.bind(path)
        assert (path_exists(path), is_listening(path)) == (True, False)


def test_a_socket_whose_directory_is_gone_is_not_there(tmp_path: Path) -> None:
    """Nobody can connect to it by any path; a name that never was is none either."""
    directory = tmp_path / "run"
    directory.mkdir()
    path = str(directory / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        Path(path).unlink()
        assert is_listening(path)
        directory.rmdir()
        assert not is_listening(path)
    assert not is_listening(str(tmp_path / "never"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be sure to get a mount namespace")
def test_a_socket_of_another_mount_namespace_is_not_ours(tmp_path: Path) -> None:
    """A socket that somebody bound to the same name in mounts of his own is not believed."""
    path = str(tmp_path / "s")
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, str(tmp_path), sys.executable, "-c"]
    command = [*argv, _IN_ANOTHER_PLACE, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"listens\n"
        assert f" {path}\n" in Path("/proc/net/unix").read_text()
        assert not is_listening(path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            assert not is_listening(path)
            server.listen()
            assert is_listening(path)
        process.communicate(b"")
