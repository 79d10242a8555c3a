# SPDX-License-Identifier: Apache-2.0
"""Advice for a user: what is to be typed is for their network namespace, not for the host. Pure.

The names of bridges and tables are the same there as root's are on the host. A command that is
typed without a word on where would change root's networks, or nothing. `podman unshare
--rootless-netns` would lead inside, too; but where podman's own count of containers is wrong it
takes the namespace from those that run.
"""

import shlex
from dataclasses import replace

from podwatch.decide.firewalld_hops import RESTORE
from podwatch.words.snapshot import Snapshot
from podwatch.words.verdict import Notice
from podwatch.words.way import Hop, Way

_INSIDE = ("ip ", "bridge ", "nft ", "sysctl ", "iptables", "ip6tables")
_RELOAD = "podman network reload"
_PAUSE = "$(cat $XDG_RUNTIME_DIR/libpod/tmp/pause.pid)"


def for_user(advice: str, snapshot: Snapshot) -> str:
    """The same advice, as a user has to follow it; of root's host it is as it was."""
    netns = snapshot.netns
    if netns is None or not advice.startswith((*_INSIDE, _RELOAD)):
        return advice
    # podwatch looks first whether a reload would take the namespace from all others.
    if not netns.is_whole or advice.startswith(_RELOAD):
        return RESTORE
    there = f"nsenter -t {_PAUSE} -U -m --preserve-credentials nsenter --net={netns.path}"
    return f"{there} sh -c {shlex.quote(advice)}" if ";" in advice else f"{there} {advice}"


def notice_for_user(notice: Notice, snapshot: Snapshot) -> Notice:
    """A notice with such advice."""
    return replace(notice, advice=for_user(notice.advice, snapshot))


def way_for_user(way: Way, snapshot: Snapshot) -> Way:
    """A way whose hops have such advice."""
    if snapshot.netns is None or not any(hop.advice for hop in way.hops):
        return way
    return replace(way, hops=tuple(_hop(hop, snapshot) for hop in way.hops))


def _hop(hop: Hop, snapshot: Snapshot) -> Hop:
    if hop.place == "uplink":  # one that podwatch cannot start: podman does, with its next network
        return hop
    return replace(hop, advice=for_user(hop.advice, snapshot))
