# SPDX-License-Identifier: Apache-2.0
"""Broken on purpose, as in test_broken.py: netavark's state."""

import json

import pytest

from tests.e2e.installed import Installed

pytestmark = [
    pytest.mark.e2e,
    # What is broken are podwatch's surroundings, the same everywhere.
    pytest.mark.parametrize("there", ["trixie"], indirect=True, scope="module"),
    pytest.mark.usefixtures("whole_afterwards"),
]

MAX_RSS_KB = 56 * 1024
"""After it was fed on tens of thousands of files, and huge ones."""
_STATE = "/run/containers/networks/firewall"

MESSES = {
    "10,000 files": "seq 10000 | sed 's,^,ports/junk,' | xargs touch",
    "40,000 files": "seq 40000 | sed 's,^,ports/junk,' | xargs touch",
    "FIFOs": "mkfifo ports/fifo networks/fifo",
    "huge files": "truncate -s 1G ports/huge networks/huge",
    "binary garbage": "for n in 1 2 3; do head -c 100000 /dev/urandom > ports/garbage$n; done",
    "links": "ln -s /dev/zero ports/zero; ln -s /dev/stdin networks/stdin; ln -s loop ports/loop",
    "directories": "mkdir -p ports/directory/in/it networks/directory",
    "odd names": "touch 'ports/--all' 'ports/a\\\\b' 'networks/;reboot;'; mkfifo 'ports/a\nb'",
    "cut in the middle": 'for f in ports/*; do truncate -s 40 "$f"; done',
    "an unknown driver": "echo pf > firewall-driver",
    "nothing in it": "rm ports/* networks/*",
    "no file at all": "rm -r ports networks firewall-driver",
    "no directory at all": "rm -r $PWD",
}


@pytest.mark.parametrize("mess", MESSES.values(), ids=MESSES)
def test_netavarks_state_is_spoilt(there: Installed, mess: str) -> None:
    """Whatever is in the state directory: soon read, unknown at worst, and nothing repaired."""
    before, rules = there.incidents(), there.host.nft("list", "table", "inet", "netavark")
    reloads, pid = there.reloads(), there.main_pid()
    there.host.shell(f"cp -a {_STATE} /run/state-as-it-was; cd {_STATE}; {mess}", timeout=120)
    try:
        checked = there.host.run(["podwatch", "check", "--json"], check=False, timeout=20)
        told = json.loads(checked.stdout)
        # A chain that concerns nobody makes the daemon look too.
        looks = there.status()["counters"]["looks"]
        there.host.shell("nft add chain inet netavark x; nft delete chain inet netavark x")
        there.until(lambda: there.status()["counters"]["looks"] > looks, "looked", 20)
    finally:
        there.host.shell(f"rm -rf {_STATE}; mv /run/state-as-it-was {_STATE}", timeout=120)
    there.until_whole(40)

    assert told["state"] in ("ok", "unknown"), told["summary"]
    assert told["missing"] == []
    assert there.host.nft("list", "table", "inet", "netavark") == rules
    assert (there.incidents(), there.reloads(), there.main_pid()) == (before, reloads, pid)
    assert there.rss_kb() <= MAX_RSS_KB


def _unknown(there: Installed) -> set[str]:
    """What is unknown, where that is the state of it all."""
    status = there.status()
    return {part["what"] for part in status["unknown"] if status["state"] == "unknown"}


@pytest.mark.parametrize(
    "part", ["ports", "networks", "ports/*_$(podman inspect -f {{.Id}} web-b)"]
)
def test_a_part_of_netavarks_state_is_away(there: Installed, part: str) -> None:
    """What it stood for is unknown, never well; it heals soon after the part is there again."""
    there.host.shell(f"mkdir /run/aside; cd {_STATE}; mv {part} /run/aside; nft flush ruleset")
    try:
        # A look amid the move names netavark's state; the next one what it stood for.
        there.until(lambda: _unknown(there) & {"web-b", "network podman"} != set(), "named", 10)
        assert there.check().code == 3
    finally:
        kind = part.partition("/")[0]
        back = f"cp -a /run/aside/{kind} {_STATE}" if part == kind else f"mv /run/aside/* {kind}"
        there.host.shell(f"cd {_STATE}; {back}; rm -r /run/aside")
    there.until_whole(45)
