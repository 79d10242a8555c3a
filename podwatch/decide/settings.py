# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's settings are not what they have to be. Pure."""

from collections.abc import Iterable, Sequence

from podwatch.drivers import sysctls
from podwatch.words.network import Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import (
    Missing,
    MissingKind,
)


def missing_sysctls(
    setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()
) -> Iterable[Missing]:
    """The kernel's settings that are not what they have to be."""
    wanted = sysctls.wanted(setup, snapshot.uplinks)
    for setting in sysctls.lost(wanted, snapshot.sysctls, snapshot.sysctls_seen):
        yield Missing(
            MissingKind.SYSCTL,
            f"{setting} is {snapshot.sysctls[setting.path]}, not {setting.value}",
            f"{setting.path}={setting.value}",
            network=setting.network,
            place=setting.path,
            value=setting.value,
        )
