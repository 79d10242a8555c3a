# SPDX-License-Identifier: Apache-2.0
"""netavark's state directory: recorded ones, and everything that could be put into one."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from podwatch.adapters import statedir
from podwatch.adapters.statedir import StateDirectory
from podwatch.formats.state import parse_endpoint
from podwatch.words.errors import StateUnreadable
from podwatch.words.network import BadFile, Endpoint, FirewallDriver, Setup

DATA = Path(__file__).parents[2] / "data"
NETWORK, CONTAINER = "a" * 64, "b" * 64


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the standard set's state as netavark 1.14 wrote it, a while ago."""
    path = tmp_path / "firewall"
    shutil.copytree(DATA / "trixie-standard/state", path)
    age(path)
    return path


def age(path: Path) -> None:
    """Make every file as old as those of containers that have run for a while."""
    for each in path.rglob("*"):
        os.utime(each, (1_700_000_000, 1_700_000_000))


def bad_one(setup: Setup) -> BadFile:
    """The only bad file, every other one being as it was."""
    (bad,) = setup.bad_files
    return bad


@pytest.mark.parametrize("suite", ["trixie", "forky", "experimental"])
def test_a_recorded_directory_is_read_whole(suite: str) -> None:
    """Every file of a real directory is understood; the lock file beside them is not read."""
    path = DATA / f"{suite}-standard/state"
    setup = StateDirectory(path).read()

    assert setup.driver is FirewallDriver.NFTABLES
    assert set(setup.networks) == {each.name for each in (path / "networks").iterdir()}
    assert len(setup.endpoints) == len(list((path / "ports").iterdir()))
    assert setup.bad_files == ()
    assert setup.state_dir == str(path)


def test_endpoints_are_in_the_order_they_were_written(directory: Path) -> None:
    """Whatever their files are called: of two rules for a port netavark's first one has it."""
    files = sorted((directory / "ports").iterdir())
    for age_s, path in enumerate(files):
        os.utime(path, (1_700_000_000, 1_700_000_000 - age_s))

    found = [
        f"{end.network_id}_{end.container_id}" for end in StateDirectory(directory).read().endpoints
    ]
    assert found == [path.name for path in reversed(files)]


def test_no_directory_is_an_answer(tmp_path: Path) -> None:
    """Where netavark never wrote anything nothing is expected and the driver is unknown."""
    path = tmp_path / "none"

    assert StateDirectory(path).read() == Setup(FirewallDriver.UNKNOWN, state_dir=str(path))


def test_without_containers_nothing_is_expected(directory: Path) -> None:
    """An empty ports/ means that no container is expected, whatever networks are left."""
    shutil.rmtree(directory / "ports")
    (directory / "ports").mkdir()

    assert StateDirectory(directory).read().endpoints == ()


@pytest.mark.parametrize("content", [b"", b'{"container_id": "b', b"\xff\xfe", b"[]", b"x" * 99])
def test_a_file_half_written_stands_for_itself(directory: Path, content: bytes) -> None:
    """A file that makes no sense is one bad file with the ids of its name; the others are read."""
    before = StateDirectory(directory).read()
    path = directory / f"ports/{NETWORK}_{CONTAINER}"
    path.write_bytes(content)
    setup = StateDirectory(directory).read()

    bad = bad_one(setup)
    assert (bad.path, bad.network_id, bad.container_id) == (str(path), NETWORK, CONTAINER)
    assert setup.endpoints == before.endpoints


def test_only_regular_files_are_read(directory: Path) -> None:
    """A FIFO, a directory, a socket and a link are bad files, and none of them is waited for."""
    ports = directory / "ports"
    target = next(ports.iterdir())
    os.mkfifo(ports / "fifo")
    writer = os.open(ports / "fifo", os.O_RDWR | os.O_NONBLOCK)
    (ports / "directory").mkdir()
    (ports / "link").symlink_to(target)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(ports / "s"))
        before = len(os.listdir("/proc/self/fd"))
        setup = StateDirectory(directory).read()
        after = len(os.listdir("/proc/self/fd"))
    os.close(writer)

    assert {Path(each.path).name for each in setup.bad_files} == {"fifo", "directory", "link", "s"}
    assert after == before


def test_an_oversized_file_is_bad(directory: Path) -> None:
    """A file of more than 4 MiB is told as such, without being parsed."""
    with (directory / "ports/large").open("wb") as file:
        file.truncate(1 << 32)

    reason = bad_one(StateDirectory(directory).read()).reason
    assert reason == "cannot be read: larger than 4194304 bytes"


def test_a_hostile_name_is_made_harmless(directory: Path) -> None:
    """A name that is no id gives no ids, and its control characters do not get out."""
    (directory / "ports" / os.fsdecode(b"x_\x1b[2J\xff\n")).write_text("{")
    bad = bad_one(StateDirectory(directory).read())

    assert bad.path.isprintable()
    assert (bad.network_id, bad.container_id) == ("", "")


