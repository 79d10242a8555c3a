# SPDX-License-Identifier: Apache-2.0
"""What processes side by side share out among each other: not modules, but a module's hosts.

A module whose tests run on three suites boots three hosts. Each can be another process's, so none
is left with all three at the end. Tests of one host stay together and in their order, and so do the
modules that share one.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

_HOST = re.compile(
    r"[\[-]((?:bookworm|trixie|forky|experimental)(?:-(?:netavark|cni|iptables))?)(?=[-\]])"
)
"""The host in a test's parameters: its suite, and what netavark or CNI is told there."""


def host_of(test: str, sharing: Mapping[str, str] = MappingProxyType({})) -> str:
    """The module of a test, and its host where the test has one of several.

    Args:
        test: its id, ``tests/e2e/test_x.py::test_y[trixie-z]``.
        sharing: the modules that share a host of each suite, ``test_x``, and what they share.
    """
    module, _, name = test.partition("::")
    host = _HOST.search(name)
    if host is None:
        return module
    return f"{sharing.get(PurePath(module).stem, module)}::{host[1]}"
