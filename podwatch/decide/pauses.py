# SPDX-License-Identifier: Apache-2.0
"""How long to wait after a try that did not help: one rule for all pauses that grow. Pure."""

_MAX_DOUBLINGS = 20
"""The number stays one that a float holds, however often something was tried."""


def doubled(first_s: float, times: int, longest_s: float) -> float:
    """The first pause, doubled so many times: no longer than the longest, all in seconds."""
    return min(first_s * 2.0 ** min(times, _MAX_DOUBLINGS), longest_s)
