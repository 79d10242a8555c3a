# SPDX-License-Identifier: Apache-2.0
"""Nothing is done, and nothing is told, when nothing is wrong."""

import pytest

from tests.e2e.installed import Installed, on_one_suite
from tests.lab.containers import many

pytestmark = pytest.mark.e2e

_CHURN = """
for c in "$@"; do podman restart -t 0 "$c" >/dev/null; podman rename "$c" "r$c"; done
for c in "$@"; do podman stop -t 0 "r$c" >/dev/null; done
for c in "$@"; do podman start "r$c" >/dev/null; done
for i in 1 2 3 4 5; do
    podman network create n$i >/dev/null; podman network rm n$i >/dev/null
done
"""


def test_the_first_containers_are_no_riddle(there: Installed) -> None:
    """podwatch was there before any container: nothing was unknown while the first were set up."""
    told = there.host.journal("podwatch")

    assert "watches Podman's network rules" in told
    assert "unknown" not in told
    assert "missing" not in told


@on_one_suite
def test_churn_is_no_loss(there: Installed) -> None:
    """Starting, stopping, restarting and renaming 20 containers is neither loss nor repair."""
    before = there.incidents()
    churned = many(there.host, 20)
    names = " ".join(container.name for container in churned.containers)
    there.host.shell(f"set -e; set -- {names}\n{_CHURN}", timeout=240)
    there.until_whole(20)

    assert there.incidents() == before
    assert there.reloads() == 0
    there.host.shell("podman rm -f -t 0 $(podman ps -q --filter name=^r) >/dev/null", timeout=120)


def test_rules_of_others_are_no_loss(there: Installed) -> None:
    """Rules in other tables, made and removed, concern nobody."""
    before = there.incidents()
    there.host.shell(
        "nft add table inet theirs; nft add chain inet theirs c; "
        "nft add rule inet theirs c accept; nft flush table inet theirs; "
        "nft delete table inet theirs"
    )
    there.until_whole(8)

    assert there.incidents() == before
    assert there.reloads() == 0


def test_ufw_leaves_the_rules(there: Installed) -> None:
    """`ufw enable` and `ufw reload` remove no rule of netavark's: no loss, no repair."""
    before = there.incidents()
    there.host.shell("ufw --force enable; ufw reload; ufw --force disable")
    there.until(lambda: there.check().code == 0, "ok", 10)

    assert there.incidents() == before
    assert there.reloads() == 0


def test_a_firewalld_that_stops_is_no_riddle(there: Installed) -> None:
    """`systemctl stop firewalld`, heard while firewalld is asked, leaves nothing unknown."""
    cursor = there.host.journal_cursor()
    for _ in range(3):
        there.host.run(["systemctl", "stop", "firewalld"])
        there.until_whole()
        there.host.run(["systemctl", "start", "firewalld"])
        there.until_whole()

    assert "unknown" not in there.host.journal("podwatch", since_cursor=cursor)
