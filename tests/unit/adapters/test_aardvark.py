# SPDX-License-Identifier: Apache-2.0
"""Reading aardvark-dns' files and processes, from directories that look like theirs.

And the port that podman's configuration wants it to answer on.
"""

import os
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from podwatch.adapters.aardvark import (
    MAX_FILES,
    SCAN_EVERY_S,
    Aardvark,
    read_sockets,
    serving_port,
)
from podwatch.adapters.paths import Paths
from podwatch.adapters.podman_networks import PodmanNetworks
from podwatch.words.errors import RestoreFailed, Unreadable
from podwatch.words.names import Entry, NameServer, Place, Served

OWN = f"Name:\taardvark-dns\nUid:\t{os.geteuid()}\t0\t0\t0\nNSpid:\t7\nNSpgid:\t7\n"


def process(proc: Path, pid: int, comm: str, *arguments: object, status: str = OWN) -> None:
    """A process as /proc shows it, of this host and of whoever runs the test."""
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{comm}\n")
    (proc / str(pid) / "cmdline").write_bytes(b"".join(f"{x}\0".encode() for x in arguments))
    (proc / str(pid) / "status").write_text(status)


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
    found = Aardvark(files, proc, sockets=dict).read()
    assert found is not None
    return found


def test_no_directory_no_server(tmp_path: Path) -> None:
    """Where netavark keeps no files of names there is nothing to know."""
    assert Aardvark(tmp_path / "none", tmp_path).read() is None


