# SPDX-License-Identifier: Apache-2.0
"""Podman's database of addresses: which container has which, on every network it gives them. Pure.

It is a file of bbolt's (go.etcd.io/bbolt page.go, bucket.go, meta.go, version 2): pages, of which
two say where the tree of the last transaction begins. podman keeps a bucket for each network, and
in it the bucket `ids`: a container's id, and its addresses as JSON (common
libnetwork/netavark/ipam.go). It tells of internal networks, and of those without names, too; and of
containers that do not run but hold an address.

A transaction writes to pages that no earlier one needs. So a copy is whole if `head` says the same
before and after it was made.
"""

import json
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from podwatch.words.errors import StateUnreadable
from podwatch.words.network import Address, Held
from podwatch.words.text import clean

Holder = tuple[str, tuple[Address, ...]]
Element = tuple[int, memoryview, memoryview]
"""Flags, key and value."""

HEAD_BYTES = 80
"""So much of each of the first two pages says which transaction was the last."""

_PAGE = struct.Struct("=QHHI")  # id, flags, count of elements, pages that follow as a part of it
_BRANCH, _LEAF, _META = 1, 2, 4
_OF_META = struct.Struct("=4I6Q")  # magic, version, page size, flags, root, sequence, free, pages,
# the transaction's number, checksum
_MAGIC, _VERSION = 0xED0CDAED, 2
_ON_BRANCH = struct.Struct("=IIQ")  # position, size of the key, page
_ON_LEAF = struct.Struct("=IIII")  # flags, position, size of the key, of the value
_IS_BUCKET = 1
_BUCKET = struct.Struct("=QQ")  # page of its root, 0 if that follows at once; sequence
_PAGE_SIZES = tuple(1 << power for power in range(10, 17))
_IDS = b"ids"


class _Last(NamedTuple):
    """The last transaction: its number, the page of its root, and how large pages are."""

    number: int
    root: int
    page_size: int


def parse_ipam(data: bytes) -> Held:
    """Who holds which addresses. Raises StateUnreadable for a file that makes no sense."""
    view = memoryview(data)  # no piece of a damaged file is copied again and again
    try:
        last = _last(view)
        return {
            _text(network): dict(_holders(view, last.page_size, bucket))
            for network, bucket in _buckets(_walk(view, last.page_size, last.root))
        }
    except (struct.error, ValueError, RecursionError) as exc:
        raise StateUnreadable(f"not a database of podman's addresses: {exc}") from exc


def _holders(
    data: memoryview, size: int, network: memoryview
) -> Iterator[tuple[str, tuple[Address, ...]]]:
    for name, bucket in _buckets(_inside(data, size, network)):
        if name != _IDS:
            continue
        for flags, key, value in _inside(data, size, bucket):
            found = None if flags & _IS_BUCKET else json.loads(bytes(value))
            if isinstance(found, list):
                yield _text(key), tuple(ip_address(str(address)) for address in found)


def _text(key: memoryview) -> str:
    return clean(bytes(key).decode())


def _buckets(elements: Iterator[Element]) -> Iterator[tuple[memoryview, memoryview]]:
    return ((key, value) for flags, key, value in elements if flags & _IS_BUCKET)


def _last(data: memoryview) -> _Last:
    """The last transaction that was completed. Raises ValueError where there is none."""
    found = [_meta(data, 0), *(_meta(data, size) for size in _PAGE_SIZES)]
    whole = [last for last in found if last is not None]
    if not whole:
        raise ValueError("no page of it says where it begins")
    return max(whole)


def _meta(data: memoryview, at: int) -> _Last | None:
    """What the page at this place says of a transaction; None where it is no such page."""
    if len(data) < at + HEAD_BYTES or not _PAGE.unpack_from(data, at)[1] & _META:
        return None
    begin = at + _PAGE.size
    magic, version, size, _, root, _, _, _, number, checksum = _OF_META.unpack_from(data, begin)
    end = begin + _OF_META.size - 8
    if (magic, version) != (_MAGIC, _VERSION) or checksum != _fnv(data[begin:end]):
        return None
    return _Last(number, root, size) if at in (0, size) and size in _PAGE_SIZES else None


def _fnv(data: memoryview) -> int:
    """FNV-1a of 64 bits."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return found


def _inside(data: memoryview, size: int, bucket: memoryview) -> Iterator[Element]:
    """The elements of a bucket; a small one stands in its value."""
    root, _ = _BUCKET.unpack_from(bucket)
    if root:
        return _walk(data, size, root)
    return _leaf(bucket[_BUCKET.size :])


def _walk(data: memoryview, size: int, root: int) -> Iterator[Element]:
    """The elements of the tree with that root. Raises ValueError where it goes in circles."""
    seen: set[int] = set()
    todo = [root]
    while todo:
        number = todo.pop()
        at = number * size
        if number in seen or at >= len(data):
            raise ValueError(f"page {number} is in its tree twice, or not in the file")
        seen.add(number)
        _, flags, count, more = _PAGE.unpack_from(data, at)
        page = data[at : at + (more + 1) * size]
        if flags & _LEAF:
            yield from _leaf(page)
        elif flags & _BRANCH:
            begins = (_PAGE.size + n * _ON_BRANCH.size for n in range(count))
            todo += [_ON_BRANCH.unpack_from(page, begin)[2] for begin in begins]
        else:
            raise ValueError(f"page {number} has no elements")


def _leaf(page: memoryview) -> Iterator[Element]:
    _, _, count, _ = _PAGE.unpack_from(page)
    for number in range(count):
        begin = _PAGE.size + number * _ON_LEAF.size
        flags, position, of_key, of_value = _ON_LEAF.unpack_from(page, begin)
        key = begin + position
        value = key + of_key
        if value + of_value > len(page):
            raise ValueError("an element of it is cut off")
        yield flags, page[key:value], page[value : value + of_value]
