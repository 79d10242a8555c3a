# SPDX-License-Identifier: Apache-2.0
"""The pauses between tries that do not help."""

from math import inf

import pytest

from podwatch.decide.pauses import doubled


@pytest.mark.parametrize(
    ("first_s", "times", "longest_s", "pause"),
    [
        (0.5, 0, 300.0, 0.5),
        (0.5, 1, 300.0, 1.0),
        (0.5, 3, 300.0, 4.0),
        (1.0, 8, 300.0, 256.0),
        (1.0, 9, 300.0, 300.0),
        (9.0, 0, 5.0, 5.0),
        (1.0, 20, inf, 1048576.0),
        (1.0, 10**6, inf, 1048576.0),
    ],
)
def test_a_pause_doubles_up_to_the_longest(
    first_s: float, times: int, longest_s: float, pause: float
) -> None:
    """Each try in vain doubles it; what no float holds is never worked out."""
    assert doubled(first_s, times, longest_s) == pause
