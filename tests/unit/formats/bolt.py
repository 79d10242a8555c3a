# SPDX-License-Identifier: Apache-2.0
"""A writer of small bbolt databases, for tests that need one with something special in it."""

import json
import struct
from collections.abc import Mapping, Sequence

SIZE = 4096
BRANCH, LEAF, META = 1, 2, 4


def leaf(number: int, elements: Sequence[tuple[int, bytes, bytes]], *, more: int = 0) -> bytes:
    """A page of (flags, key, value); not padded."""
    head, body = b"", b""
    for at, (flags, key, value) in enumerate(elements):
        position = 16 * (len(elements) - at) + len(body)
        head += struct.pack("=IIII", flags, position, len(key), len(value))
        body += key + value
    return struct.pack("=QHHI", number, LEAF, len(elements), more) + head + body


def branch(number: int, children: Sequence[int]) -> bytes:
    """A page that leads to others."""
    elements = b"".join(struct.pack("=IIQ", 0, 0, child) for child in children)
    return struct.pack("=QHHI", number, BRANCH, len(children), 0) + elements


def meta(number: int, root: int, transaction: int, size: int = SIZE) -> bytes:
    """A page that says where the tree begins."""
    body = struct.pack("=4I5Q", 0xED0CDAED, 2, size, 0, root, 0, 2, 9, transaction)
    checksum = 0xCBF29CE484222325
    for byte in body:
        checksum = (checksum ^ byte) * 0x100000001B3 % 2**64
    return struct.pack("=QHHI", number, META, 0, 0) + body + struct.pack("=Q", checksum)


def inline(elements: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """The value of a bucket that is so small that it stands in its parent."""
    return struct.pack("=QQ", 0, 0) + leaf(0, elements)


def at_page(root: int) -> bytes:
    """The value of a bucket with a page of its own."""
    return struct.pack("=QQ", root, 0)


def pages(*content: bytes) -> bytes:
    """A file of pages, one behind the other; a long one takes as many as it needs."""
    return b"".join((page or bytes(SIZE)) + bytes(-len(page) % SIZE) for page in content)


def network(holders: Mapping[str, Sequence[str]]) -> bytes:
    """The value of a network's bucket, as podman fills it."""
    ids = [(0, key.encode(), json.dumps(list(held)).encode()) for key, held in holders.items()]
    subnet = inline([(0, b"\x0a\x5a\x00\x02", b"an id"), (0, b"lastIP", b"\x0a\x5a\x00\x02")])
    return inline([(1, b"10.90.0.0/24", subnet), (1, b"ids", inline(ids))])


def database(networks: Mapping[str, Mapping[str, Sequence[str]]], transaction: int = 2) -> bytes:
    """A database of podman's addresses."""
    root = leaf(3, [(1, name.encode(), network(found)) for name, found in networks.items()])
    return pages(meta(0, 3, transaction), meta(1, 3, transaction - 1), b"", root)