def test_too_many_files_are_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More files than netavark could have written are an error that names the directory."""
    monkeypatch.setattr(statedir, "MAX_FILES", 3)

    with pytest.raises(StateUnreadable, match="holds more than 3 files"):
        StateDirectory(directory).read()


def test_an_unreadable_directory_is_unknown(directory: Path) -> None:
    """A file where a directory should be raises, naming the path: that is not "no containers"."""
    shutil.rmtree(directory / "ports")
    (directory / "ports").write_text("")

    with pytest.raises(StateUnreadable, match=f"{directory}/ports"):
        StateDirectory(directory).read()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("pf")])
def test_a_driver_that_is_none_is_unknown(directory: Path, make: object) -> None:
    """A firewall-driver file that is no file, or names an unknown driver, raises with its path."""
    path = directory / "firewall-driver"
    path.unlink()
    assert callable(make)
    make(path)

    with pytest.raises(StateUnreadable, match="firewall-driver"):
        StateDirectory(directory).read()


def test_only_what_changed_is_parsed_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second read parses nothing; after a change it parses that file, and the stamp differs."""
    state = StateDirectory(directory)
    first, stamp = state.read(), state.stamp
    parsed: list[str] = []

    def counted(text: str, *, network_id: str, container_id: str) -> Endpoint:
        parsed.append(f"{network_id}_{container_id}")
        return parse_endpoint(text, network_id=network_id, container_id=container_id)

    monkeypatch.setattr("podwatch.adapters.statedir.parse_endpoint", counted)

    assert state.read() == first
    assert (parsed, state.stamp) == ([], stamp)
    changed = next((directory / "ports").iterdir())
    changed.write_text(changed.read_text().replace("8080", "8090"))
    state.read()
    assert parsed == [changed.name]
    assert state.stamp != stamp


def test_a_file_rewritten_in_place_is_seen_at_once(directory: Path) -> None:
    """Two writes of the same length within one tick of the clock are both read."""
    state = StateDirectory(directory)
    path = directory / f"ports/{NETWORK}_{CONTAINER}"
    for port in range(8090, 8110):
        mapping = {"host_ip": "", "container_port": 80, "host_port": port, "protocol": "tcp"}
        content = {"container_id": CONTAINER, "port_mappings": [{**mapping, "range": 1}]}
        path.write_text(json.dumps(content))
        (found,) = [each for each in state.read().endpoints if each.container_id == CONTAINER]
        assert found.port_mappings is not None
        assert [each.host_port for each in found.port_mappings] == [port]


def test_a_container_that_goes_is_gone(directory: Path) -> None:
    """A file that was removed is neither expected nor bad at the next read."""
    state = StateDirectory(directory)
    before = len(state.read().endpoints)
    next((directory / "ports").iterdir()).unlink()

    setup = state.read()
    assert len(setup.endpoints) == before - 1
    assert setup.bad_files == ()


def test_a_file_that_has_not_changed_is_not_read_again(directory: Path) -> None:
    """The second read costs a scan: what a file says is known by its inode, size and time."""
    state = StateDirectory(directory)
    age(directory)
    before = state.read()
    for path in (directory / "ports").iterdir():
        info = path.stat()
        path.write_text("x" * info.st_size)
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    assert state.read() == before


def test_the_stamp_of_now_is_that_of_a_read(directory: Path) -> None:
    """It tells of every file that comes, goes or is written, without parsing one."""
    state = StateDirectory(directory)
    state.read()
    assert state.stamp_now() == state.stamp
    known = sorted((directory / "ports").iterdir())
    os.utime(known[0], (1_700_000_001, 1_700_000_001))
    assert state.stamp_now() != state.stamp
    state.read()
    assert state.stamp_now() == state.stamp
    known[0].unlink()
    assert state.stamp_now() != state.stamp
    (directory / "firewall-driver").write_text("no driver that there is")
    with pytest.raises(StateUnreadable):
        state.stamp_now()


def test_a_container_that_stops_leaves_fewer_files(directory: Path) -> None:
    """Where another one comes meanwhile, or a file is written, that is no mere stop."""
    state = StateDirectory(directory)
    state.read()
    assert not state.has_only_fewer()
    gone, written, *_ = sorted((directory / "ports").iterdir())
    text = gone.read_text()
    gone.unlink()
    assert state.has_only_fewer()
    os.utime(written, (1_700_000_001, 1_700_000_001))
    assert not state.has_only_fewer()
    os.utime(written, (1_700_000_000, 1_700_000_000))
    assert state.has_only_fewer()
    (directory / f"ports/{NETWORK}_{CONTAINER}").write_text(text)
    assert not state.has_only_fewer()