def test_the_one_that_is_named(files: Path, tmp_path: Path) -> None:
    """Networks by their names, the internal one too, and the process that serves them."""
    proc = tmp_path / "proc"
    process(proc, 247, "aardvark-dns", "aardvark-dns", "--config", files, "-p", "53", "run")
    found = read(files, proc)

    assert found.is_alive
    web = Entry("8eb3", (ip_address("10.89.50.2"), ip_address("fd50::2")), ("web",))
    inner = Entry("2808", (ip_address("10.89.0.2"),), ("in",))
    both = ip_address("10.89.50.1"), ip_address("fd50::1")
    assert found.served == (
        Served("app", str(files / "app"), both, (web,)),
        Served("inn", str(files / "inn%int"), (ip_address("10.89.0.1"),), (inner,)),
        Served("odd", str(files / "odd"), (), (), "line 1: what?"),
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


@pytest.mark.parametrize(
    "status",
    [
        OWN.replace(f"Uid:\t{os.geteuid()}", "Uid:\t12345"),
        OWN.replace("NSpid:\t7", "NSpid:\t7\t1"),
        OWN.replace("NSpid:\t7\n", ""),
        "",
    ],
    ids=["another user's", "a container's", "no number", "gone"],
)
def test_who_only_looks_like_it_is_not_it(files: Path, tmp_path: Path, status: str) -> None:
    """Anybody can give himself a name and a command line; a container's root is root, too."""
    proc = tmp_path / "proc"
    process(proc, 247, "aardvark-dns", "aardvark-dns", "--config", files, status=status)
    assert read(files, proc).running == ()


def test_two_of_them_are_found(files: Path, tmp_path: Path) -> None:
    """At the first look, and now and then; what is known costs no search in between."""
    proc, moments = tmp_path / "proc", [0.0]
    process(proc, 247, "aardvark-dns", "aardvark-dns", "--config", files)
    server = Aardvark(files, proc, sockets=dict, clock=lambda: moments[-1])

    def running(*, scan: bool = False) -> tuple[int, ...]:
        found = server.read(scan=scan)
        assert found is not None
        return found.running

    assert running() == (247,)
    process(proc, 248, "aardvark-dns", "aardvark-dns", "--config", files)
    assert running() == (247,)
    assert running(scan=True) == (247, 248)
    (proc / "248" / "comm").write_text("other\n")
    assert running() == (247,)
    process(proc, 249, "aardvark-dns", "aardvark-dns", "--config", files)
    moments.append(SCAN_EVERY_S - 0.1)
    assert running() == (247,)
    moments.append(SCAN_EVERY_S)
    assert running() == (247, 249)


def test_a_file_is_parsed_when_it_was_written(files: Path, tmp_path: Path) -> None:
    """Also within the same tick of the clock; one that is old is not read again."""
    proc = tmp_path / "proc"
    proc.mkdir()
    server, old = Aardvark(files, proc, sockets=dict), 1_000_000_000_000_000_000

    def listens() -> list[str]:
        found = server.read()
        assert found is not None
        return [str(address) for address in found.served[0].addresses]

    assert listens() == ["10.89.50.1", "fd50::1"]
    young = (files / "app").stat()
    (files / "app").write_text("10.89.60.1,fd60::1\n8eb3 10.89.60.2 fd60::2 web\n")
    os.utime(files / "app", ns=(young.st_atime_ns, young.st_mtime_ns))
    assert listens() == ["10.89.60.1", "fd60::1"]
    os.utime(files / "app", ns=(old, old))
    assert listens() == ["10.89.60.1", "fd60::1"]
    (files / "app").write_text("10.89.70.1,fd70::1\n8eb3 10.89.70.2 fd70::2 web\n")
    os.utime(files / "app", ns=(old, old))
    assert listens() == ["10.89.60.1", "fd60::1"]


def test_what_changes_is_told_without_reading_it(files: Path, tmp_path: Path) -> None:
    """By the stamps of the files, the pid file's too."""
    (tmp_path / "proc").mkdir()
    server = Aardvark(files, tmp_path / "proc", sockets=dict)
    server.read()
    assert not server.has_changed()
    (files / "more").write_text("10.89.9.1\n")
    assert server.has_changed()


def test_too_many_files_are_not_read(files: Path, tmp_path: Path) -> None:
    """Whoever put them there: that is unknown."""
    for number in range(MAX_FILES):
        (files / f"n{number}").touch()
    with pytest.raises(Unreadable, match=f"holds more than {MAX_FILES} files"):
        Aardvark(files, tmp_path).read()


def test_sockets_are_asked_for_only_where_somebody_serves(tmp_path: Path) -> None:
    """A directory without networks costs no more than its listing."""

    def never() -> dict[Place, int]:
        raise AssertionError("nobody has to know")

    (tmp_path / "dns").mkdir()
    found = Aardvark(tmp_path / "dns", tmp_path, sockets=never).read()
    assert found is not None
    assert (found.served, found.named, found.running) == ((), 0, ())


def test_the_kernel_tells_who_listens() -> None:
    """A socket of the test's own, and how much waits there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        place = ip_address("127.0.0.1"), listener.getsockname()[1]
        assert read_sockets()[place] == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"?", listener.getsockname())
        assert read_sockets()[place] > 0


def test_it_is_whose_podman_writes_there(files: Path, tmp_path: Path) -> None:
    """Root's aardvark-dns is seen by a podwatch that is not root, and no other user's."""
    proc = tmp_path / "proc"
    process(proc, 247, "aardvark-dns", "aardvark-dns", "--config", files)
    assert Aardvark(files, proc).serves(247)
    if os.geteuid() == 0:
        os.chown(files, 12345, -1)
        assert not Aardvark(files, proc).serves(247)


def test_a_signal_that_is_not_ones_own_to_send_is_another_answer(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error: a unit of root's sends it."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    proc = tmp_path / "proc"
    process(proc, 247, "aardvark-dns", "aardvark-dns", "--config", files)
    monkeypatch.setattr(os, "kill", refuse)
    assert not Aardvark(files, proc).hang_up(247)


def test_only_itself_is_sent_a_signal(files: Path, tmp_path: Path) -> None:
    """Whoever has its number by now takes no harm."""
    proc = tmp_path / "proc"
    process(proc, 247, "sleep", "sleep", files)
    server = Aardvark(files, proc)
    with pytest.raises(RestoreFailed, match="process 247 is not aardvark-dns any more"):
        server.hang_up(247)
    process(proc, 4194305, "aardvark-dns", "aardvark-dns", "--config", files)
    with pytest.raises(RestoreFailed, match="takes no SIGHUP: No such process"):
        server.hang_up(4194305)


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


def test_podmans_own_programs_are_where_it_looks_for_them(tmp_path: Path) -> None:
    """In the directories of containers.conf, the first that has it."""
    conf, first, second = tmp_path / "c.conf", tmp_path / "first", tmp_path / "second"
    networks = PodmanNetworks(Paths(containers_conf=(conf, tmp_path / "none.conf")))
    conf.write_text(f'[engine]\nhelper_binaries_dir = ["{first}", "{second}"]\n')
    for directory in (first, second):
        directory.mkdir()
    assert networks.read_program("aardvark-dns") is None
    (second / "aardvark-dns").touch()
    assert networks.read_program("aardvark-dns") == second / "aardvark-dns"
    (first / "aardvark-dns").mkdir()
    assert networks.read_program("aardvark-dns") == second / "aardvark-dns"
    conf.write_text('[engine]\nhelper_binaries_dir = "x"\n')
    assert networks.read_program("no-such-program") is None
