# SPDX-License-Identifier: Apache-2.0
"""What a reload stands on."""

import pytest

from podwatch.words.names import NameServer


@pytest.mark.parametrize(
    ("named", "running", "is_alive"), [(7, (5, 7), True), (7, (5,), False), (0, (), False)]
)
def test_a_name_server_is_the_one_that_is_named(
    named: int, running: tuple[int, ...], *, is_alive: bool
) -> None:
    """netavark finds it by its pid file; another process that serves the directory is not found."""
    assert NameServer("/run/pid", named, running=running).is_alive == is_alive
