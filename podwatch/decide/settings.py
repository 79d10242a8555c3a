# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's settings are not what they have to be. Pure."""

from collections.abc import Iterable

from podwatch.drivers import sysctls
from podwatch.words.network import Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import (
    Missing,
    MissingKind,
)


def missing_sysctls(setup: Setup, snapshot: Snapshot) -> Iterable[Missing]:
    """The kernel's settings that are not what they have to be."""
    wanted = sysctls.wanted(setup, snapshot.uplinks)
    for each in sysctls.lost(wanted, snapshot.sysctls, snapshot.sysctls_seen):
        yield Missing(
            MissingKind.SYSCTL,
            f"{each} is {snapshot.sysctls[each.path]}, not {each.value}",
            f"{each.path}={each.value}",
            network=each.network,
        )
