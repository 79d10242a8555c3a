# SPDX-License-Identifier: Apache-2.0
"""Reading podman's database of addresses from a file, as podman leaves it and while it changes."""

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from podwatch.adapters import ipam
from podwatch.adapters.ipam import AddressBook
from podwatch.words.errors import StateUnreadable
from tests.unit.formats import bolt


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of podman's."""
    path = tmp_path / "ipam.db"
    path.write_bytes(bolt.database({"inner": {"c1": ["10.90.0.2"]}}))
    return path


def test_it_is_parsed_once(path: Path) -> None:
    """While no transaction was made, the answer is the same object; the file is not parsed."""
    book = AddressBook(path)
    found = book.read()

    assert found == {"inner": {"c1": (ip_address("10.90.0.2"),)}}
    assert book.read() is found


def test_another_transaction_is_seen(path: Path) -> None:
    """A database whose head says another transaction is parsed anew."""
    book = AddressBook(path)
    before = book.read()
    path.write_bytes(bolt.database({"inner": {}}, transaction=3))

    assert before
    assert book.read() == {"inner": {}}


def test_no_file_is_no_answer(tmp_path: Path) -> None:
    """Where podman keeps no such file, nothing is known, and nothing is wrong."""
    assert AddressBook(tmp_path / "none").read() is None


def test_an_empty_file_holds_nobody(tmp_path: Path) -> None:
    """podman fills it when the first container starts; what is in it then is read."""
    path = tmp_path / "ipam.db"
    path.touch()
    book = AddressBook(path)
    assert book.read() == {}
    path.write_bytes(b"{}" * 4096)
    with pytest.raises(StateUnreadable):
        book.read()


@pytest.mark.parametrize("content", [b"\0" * 8192, b"{}"])
def test_what_makes_no_sense_is_named(tmp_path: Path, content: bytes) -> None:
    """A file that is none of podman's is an error with its path."""
    path = tmp_path / "ipam.db"
    path.write_bytes(content)

    with pytest.raises(StateUnreadable, match=str(path)):
        AddressBook(path).read()


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is refused at once."""
    os.mkfifo(tmp_path / "ipam.db")

    with pytest.raises(StateUnreadable, match="not a regular file"):
        AddressBook(tmp_path / "ipam.db").read()


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """More than podman ever writes is not read."""
    path = tmp_path / "ipam.db"
    with path.open("wb") as file:
        file.truncate(ipam.MAX_BYTES + 1)

    with pytest.raises(StateUnreadable, match="larger than"):
        AddressBook(path).read()
