# SPDX-License-Identifier: Apache-2.0
"""The guard's keeper: the table follows netavark's files, the administrator, and saved rulesets."""

from pathlib import Path

import pytest

from podwatch.adapters.libnftables import Unanswered
from podwatch.decide.guard import PATIENCE_S
from podwatch.words.errors import PodwatchError, RestoreFailed, RulesUnreadable
from podwatch.words.guard import GuardMode
from tests.unit.daemon.guard_host import GuardHost


def test_an_anchor_is_made_after_the_first_look(tmp_path: Path) -> None:
    """Not before: a host on which no container ever ran has no table of podwatch's."""
    host = GuardHost(tmp_path, GuardMode.ANCHOR)

    async def body() -> None:
        await host.reports(mode="off", why="waits for the first look")
        assert host.nft.done == []
        host.container(1)
        host.look()
        await host.reports(mode="anchor", table="podwatch-guard-0010", ports=0, why="")

    host.keep(body)
    assert len(host.nft.done) == 1
    assert host.nft.closed == 1


def test_an_anchor_does_not_follow_the_state(tmp_path: Path) -> None:
    """It holds nothing of any container: only the files of nftables.service concern it."""
    host = GuardHost(tmp_path, GuardMode.ANCHOR)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(mode="anchor")
        assert host.guard.watch.directories == (tmp_path,)

    host.keep(body)


def test_a_full_guard_follows_netavark_s_files(tmp_path: Path) -> None:
    """An element comes with the container's file and goes with it, without any look."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(mode="full", ports=1, containers=1)
        second = host.container(2)
        await host.reports(ports=2, containers=2)
        assert host.nft.done[-1] == (
            "add element inet podwatch-guard-0010 ports4 { tcp . 2 : 10.89.3.2 . 80 }\n"
        )
        second.unlink()
        await host.reports(ports=1)
        assert host.nft.done[-1] == ("delete element inet podwatch-guard-0010 ports4 { tcp . 2 }\n")

    host.keep(body)


def test_the_first_container_of_all_is_held_at_once(tmp_path: Path) -> None:
    """Its file is enough: a look comes later."""
    host = GuardHost(tmp_path)
    driver = host.paths.netavark_state / "firewall-driver"
    driver.unlink()

    async def body() -> None:
        host.look()
        await host.reports(mode="off", why="no container needs rules on this host")
        host.write("firewall-driver", "nftables")
        host.container(1)
        await host.reports(mode="full", ports=1, containers=1)

    host.keep(body)


def test_who_is_dead_is_not_held(tmp_path: Path) -> None:
    """A look that finds a container dead takes its port out, though its file stays."""
    host = GuardHost(tmp_path)
    host.container(1)
    host.container(2)

    async def body() -> None:
        host.look()
        await host.reports(ports=2)
        whole = host.guard._who_runs.seen.setup
        assert whole is not None
        dead = whole.endpoints[0].container_id
        alive = tuple(end for end in whole.endpoints if end.container_id != dead)
        host.look(alive=whole.__class__(whole.driver, whole.networks, alive, stamps=whole.stamps))
        await host.reports(ports=1)

    host.keep(body)


def test_whose_process_has_ended_is_not_held(tmp_path: Path) -> None:
    """Its port goes before netavark takes its file away, or though nobody ever does."""
    host = GuardHost(tmp_path)
    host.container(1)
    host.container(2)

    async def body() -> None:
        host.look()
        await host.reports(ports=2)
        host.ended.add(f"{1:064x}")
        host.guard.wake()
        await host.reports(ports=1)
        assert host.nft.done[-1] == ("delete element inet podwatch-guard-0010 ports4 { tcp . 1 }\n")

    host.keep(body)


def test_a_file_that_is_half_written_keeps_its_port_for_a_while(tmp_path: Path) -> None:
    """Unknown is not gone; after half a minute it is let go."""
    host = GuardHost(tmp_path)
    path = host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(ports=1)
        path.write_text("{", encoding="utf-8")
        await host.reports(ports=1, why="1 state file cannot be read")
        host.now += PATIENCE_S
        host.guard.wake()
        await host.reports(ports=0)

    host.keep(body)


def test_a_state_that_is_gone_empties_it_at_once(tmp_path: Path) -> None:
    """What netavark no longer has may belong to nobody."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(ports=1)
        (host.paths.netavark_state / "firewall-driver").unlink()
        await host.reports(mode="anchor", why="netavark's state is gone: it holds no port")

    host.keep(body)


def test_a_state_that_cannot_be_read_is_forgotten_by_itself(tmp_path: Path) -> None:
    """No event tells that half a minute is over."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(ports=1)
        host.now -= PATIENCE_S - 0.05
        (host.paths.netavark_state / "firewall-driver").write_text("?", encoding="utf-8")
        await host.until(lambda: host.guard._who_runs.patience_s is not None)
        host.now += PATIENCE_S - 0.05
        await host.reports(ports=1)
        host.guard.wake()
        host.now += 0.05
        await host.reports(mode="anchor", why="who runs is not known: it holds no port")

    host.keep(body)


def test_a_pause_and_a_refused_configuration_end_it(tmp_path: Path) -> None:
    """The table is deleted, and made anew when they are over."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(mode="full")
        host.against = "paused until noon"
        host.guard.wake()
        await host.reports(mode="off", table="", why="paused until noon")
        assert host.nft.done[-1] == "delete table inet podwatch-guard-0010\n"
        host.against = ""
        host.guard.wake()
        await host.reports(mode="full", table="podwatch-guard-0011")
        host.guard.refuse()
        await host.reports(mode="off", why="the configuration is refused")
        host.guard.configure(GuardMode.ANCHOR)
        await host.reports(mode="anchor")
        host.guard.configure(GuardMode.OFF)
        await host.reports(mode="off", why="switched off (restore.guard)")
        assert host.guard.watch.directories == ()

    host.keep(body)


