# SPDX-License-Identifier: Apache-2.0
"""The lab's own commands.

``python3 -m tests.lab build [SUITE…]`` fills the cache ahead of the tests; ``record SUITE DIRECTORY
[BACKEND]`` writes down what a real host shows (see ``record.py``).
"""

import sys
from pathlib import Path

from tests.lab.record import record
from tests.lab.rootfs import SUITES, build

USAGE = "usage: python3 -m tests.lab build [SUITE...] | record SUITE DIRECTORY [BACKEND]\n"


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit status."""
    match arguments:
        case ["build", *suites]:
            for suite in suites or SUITES:
                sys.stdout.write(f"{suite} {build(suite)}\n")
                sys.stdout.flush()
        case ["record", suite, directory, *backend] if len(backend) < 2:
            names = record(suite, Path(directory), network_backend=backend[0] if backend else None)
            sys.stdout.write("\n".join(names) + "\n")
        case _:
            sys.stderr.write(USAGE)
            return 64
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
