# SPDX-License-Identifier: Apache-2.0
"""The verdict together with the ways of packets: `status` and `explain` agree on it. Pure.

The judge says what is missing, which is what can be repaired. Whether packets arrive say the ways,
and one that is broken is a loss, whoever's fault that is.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from podwatch.words.network import Setup
from podwatch.words.verdict import Missing, State, Verdict
from podwatch.words.way import Mark, Way


def with_ways(verdict: Verdict, ways: Sequence[Way]) -> Verdict:
    """The verdict that counts the ways, too."""
    marks = {way.mark for way in ways}
    state = verdict.state
    if Mark.BROKEN in marks:
        state = State.LOST
    elif Mark.UNKNOWN in marks and state is not State.LOST:
        state = State.UNKNOWN
    return replace(verdict, state=state, ways=tuple(ways))


def missing_of(missing: Sequence[Missing], setup: Setup) -> Counter[str]:
    """How much of what is missing concerns each container, by its id: what it shares, too."""
    found: Counter[str] = Counter()
    on_network: dict[str, set[str]] = {}
    for endpoint in setup.endpoints:
        on_network.setdefault(endpoint.network_name, set()).add(endpoint.container_id)
    everyone = {endpoint.container_id for endpoint in setup.endpoints}
    for loss in missing:
        found.update(_concerned(loss, on_network, everyone))
    return found


def _concerned(
    loss: Missing, on_network: Mapping[str, set[str]], everyone: Collection[str]
) -> Collection[str]:
    """The containers that go without what is missing, though one reload may bring it back."""
    if loss.container:
        return loss.container_ids
    if not loss.network:
        return everyone
    names = loss.network.split(", ")  # of a loss of several at once
    return set().union(*(on_network.get(name, ()) for name in names))
