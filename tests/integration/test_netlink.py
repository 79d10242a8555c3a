# SPDX-License-Identifier: Apache-2.0
"""The netlink adapter against the real kernel, in a network namespace of the test's own."""

import asyncio
import ctypes
import os
import subprocess
import time
from collections.abc import Callable

import pytest

from podwatch.adapters import netlink
from podwatch.adapters.netlink import Change, NftablesWatch, generation, table_exists
from podwatch.words.errors import RulesUnreadable
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

TABLE = """
table inet netavark {
    chain INPUT { type filter hook input priority filter; policy accept; }
    chain FORWARD { type filter hook forward priority filter; policy accept; tcp dport 1 accept; }
}
table ip other {
    chain A { tcp dport 2 accept; }
}
"""


def nft(script: str) -> None:
    """Commit one transaction with the real nft."""
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)


class Listener:
    """A watch on the running loop, and everything it said."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.overruns = 0
        self.said = asyncio.Event()
        self.watch = NftablesWatch(self._changed, self._overrun)

    def _changed(self, change: Change) -> None:
        self.changes.append(change)
        self.said.set()

    def _overrun(self) -> None:
        self.overruns += 1
        self.said.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`, looking again whenever the watch said something."""
        async with asyncio.timeout(10):
            while not condition():
                self.said.clear()
                await self.said.wait()

    def __enter__(self) -> "Listener":
        self.ended = self.watch.attach(asyncio.get_running_loop())
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.close()


@in_private_network
def test_a_transaction_is_told_with_its_writer_and_tables() -> None:
    """One transaction is one Change that names nft, its pid and every table it touched."""

    async def body() -> None:
        with Listener() as listener:
            process = subprocess.Popen(["nft", "-f", "-"], stdin=subprocess.PIPE, text=True)
            process.communicate(TABLE)
            await listener.until(lambda: bool(listener.changes))
        (change,) = listener.changes
        assert change.writer.name == "nft"
        assert change.writer.pid > 0
        assert change.tables == {"inet netavark", "ip other"}
        assert change.deleted == set()
        assert change.generation == generation()

    asyncio.run(body())


@in_private_network
def test_a_flush_tells_which_tables_lost_something() -> None:
    """`flush ruleset` is one Change with every table it emptied among the deleted."""

    async def body() -> None:
        nft(TABLE)
        with Listener() as listener:
            nft("flush ruleset")
            await listener.until(lambda: bool(listener.changes))
        assert listener.changes[0].deleted == {"inet netavark", "ip other"}

    asyncio.run(body())


@in_private_network
def test_changes_of_another_table_do_not_name_ours() -> None:
    """A transaction in another table does not carry what an earlier one touched."""

    async def body() -> None:
        with Listener() as listener:
            nft(TABLE)
            nft("add rule ip other A tcp dport 3 accept")
            nft("flush table ip other")
            await listener.until(lambda: len(listener.changes) == 3)
        assert listener.changes[1].tables == {"ip other"}
        assert listener.changes[1].deleted == set()
        assert listener.changes[2].deleted == {"ip other"}

    asyncio.run(body())


@in_private_network
def test_reading_is_no_change() -> None:
    """Listing the ruleset and asking for a table say nothing to the watch."""

    async def body() -> None:
        nft(TABLE)
        with Listener() as listener:
            subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True)
            assert table_exists("inet", "netavark")
            nft("add table ip last")
            await listener.until(lambda: bool(listener.changes))
        assert [change.tables for change in listener.changes] == [{"ip last"}]

    asyncio.run(body())


@in_private_network
def test_a_socket_that_cannot_be_read_is_an_error() -> None:
    """Whoever waits for the watch is told when its socket cannot be read any more."""

    async def body() -> None:
        with Listener() as listener, open("/dev/null") as other:
            socket = listener.watch._socket
            assert socket is not None
            os.dup2(other.fileno(), socket.fileno())
            listener.watch.drain()
            with pytest.raises(RulesUnreadable, match="read nftables' notifications"):
                await asyncio.wait_for(listener.ended, 5)

    asyncio.run(body())


@in_private_network
def test_a_table_exists_or_not() -> None:
    """table_exists tells an existing table from a missing one, and families apart."""
    nft(TABLE)
    assert table_exists("inet", "netavark")
    assert not table_exists("ip", "netavark")
    assert not table_exists("inet", "netavar")
    nft("delete table inet netavark")
    assert not table_exists("inet", "netavark")


@in_private_network
def test_asking_does_not_take_longer_beside_many_rules() -> None:
    """Both questions read none of 5,000 rules: they take no three times the processor time."""

    def took() -> float:
        began = time.process_time()
        for _ in range(40):
            table_exists("inet", "netavark")
            generation()
        return time.process_time() - began

    nft(TABLE)
    alone = min(took() for _ in range(5))
    nft("table ip big { chain A {\n" + "tcp dport 1 accept\n" * 5000 + "}\n}\n")
    assert min(took() for _ in range(5)) < 3 * alone


@in_private_network
def test_the_generation_grows_with_each_transaction() -> None:
    """generation() is the same while nothing is committed, and one more after a commit."""
    before = generation()
    assert generation() == before
    nft("add table ip a")
    assert generation() == before + 1


@in_private_network
def test_ten_thousand_rules_fit_the_receive_buffer() -> None:
    """A transaction of 10,000 rules that is read only afterwards loses nothing."""

    async def body() -> None:
        with Listener() as listener:
            nft("table ip big { chain A {\n" + "tcp dport 1 accept\n" * 10_000 + "}\n}\n")
            await listener.until(lambda: bool(listener.changes))
        assert listener.overruns == 0
        assert listener.changes[0].tables == {"ip big"}

    asyncio.run(body())


@in_private_network
def test_an_overrun_is_told_and_listening_goes_on() -> None:
    """Messages lost for want of room cause one overrun, and later changes are heard again."""
    netlink.RECEIVE_BUFFER = 4096  # this child's only

    async def body() -> None:
        with Listener() as listener:
            nft("table ip big { chain A {\n" + "tcp dport 1 accept\n" * 10_000 + "}\n}\n")
            await listener.until(lambda: listener.overruns > 0)
            assert listener.watch.overruns == listener.overruns
            before = len(listener.changes)
            nft("add table ip later")
            await listener.until(lambda: len(listener.changes) > before)
            assert "ip later" in listener.changes[-1].tables

    asyncio.run(body())


@in_private_network
def test_opening_and_closing_leaves_no_descriptor() -> None:
    """Fifty watches, opened and closed, and a hundred questions leave no descriptor open."""

    async def body() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            with Listener():
                table_exists("inet", "netavark")
                generation()
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(body())


@in_private_network
def test_without_the_capability_the_error_says_what_to_do() -> None:
    """Without CAP_NET_ADMIN opening and asking raise RulesUnreadable with a hint."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setresuid(65534, 65534, 65534) == 0
    watch = NftablesWatch(lambda _: None, lambda: None)
    with pytest.raises(RulesUnreadable, match="Operation not permitted") as listening:
        watch.open()
    with pytest.raises(RulesUnreadable, match="table inet netavark") as asking:
        table_exists("inet", "netavark")
    assert "CAP_NET_ADMIN" in listening.value.hint
    assert "CAP_NET_ADMIN" in asking.value.hint
