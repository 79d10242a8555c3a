# SPDX-License-Identifier: Apache-2.0
"""The lab's own commands.

``python3 -m tests.lab build [SUITE…]`` fills the cache ahead of the tests; ``record SUITE DIRECTORY
[BACKEND]`` writes down what a real host shows (see ``record.py``); ``host [SUITE]`` boots a host
with the built package and containers, and keeps it until Ctrl-C.
"""

import signal
import sys
from pathlib import Path

from tests.lab.record import record
from tests.lab.rootfs import SUITES, build

USAGE = """\
usage: python3 -m tests.lab build [SUITE...] | host [SUITE] | record SUITE DIRECTORY [BACKEND]
"""


def keep(suite: str) -> None:
    """Boot a host with the package and its containers, say how to enter it, and keep it."""
    from tests.e2e.installed import installed

    with installed(suite) as there:
        ports = ", ".join(str(port) for port in sorted(there.containers.http_ports))
        sys.stdout.write(
            f"{suite} runs, with podwatch and containers; published ports: {ports}\n"
            f"a shell in it:  nsenter -t {there.host.leader} -a bash -l\n"
            "Ctrl-C ends it, and leaves nothing behind\n"
        )
        sys.stdout.flush()
        ends = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        signal.sigwait(ends)


def main(arguments: list[str]) -> int:
    """Do what the arguments say and return the exit status."""
    match arguments:
        case ["build", *suites]:
            for suite in suites or SUITES:
                sys.stdout.write(f"{suite} {build(suite)}\n")
                sys.stdout.flush()
        case ["host"]:
            keep("trixie")
        case ["host", suite] if suite in SUITES:
            keep(suite)
        case ["record", suite, directory, *backend] if len(backend) < 2:
            names = record(suite, Path(directory), network_backend=backend[0] if backend else None)
            sys.stdout.write("\n".join(names) + "\n")
        case _:
            sys.stderr.write(USAGE)
            return 64
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
