# SPDX-License-Identifier: Apache-2.0
"""Reading podman's database of addresses: a real one, and damaged ones."""

import gzip
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwatch.formats.ipam_db import parse_ipam
from podwatch.words.errors import StateUnreadable
from tests.unit.formats import bolt

DATA = Path(__file__).parents[2] / "data" / "ipam"
REAL = gzip.decompress((DATA / "trixie.db.gz").read_bytes())
SMALL = bolt.database({"app": {"c1": ["10.90.0.2", "fd90::2"]}, "none": {}})


def in_names(name: str) -> dict[str, set[str]]:
    """The addresses of each container, as aardvark-dns was told of them."""
    lines = (DATA / name).read_text().splitlines()[1:]
    fields = (line.split(" ") for line in lines)
    return {
        field[0]: {address for part in field[1:3] for address in part.split(",") if address}
        for field in fields
    }


@pytest.mark.parametrize(("network", "count"), [("big", 71), ("inner", 4)])
def test_of_a_real_host(network: str, count: int) -> None:
    """Podman 5.4 with 80 containers: the same holders as aardvark-dns was told of at that time."""
    held = {key: set(map(str, found)) for key, found in parse_ipam(REAL)[network].items()}

    assert len(held) == count
    assert held == in_names(network)


def test_networks_and_their_holders() -> None:
    """Each network has an entry, with both families' addresses in their order."""
    assert parse_ipam(SMALL) == {
        "app": {"c1": (ip_address("10.90.0.2"), ip_address("fd90::2"))},
        "none": {},
    }


def test_the_last_transaction_counts() -> None:
    """Of the two pages that say where the tree begins the one of the later transaction is right."""
    old, new = bolt.leaf(3, []), bolt.leaf(4, [(1, b"app", bolt.network({}))])
    for metas in [
        (bolt.meta(0, 3, 6), bolt.meta(1, 4, 7)),
        (bolt.meta(0, 4, 8), bolt.meta(1, 3, 7)),
    ]:
        assert set(parse_ipam(bolt.pages(*metas, b"", old, new))) == {"app"}


def test_a_page_that_was_half_written_does_not_count() -> None:
    """A page whose checksum is wrong leaves the transaction before it."""
    torn = bytearray(bolt.meta(1, 99, 7))
    torn[16 + 16] ^= 1
    old = bolt.leaf(3, [(1, b"app", bolt.network({}))])

    assert set(parse_ipam(bolt.pages(bolt.meta(0, 3, 6), bytes(torn), b"", old))) == {"app"}


def test_larger_pages() -> None:
    """Where memory has pages of 16 KiB, so has the file."""
    root = bolt.leaf(1, [(1, b"app", bolt.network({}))])
    broken = bytes(16384)
    both = broken + bolt.meta(1, 2, 5, 16384).ljust(16384, b"\0") + root

    assert set(parse_ipam(both)) == {"app"}


def test_a_bucket_of_many_pages() -> None:
    """A bucket with a branch, and with a page that goes on in the next one, is read whole."""
    long = [(0, f"c{n}".encode(), b'["10.90.0.%d"]' % n) for n in range(220)]
    ids = bolt.leaf(5, long, more=1)
    more = bolt.leaf(7, [(0, b"d", b'["10.91.0.1"]')])
    app = bolt.inline([(1, b"ids", bolt.at_page(4))])
    root = bolt.leaf(3, [(1, b"app", app)])
    metas = bolt.meta(0, 3, 2), bolt.meta(1, 3, 1)
    found = parse_ipam(bolt.pages(*metas, b"", root, bolt.branch(4, [5, 7]), ids, more))["app"]

    assert len(ids) > bolt.SIZE
    assert len(found) == 221
    assert found["c219"] == (ip_address("10.90.0.219"),)
    assert found["d"] == (ip_address("10.91.0.1"),)


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([bolt.branch(3, [3])], id="a branch to itself"),
        pytest.param([bolt.branch(3, [4, 4]), bolt.leaf(4, [])], id="a leaf twice"),
        pytest.param([bolt.branch(3, [2])], id="a branch to no page"),
        pytest.param([bolt.branch(3, [77])], id="a branch past the end"),
        pytest.param([bolt.branch(3, [1 << 62])], id="a branch to nowhere"),
        pytest.param([bolt.leaf(3, [(1, b"app", b"short")])], id="a bucket cut off"),
        pytest.param([bolt.leaf(3, [(1, b"app", bolt.at_page(3))])[:40]], id="an element cut off"),
    ],
)
def test_damage_is_an_error(pages: list[bytes]) -> None:
    """A tree that goes in circles or leads nowhere ends, and says that it makes no sense."""
    data = bolt.pages(bolt.meta(0, 3, 2), bolt.meta(1, 3, 1), b"", *pages)
    with pytest.raises(StateUnreadable):
        parse_ipam(data[: len(data) - bolt.SIZE + 40] if len(pages[-1]) == 40 else data)


@pytest.mark.parametrize("value", [b"", b"{", b'["no address"]', b"\xff"])
def test_an_entry_that_makes_no_sense_is_an_error(value: bytes) -> None:
    """What podman never wrote is not guessed at."""
    app = bolt.inline([(1, b"ids", bolt.inline([(0, b"c1", value)]))])
    root = bolt.leaf(3, [(1, b"app", app)])

    with pytest.raises(StateUnreadable):
        parse_ipam(bolt.pages(bolt.meta(0, 3, 2), bolt.meta(1, 3, 1), b"", root))


@given(st.binary(max_size=200))
def test_anything_is_an_error_or_an_answer(data: bytes) -> None:
    """Nothing but StateUnreadable is raised for what is no database."""
    with pytest.raises(StateUnreadable):
        parse_ipam(data)


@given(at=st.integers(0, 599), byte=st.integers(0, 255))
def test_one_byte_of_damage(at: int, byte: int) -> None:
    """Wherever one byte is wrong, there is an answer or StateUnreadable, and an end."""
    data = bytearray(SMALL)
    data[at + 3 * bolt.SIZE] = byte
    with suppress(StateUnreadable):
        assert isinstance(parse_ipam(bytes(data)), dict)
