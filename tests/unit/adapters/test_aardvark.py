# SPDX-License-Identifier: Apache-2.0
"""Reading aardvark-dns' files and processes, from directories that look like theirs.

And the port that podman's configuration wants it to answer on.
"""

from ipaddress import ip_address
from pathlib import Path

import pytest

from podwatch.adapters.aardvark import read_server, serving_port
from podwatch.adapters.paths import Paths
from podwatch.adapters.podman_networks import PodmanNetworks
from podwatch.words.names import NameServer, Served


def process(proc: Path, pid: int, comm: str, *arguments: object) -> None:
    """A process as /proc shows it."""
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{comm}\n")
    (proc / str(pid) / "cmdline").write_bytes(b"".join(f"{x}\0".encode() for x in arguments))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a network, an internal one, and what makes no sense."""
    directory = tmp_path / "aardvark-dns"
    directory.mkdir()
    (directory / "app").write_text("10.89.50.1,fd50::1\n8eb3 10.89.50.2 fd50::2 web\n")
    (directory / "inn%int").write_text("10.89.0.1\n2808 10.89.0.2  in\n")
    (directory / "odd").write_text("what?\n")
    (directory / "aardvark.pid").write_text("247")
    return directory


def read(files: Path, proc: Path) -> NameServer:
    """What is read; there is something."""
    found = read_server(files, proc)
    assert found is not None
    return found


def test_no_directory_no_server(tmp_path: Path) -> None:
    """Where netavark keeps no files of names there is nothing to know."""
    assert read_server(tmp_path / "none", tmp_path) is None


def test_the_one_that_is_named(files: Path, tmp_path: Path) -> None:
    """Networks by their names, the internal one too, and the process that serves them."""
    proc = tmp_path / "proc"
    process(proc, 247, "aardvark-dns", "aardvark-dns", "--config", files, "-p", "53", "run")
    found = read(files, proc)

    assert found.is_alive
    assert found.served == (
        Served("app", str(files / "app"), (ip_address("10.89.50.1"), ip_address("fd50::1"))),
        Served("inn", str(files / "inn%int"), (ip_address("10.89.0.1"),)),
    )


def test_one_that_is_not_named_and_one_of_a_user(files: Path, tmp_path: Path) -> None:
    """Only who serves this directory counts; whoever has the number in the file is named."""
    proc = tmp_path / "proc"
    process(proc, 247, "evil\x1b[31m", "evil")
    process(proc, 300, "aardvark-dns", "aardvark-dns", "--config", "/run/user/1000/x", "run")
    process(proc, 301, "aardvark-dns", "aardvark-dns", "--config", files, "run")
    found = read(files, proc)

    assert (found.named, found.running, found.is_alive) == (247, (301,), False)
    assert found.name.isprintable()


@pytest.mark.parametrize("text", ["", "x", "-1", "9" * 40, "\u0662"])
def test_a_pid_file_that_makes_no_sense(files: Path, tmp_path: Path, text: str) -> None:
    """It names nobody."""
    (files / "aardvark.pid").write_text(text)
    (tmp_path / "proc").mkdir()
    assert read(files, tmp_path / "proc").named == 0


@pytest.mark.parametrize(
    ("pid", "command", "port"),
    [
        ("7", "/usr/lib/podman/aardvark-dns --config {} -p 1053 run", 1053),
        ("7\n", "/usr/lib/podman/aardvark-dns --config {} -p 53 run", 53),
        ("7", "/usr/lib/podman/aardvark-dns --config {} -p", None),
        ("7", "/usr/lib/podman/aardvark-dns --config {} -p x run", None),
        ("7", "/usr/lib/podman/aardvark-dns --config {} run", None),
        ("7", "/usr/lib/podman/aardvark-dns --config /elsewhere -p 1053 run", None),
        ("7", "sleep {} -p 1053", None),
        ("7", "", None),
        ("8", "/usr/lib/podman/aardvark-dns --config {} -p 1053 run", None),
        ("", "/usr/lib/podman/aardvark-dns --config {} -p 1053 run", None),
        (None, "/usr/lib/podman/aardvark-dns --config {} -p 1053 run", None),
    ],
)
def test_the_port_it_serves(
    tmp_path: Path, pid: str | None, command: str, port: int | None
) -> None:
    """It is what the process that the pid file names was started with; else it is not known."""
    directory, proc = tmp_path / "aardvark-dns", tmp_path / "proc"
    directory.mkdir()
    if pid is not None:
        (directory / "aardvark.pid").write_text(pid)
    words = command.format(directory).split()
    process(proc, 7, Path(words[0]).name if words else "kthread", *words)
    assert serving_port(directory, proc) == port


def test_the_port_podman_wants(tmp_path: Path) -> None:
    """The last containers.conf that sets it wins; 0, like none of them, means 53."""
    first, drop_ins = tmp_path / "containers.conf", tmp_path / "containers.conf.d"
    networks = PodmanNetworks(Paths(containers_conf=(tmp_path / "none.conf", first, drop_ins)))
    assert networks.read_dns_port() == 53
    first.write_text("[network]\ndns_bind_port = 1053\n")
    assert networks.read_dns_port() == 1053
    drop_ins.mkdir()
    (drop_ins / "10-other.conf").write_text("[network]\ndns_bind_port = 2053\n")
    (drop_ins / "20-not-toml.conf").write_text("[network")
    (drop_ins / "30-no-conf.txt").write_text("[network]\ndns_bind_port = 3053\n")
    assert networks.read_dns_port() == 2053
    (drop_ins / "40-own.conf").write_text("[network]\ndns_bind_port = 0\n")
    assert networks.read_dns_port() == 53
