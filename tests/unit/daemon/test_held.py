# SPDX-License-Identifier: Apache-2.0
"""podman's lock while it is held: since when the same holder was seen with it, and who that is."""

import os
from typing import Any

import pytest

from podwatch.daemon.held import HeldFor
from podwatch.words.snapshot import HeldLock

PATH = "/run/lock/netavark.lock"


class FakeLock:
    """The lock as a test says; stands in for adapters.podman_lock.NetworkLock."""

    def __init__(self) -> None:
        self.by: HeldLock | None = None

    def held(self) -> HeldLock | None:
        """Who has it."""
        return self.by


def seen(*moments: tuple[float, HeldLock | None]) -> list[float | None]:
    """For how long it is held, at each of these moments."""
    lock: Any = FakeLock()
    held_for, found = HeldFor(lock), []
    for now, lock.by in moments:
        held = held_for.at(now)
        found.append(None if held is None else held.for_s)
    return found


def test_a_free_lock_is_held_by_nobody() -> None:
    """Who takes it afterwards has it from then on."""
    assert seen((5.0, None), (6.0, HeldLock(PATH, shared=False, pid=7)), (8.0, None)) == [
        None,
        0.0,
        None,
    ]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (HeldLock(PATH, shared=False, pid=7), HeldLock(PATH, shared=False, pid=7), True),
        (HeldLock(PATH, shared=False, pid=7), HeldLock(PATH, shared=False, pid=8), False),
        (HeldLock(PATH, shared=True, pid=7), HeldLock(PATH, shared=True, pid=8), True),
        (HeldLock(PATH, shared=False, pid=7), HeldLock(PATH, shared=True, pid=7), False),
        (
            HeldLock(PATH, shared=False, pid=7),
            HeldLock("/etc/cni/net.d/cni.lock", shared=False, pid=7),
            False,
        ),
    ],
)
def test_it_counts_for_as_long_as_it_is_the_same(
    first: HeldLock, second: HeldLock, *, same: bool
) -> None:
    """Each writer begins anew; readers follow one another, and podman waits for all of them."""
    assert seen((5.0, first), (7.5, second)) == [0.0, 2.5 if same else 0.0]


def test_a_lock_that_was_free_between_begins_anew() -> None:
    """The same process may take it twice."""
    held = HeldLock(PATH, shared=False, pid=7)
    assert seen((1.0, held), (2.0, None), (4.0, held), (5.0, held)) == [0.0, None, 0.0, 1.0]


def test_its_holder_is_named_where_the_kernel_says_who() -> None:
    """A number alone says little; without one nobody is guessed."""
    lock: Any = FakeLock()
    lock.by = HeldLock(PATH, shared=False, pid=os.getpid())
    held = HeldFor(lock).at(1.0)
    assert held is not None
    assert f"(pid {os.getpid()}, user " in held.holder

    lock.by = HeldLock(PATH, shared=True)  # of nobody the kernel names: number 0
    held = HeldFor(lock).at(1.0)
    assert held is not None
    assert held.holder == ""
