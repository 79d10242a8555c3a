# SPDX-License-Identifier: Apache-2.0
"""Who did it, asked of the real /proc while real programs commit real transactions."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from podwatch.adapters.netlink import Change, NftablesWatch
from podwatch.adapters.process import Processes
from podwatch.words.cause import Writer, by_writer
from tests.integration.namespace import in_private_network

pytestmark = pytest.mark.integration

ROUNDS = 40


def _fill() -> None:
    rules = "\n".join(f"tcp dport {port} accept" for port in range(1, 100))
    table = f"table inet netavark {{ chain FORWARD {{\n{rules}\n}}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True)


def _heard(command: list[str]) -> list[Writer]:
    """The writers of `ROUNDS` runs of a command that deletes from the table, as they were heard."""
    deletions: list[Change] = []

    async def body() -> None:
        said = asyncio.Event()

        def changed(change: Change) -> None:
            if change.deleted:
                deletions.append(change)
                said.set()

        watch = NftablesWatch(changed, said.set, identify=Processes().identify, table="netavark")
        watch.attach(asyncio.get_running_loop())
        for _ in range(ROUNDS):
            _fill()
            said.clear()
            process = await asyncio.create_subprocess_exec(*command)
            async with asyncio.timeout(10):
                await said.wait()
            await process.wait()
        watch.close()

    asyncio.run(body())
    return [deletion.writer for deletion in deletions]


@in_private_network
def test_a_flush_in_a_script_is_told_with_the_script() -> None:
    """`nft flush ruleset` in a script: nearly always the command and the script are known."""
    script = Path(f"/tmp/podwatch-test-{os.getpid()}.sh")
    script.write_text("nft flush ruleset\ntrue\n")
    try:
        writers = _heard(["sh", str(script)])
    finally:
        script.unlink()

    known = [writer for writer in writers if writer.process is not None]
    assert len(writers) == ROUNDS
    assert len(known) >= ROUNDS * 0.8, f"{len(known)} of {ROUNDS}"
    # The script ends right after nft, and may be gone when it is asked in its turn.
    parents = [
        writer.process.parent for writer in known if writer.process and writer.process.parent
    ]
    assert len(parents) >= ROUNDS * 0.7, f"{len(parents)} of {ROUNDS}"
    assert {parent.command for parent in parents} == {f"sh {script}"}
    with_command = [
        writer for writer in known if "“nft flush ruleset”" in by_writer(writer).for_root
    ]
    assert len(with_command) >= ROUNDS * 0.7, f"{len(with_command)} of {ROUNDS}"
