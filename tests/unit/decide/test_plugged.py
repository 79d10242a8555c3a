# SPDX-License-Identifier: Apache-2.0
"""Which interface in a container belongs to which link of the host."""

from podwatch.decide.plugged import Plugged, plugged
from podwatch.words.links import Inner, Link, Links

PORT = Link("veth0", 4, kind="veth", netns_id=0)
ETH0 = Inner("eth0", 2, peer=4)


def test_both_ends_have_to_name_each_other() -> None:
    """An index is another link's in another namespace, and a macvlan names its parent."""
    links = Links({"veth0": PORT})
    assert plugged(links, {0: (ETH0,)}) == {0: [Plugged(PORT, ETH0)]}
    for number, inner in (
        (1, ETH0),
        (0, Inner("eth0", 2, peer=5)),
        (0, Inner("eth0", 2, kind="macvlan", peer=4)),
    ):
        assert plugged(links, {number: (inner,)}) == {number: []}
