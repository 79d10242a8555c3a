# SPDX-License-Identifier: Apache-2.0
"""The network namespace of a user's bridges: podman finds it by a file, and may lose it. Pure.

podman looks at the file alone. Where nothing is mounted on it any more, its next command makes
another namespace beside that with the containers in it, and ends what connects that one.
"""

from collections.abc import Iterator, Sequence

from podwatch.words.netns import START_ANEW
from podwatch.words.network import Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Missing, MissingKind, Notice, WarningKind

REMEDY = f"{START_ANEW}; no reload helps"


def lost_netns(setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule]) -> Iterator[Missing]:
    """That podman finds the namespace no more, or that there are two of them."""
    netns = snapshot.netns
    if netns is None or not setup.endpoints:
        return
    ids = tuple(dict.fromkeys(endpoint.container_id for endpoint in setup.endpoints))
    if netns.is_lost:
        what = "nothing is mounted on the file of the user's network namespace"
        yield Missing(MissingKind.NETNS, what, netns.path, container_ids=ids, place=netns.path)
    elif netns.is_removed or netns.is_gone:
        what = (
            f"what podman keeps of the user's networks was removed ({netns.path}): {REMEDY}"
            if netns.is_removed
            else f"the network namespace of the user's bridges is not to be found: {REMEDY}"
        )
        yield Missing(
            MissingKind.NETNS,
            what,
            netns.path,
            container_ids=ids,
            reloadable=False,
            place=netns.path,
            value="gone",
        )
    elif netns.is_split:
        yield Missing(
            MissingKind.NETNS,
            f"podman made a second network namespace beside that of the containers: {REMEDY}",
            f"{netns.path} is {netns.mounted}, the containers are in {netns.inode}",
            container_ids=ids,
            reloadable=False,
            place=netns.path,
            value="split",
        )


def netns_notices(setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """That podman would take the namespace away, though containers are in it."""
    netns = snapshot.netns
    if netns is None or not netns.is_uncounted or not setup.endpoints or snapshot.busy:
        return
    path = f"{netns.path.rpartition('/')[0]}/ref-count"
    places = sum(len(holders) for holders in snapshot.held.values())
    what = (
        f"podman's count of who is on the user's networks ({path}) is gone or is no number: when a "
        "container stops next, podman takes the network namespace away from all others"
    )
    yield Notice(WarningKind.NETNS, what, f"printf %s {places} > {path}" if places else REMEDY)
