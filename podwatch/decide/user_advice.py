# SPDX-License-Identifier: Apache-2.0
"""Advice for a user: what is to be typed is for their network namespace, not for the host. Pure.

The names of bridges and tables are the same there as root's are on the host. A command that is
typed without a word on where would change root's networks, or nothing. `podman unshare
--rootless-netns` leads inside, and is harmless only while podman finds the namespace and its uplink
runs: else it repairs, or takes the namespace from running containers.
"""

import shlex
from dataclasses import replace

from podwatch.decide.firewalld_hops import RESTORE
from podwatch.decide.relays import assigned
from podwatch.words.relays import UPLINK
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Notice
from podwatch.words.way import Hop, Way

_INSIDE = ("ip ", "bridge ", "nft ", "sysctl ", "iptables", "ip6tables")
_ENTER = "podman unshare --rootless-netns"


def for_user(advice: str, snapshot: Snapshot) -> str:
    """The same advice, as a user has to follow it; of root's host it is as it was."""
    netns, relays = snapshot.netns, snapshot.relays
    if netns is None or not advice.startswith(_INSIDE):
        return advice
    if relays is None or not netns.is_whole:
        return RESTORE
    if UPLINK not in assigned(relays.running, snapshot.containers, relays.netns_file):
        return RESTORE
    return f"{_ENTER} sh -c {shlex.quote(advice)}" if ";" in advice else f"{_ENTER} {advice}"


def notice_for_user(notice: Notice, snapshot: Snapshot) -> Notice:
    """A notice with such advice."""
    return replace(notice, advice=for_user(notice.advice, snapshot))


def way_for_user(way: Way, snapshot: Snapshot) -> Way:
    """A way whose hops have such advice."""
    if snapshot.netns is None or not any(hop.advice for hop in way.hops):
        return way
    return replace(way, hops=tuple(_hop(hop, snapshot) for hop in way.hops))


def _hop(hop: Hop, snapshot: Snapshot) -> Hop:
    return replace(hop, advice=for_user(hop.advice, snapshot))
