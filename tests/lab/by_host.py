# SPDX-License-Identifier: Apache-2.0
"""What processes side by side share out among each other: not modules, but a module's hosts.

A module whose tests run on three suites boots three hosts. Each can be another process's, so none
is left with all three at the end. Tests of one host stay together and in their order.
"""

import re

_HOST = re.compile(
    r"[\[-]((?:bookworm|trixie|forky|experimental)(?:-(?:netavark|cni|iptables))?)(?=[-\]])"
)
"""The host in a test's parameters: its suite, and what netavark or CNI is told there."""


def host_of(test: str) -> str:
    """The module of a test, and its host where the test has one of several.

    Args:
        test: its id, ``tests/e2e/test_x.py::test_y[trixie-z]``.
    """
    module, _, name = test.partition("::")
    host = _HOST.search(name)
    return f"{module}::{host[1]}" if host else module