def test_a_saved_ruleset_gives_it_another_name(tmp_path: Path) -> None:
    """In one transaction: a file with the name of a table that is owned would be refused."""
    host = GuardHost(tmp_path, GuardMode.ANCHOR)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(table="podwatch-guard-0010", saved="")
        host.conf.write_text("table inet podwatch-guard-0010 {\n}\n", encoding="utf-8")
        await host.reports(table="podwatch-guard-0011", saved=str(host.conf))
        assert host.nft.done[-1].endswith("delete table inet podwatch-guard-0010\n")
        host.conf.unlink()
        await host.reports(table="podwatch-guard-0011", saved="")

    host.keep(body)


def test_a_name_that_a_file_has_is_not_taken(tmp_path: Path) -> None:
    """Not at a start either."""
    host = GuardHost(tmp_path, GuardMode.ANCHOR)
    host.container(1)
    host.conf.write_text("table inet podwatch-guard-0010 {\n}\n", encoding="utf-8")

    async def body() -> None:
        host.look()
        await host.reports(table="podwatch-guard-0011")

    host.keep(body)


@pytest.mark.parametrize("error", [RestoreFailed, RulesUnreadable])
def test_a_kernel_that_knows_no_owner_is_asked_once(
    tmp_path: Path, error: type[PodwatchError]
) -> None:
    """The reason is told; only a new configuration makes another try."""
    host = GuardHost(tmp_path)
    host.container(1)
    host.nft.fails = [error("Operation not supported")]

    async def body() -> None:
        host.look()
        await host.reports(mode="off", why="Operation not supported")
        host.container(2)
        host.look()
        await host.until(lambda: len(host.sections) > 2)
        assert host.nft.done == []
        host.guard.configure(GuardMode.FULL)
        await host.reports(mode="full", ports=2)

    host.keep(body)
    assert host.complaints == ["there is no guard: Operation not supported"]


def test_what_cannot_be_changed_is_made_anew(tmp_path: Path) -> None:
    """The socket is closed first, with which the kernel takes away what is stale."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(ports=1)
        host.nft.fails = [RestoreFailed("No such file or directory")]
        host.container(2)
        await host.reports(ports=2, table="podwatch-guard-0011")

    host.keep(body)
    assert host.nft.closed == 2
    assert host.complaints == []


def test_a_commit_that_hangs_ends_the_keeper(tmp_path: Path) -> None:
    """And with it podwatch: nobody could change that table any more."""
    host = GuardHost(tmp_path)
    host.container(1)
    host.nft.fails = [Unanswered("no answer")]

    async def body() -> None:
        host.look()
        await host.until(lambda: host.nft.closed)

    with pytest.raises(Unanswered):
        host.keep(body)


def test_what_it_carried_is_counted_over_all_its_tables(tmp_path: Path) -> None:
    """A table that is made anew begins at nothing; what cannot be counted counts nothing."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        await host.guard.count()
        host.look()
        await host.reports(ports=1)
        host.nft.counted = 3
        await host.guard.count()
        assert host.section["carried"] == 3
        host.nft.counted = 5
        host.conf.write_text(host.section["table"], encoding="utf-8")
        await host.reports(table="podwatch-guard-0011", carried=5)
        host.nft.counted = None
        await host.guard.count()
        host.nft.counted = 1
        host.guard.configure(GuardMode.OFF)
        await host.reports(mode="off", carried=6)

    host.keep(body)


def test_a_rule_in_front_of_netavark_s_makes_it_an_anchor(tmp_path: Path) -> None:
    """As long as it is there, or all is lost: what is there when all is back counts then."""
    host = GuardHost(tmp_path)
    host.container(1)

    async def body() -> None:
        host.look()
        await host.reports(mode="full")
        host.look(front="accept")
        await host.reports(mode="anchor")
        assert host.section["why"] == (
            "an anchor only, as chain POSTROUTING: “accept” stands before netavark's rules"
        )
        host.look(front="", lost=True)
        await host.reports(mode="anchor")
        host.look()
        await host.reports(mode="full", why="")

    host.keep(body)


def test_one_that_is_to_be_full_waits_for_a_look_at_the_rules(tmp_path: Path) -> None:
    """What others have in front of netavark's is not looked for while it is an anchor."""
    host = GuardHost(tmp_path, GuardMode.ANCHOR)
    host.container(1)

    async def body() -> None:
        host.look(front="accept")
        await host.reports(mode="anchor", why="")
        host.guard.configure(GuardMode.FULL)
        await host.reports(why="an anchor only, until a look has seen the rules")
        host.look()
        await host.reports(mode="full", why="")

    host.keep(body)


def test_the_first_container_of_a_host_waits_for_no_look(tmp_path: Path) -> None:
    """Where nobody needed rules nobody can have any in front of them."""
    host = GuardHost(tmp_path)

    async def body() -> None:
        host.look(unread=True)
        await host.reports(mode="off")
        host.container(1)
        await host.reports(mode="full", ports=1)

    host.keep(body)
