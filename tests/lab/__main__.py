# SPDX-License-Identifier: Apache-2.0
"""``python3 -m tests.lab build [SUITE…]``: fill the cache of root file systems ahead of the tests."""

import sys

from tests.lab.rootfs import SUITES, build


def main(arguments: list[str]) -> int:
    """Build the root file systems named, or all, and print where each lies."""
    if arguments[:1] != ["build"]:
        sys.stderr.write("usage: python3 -m tests.lab build [SUITE...]\n")
        return 64
    for suite in arguments[1:] or SUITES:
        sys.stdout.write(f"{suite} {build(suite)}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
