# SPDX-License-Identifier: Apache-2.0
"""Finding relays among real processes, and what is believed of one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwatch.adapters.relays import RelayProcesses
from podwatch.words.errors import RestoreFailed, Unreadable
from podwatch.words.relays import RelayKind
from tests.unit.relay_stage import RelayStage

NETNS = "/run/user/1000/netns/netns-1"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[RelayStage]:
    """Programs of relays, of which none runs."""
    made = RelayStage(tmp_path)
    yield made
    made.end()


def inode(path: str) -> int:
    """The number of a namespace or pipe."""
    return os.stat(path).st_ino


def test_pasta_is_found_with_all_that_it_was_started_with(stage: RelayStage) -> None:
    """The file it runs is its variant for the processor; that it calls itself pasta says little."""
    pid = stage.pasta(NETNS)
    (relay,) = stage.found(RelayKind.PASTA)
    assert (relay.pid, relay.file, relay.named) == (pid, NETNS, f"pasta (pid {pid})")
    assert relay.exe == f"{stage.directory}/pasta.avx2"
    assert relay.argv[0] == "pasta"
    assert relay.argv[-2:] == ("--netns", NETNS)
    assert relay.netns == inode("/proc/self/ns/net")
    assert stage.look.is_same(relay)
    stage.kill(pid)
    assert not stage.look.is_same(relay)
    assert stage.found(RelayKind.PASTA) == []


def test_slirp4netns_is_found_with_the_pipe_that_ends_it(stage: RelayStage) -> None:
    """Whoever has the other end of it is found by its number."""
    stage.slirp(NETNS)
    (relay,) = stage.found(RelayKind.SLIRP)
    assert (relay.file, relay.end_pipe) == (NETNS, os.fstat(stage.pipe[0]).st_ino)
    own = stage.look.descriptor_of(os.getpid(), relay.end_pipe)
    assert own == min(stage.pipe)
    assert stage.look.descriptor_of(os.getpid(), 1) == -1
    assert stage.look.descriptor_of(2**22 + 1, relay.end_pipe) == -1


def test_rootlessport_is_two_processes(stage: RelayStage) -> None:
    """The second half is no relay of its own; without it the first one is alone."""
    pid = stage.ports()
    half = stage.ports(whole=False)
    whole, alone = sorted(stage.found(RelayKind.PORTS), key=lambda relay: relay.pid)
    assert (whole.pid, whole.child) == (pid, stage.child_of(pid))
    assert (alone.pid, alone.child) == (half, 0)
    assert whole.end_pipe == os.fstat(stage.pipe[0]).st_ino
    assert whole.netns == alone.netns == inode("/proc/self/ns/net")


def test_what_was_not_given_a_namespace_is_no_relay(stage: RelayStage) -> None:
    """Somebody runs it for something else."""
    stage.run("pasta", "pasta", ("--config-net",))
    assert stage.found(RelayKind.PASTA) == []


def test_a_name_makes_no_relay(stage: RelayStage) -> None:
    """The file that the kernel says it runs does."""
    stage.run("conmon", "pasta", ("--netns", NETNS))
    assert stage.found(RelayKind.PASTA) == []


def test_a_program_from_elsewhere_is_none_to_start_again(stage: RelayStage, tmp_path: Path) -> None:
    """It is taken for running, and no more."""
    away = tmp_path / "bin"
    away.mkdir()
    shutil.copy(stage.directory / "pasta", away / "pasta")
    stage.run("../bin/pasta", "pasta", ("--netns", NETNS))
    (relay,) = stage.found(RelayKind.PASTA)
    assert (relay.file, relay.exe) == (NETNS, "")


def test_nor_is_one_whose_file_was_replaced(stage: RelayStage) -> None:
    """As by an upgrade: another file is at its path, and it runs on."""
    stage.pasta(NETNS)
    fresh = stage.directory / "fresh"
    shutil.copy("/bin/sh", fresh)
    fresh.replace(stage.directory / "pasta.avx2")
    (relay,) = stage.found(RelayKind.PASTA)
    assert (relay.file, relay.exe) == (NETNS, "")


def test_a_half_is_ended(stage: RelayStage) -> None:
    """By number and start; one that has ended is let be."""
    stage.ports(whole=False)
    (relay,) = stage.found(RelayKind.PORTS)
    stage.look.end(relay)
    stage.processes[0].wait(5)
    stage.look.end(relay)
    assert stage.found(RelayKind.PORTS) == []


def test_another_process_under_its_number_is_not_ended(stage: RelayStage) -> None:
    """Its start tells them apart."""
    stage.ports(whole=False)
    (relay,) = stage.found(RelayKind.PORTS)
    object.__setattr__(relay, "started", relay.started - 1)
    stage.look.end(relay)
    assert stage.processes[0].poll() is None


def test_the_program_to_start_is_the_hosts(stage: RelayStage) -> None:
    """pasta picks its variant by itself; nobody else may write to what is started."""
    pasta = stage.directory / "pasta"
    assert stage.look.program(f"{pasta}.avx2") == str(pasta)
    pasta.chmod(0o777)
    with pytest.raises(RestoreFailed, match="is not started: others may write to it"):
        stage.look.program(str(pasta))
    pasta.unlink()
    with pytest.raises(RestoreFailed, match="cannot be started: No such file"):
        stage.look.program(str(pasta))
    for path in ("/usr/bin/pasta", f"{stage.directory}/conmon", ""):
        with pytest.raises(RestoreFailed, match="is no program that podwatch starts"):
            stage.look.program(path)


def test_whose_a_name_is(stage: RelayStage) -> None:
    """A process of this user's under this name."""
    pid = stage.run("conmon", "conmon", ())
    assert stage.look.is_called(pid, "conmon")
    assert not stage.look.is_called(pid, "pasta")
    assert not stage.look.is_called(0, "conmon")


def test_without_proc_it_is_not_known_what_runs(tmp_path: Path) -> None:
    """That is no reason to start anything."""
    look = RelayProcesses(tmp_path / "none")
    with pytest.raises(Unreadable, match="cannot list"):
        look.find()


def test_the_ports_that_are_taken(tmp_path: Path) -> None:
    """Of both protocols and families, those of the loopback, too; a kernel may have no IPv6."""
    line = "  0: {} 00000000:0000 {} 00000000:00000000 00:00000000 00000000 0 0 4711\n"
    net = tmp_path / "net"
    net.mkdir()
    (net / "tcp").write_text("\n" + line.format("0100007F:1F91", "0A"))
    (net / "udp").write_text("\n" + line.format("00000000:0035", "07"))
    assert RelayProcesses(tmp_path).taken() == {("tcp", 8081), ("udp", 53)}
    (net / "udp6").mkdir()
    with pytest.raises(Unreadable, match=r"cannot read .*udp6"):
        RelayProcesses(tmp_path).taken()


def test_the_files_of_namespaces_as_a_process_sees_them() -> None:
    """None of a process that has ended."""
    look = RelayProcesses()
    assert isinstance(look.net_files(os.getpid()), dict)
    assert look.net_files(2**22 + 1) == {}
