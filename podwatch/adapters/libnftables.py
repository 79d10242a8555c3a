# SPDX-License-Identifier: Apache-2.0
"""libnftables: reads one table as text, and commits a script as one transaction.

The library is what nft itself is made of, without the process: 3 ms instead of 9 for a small
table. It is only ever asked for one table, never for the ruleset, whose size is not ours to pay
for and whose other tables may hold what this version of it cannot print.

A context is not safe for threads and a call cannot be interrupted: contexts live on a worker
thread, and one that takes too long is left behind with it. Two faults of the library are out of
reach: it ends the process when it cannot open a netlink socket (src/mnl.c, up to 1.1), and a
crash in it is ours. systemd starts podwatch again.
"""

import ctypes
import re
from typing import Any

from podwatch.adapters import namespace
from podwatch.adapters.program import run
from podwatch.adapters.worker import Worker
from podwatch.words.errors import PodwatchError, RestoreFailed, RulesUnreadable

LIST_TIMEOUT_S = 10.0
APPLY_TIMEOUT_S = 30.0
TOOL_TIMEOUT_S = 10.0
_NO_SUCH = "No such file or directory"

THREAD = "libnftables"
"""The name of the thread that commits, as the kernel knows it from Python 3.14 on."""

_NOBODYS = "podwatch-none"
"""A table that does not exist."""

_COUNTED = re.compile(r"packets (\d+) bytes")


class Unanswered(RestoreFailed):
    """A commit took too long, and may yet be carried out."""


class Nftables:
    """nftables through libnftables, in this network namespace. Close it when done.

    What it makes with `flags owner` is its own: the kernel takes it away when it is closed.
    """

    writers = frozenset({THREAD})
    """The names under which the kernel knows what is committed here."""

    def __init__(self, thread: str = THREAD) -> None:
        self._worker: Worker[Any] = Worker(thread, _make_context)

    async def list_table(self, family: str, name: str) -> str:
        """The table as `nft --stateless --handle list table` prints it; "" when it does not exist.

        Raises RulesUnreadable when libnftables fails in any other way, or hangs.
        """
        return await self._list(f"list table {family} {name}", handles=True)

    async def list_chains(self) -> str:
        """Every chain of every table, without its rules. Raises RulesUnreadable."""
        return await self._list("list chains")

    async def list_chain(self, family: str, table: str, name: str) -> str:
        """One chain with its hook and rules, as text; "" when it does not exist.

        Raises RulesUnreadable when libnftables fails in any other way, or hangs.
        """
        return await self._list(f"list chain {family} {table} {name}")

    async def count(self, family: str, table: str, counter: str) -> int:
        """The packets that a named counter has counted; 0 when it does not exist.

        Raises RulesUnreadable when libnftables fails in any other way, or hangs.
        """
        text = await self._list(f"list counter {family} {table} {counter}", state=True)
        found = _COUNTED.search(text)
        return int(found[1]) if found else 0

    async def _list(self, what: str, *, handles: bool = False, state: bool = False) -> str:
        try:
            code, output, error = await self._command(
                what, LIST_TIMEOUT_S, handles=handles, state=state
            )
        except TimeoutError:
            raise RulesUnreadable(
                f"nft {what}: no answer after {LIST_TIMEOUT_S:g} s",
                hint="is another program holding the ruleset? nft monitor",
            ) from None
        except PodwatchError:
            raise
        except Exception as exc:  # a foreign library: anything may come out of it
            raise RulesUnreadable(f"nft {what}: {exc!r}") from exc
        if code == 0:
            return output
        if _NO_SUCH in error:
            return ""
        raise RulesUnreadable(f"nft {what}: {_first_line(error) or f'code {code}'}")

    async def apply(self, script: str) -> None:
        """Commit a script in nft's language: all of it, or, when anything is wrong, nothing.

        Raises RestoreFailed with libnftables' message, Unanswered where there is none.
        """
        try:
            code, _, error = await self._command(script, APPLY_TIMEOUT_S, commits=True)
        except TimeoutError:
            raise Unanswered(
                f"nft -f: no answer after {APPLY_TIMEOUT_S:g} s; it may yet be carried out"
            ) from None
        except PodwatchError as exc:
            raise RestoreFailed(str(exc), hint=exc.hint) from exc
        except Exception as exc:  # a foreign library: anything may come out of it
            raise RestoreFailed(f"nft -f: {exc!r}") from exc
        if code != 0:
            raise RestoreFailed(f"nft -f: {_first_line(error) or f'code {code}'}")

    async def tool_works(self) -> str:
        """Whether the program nft works, which netavark depends on: "" or the reason it does not.

        `podman network reload` with a broken nft takes the container off the network and cannot
        bring it back (seen: podman 5.4.2, netavark 1.14), so this is asked before each.
        """
        argv = ["nft", "list", "tables"]
        enter = namespace.networks().enter
        return (await run(argv, timeout_s=TOOL_TIMEOUT_S, enter=enter)).failure

    def close(self) -> None:
        """Let go of the thread and its context. A later call makes new ones."""
        self._worker.close()

    async def _command(
        self,
        script: str,
        timeout_s: float,
        *,
        handles: bool = False,
        state: bool = False,
        commits: bool = False,
    ) -> tuple[int, str, str]:
        def command(context: Any) -> tuple[int, str, str]:
            context.set_handle_output(handles)
            context.set_stateless_output(not state)
            code, output, error = context.cmd(script)
            _give_back(context, trims=commits)
            return int(code), str(output), str(error)

        return await self._worker.call(command, timeout_s=timeout_s)


class NftProgram(Nftables):
    """nftables by the program nft, in the namespace of a user's networks; else as Nftables.

    libnftables opens its socket in the namespace of its process, and a process that has entered a
    user's has no way back. So a child enters, and becomes nft. Nothing is in a namespace that is
    not there.
    """

    writers = frozenset({"nft"})

    def __init__(self) -> None:
        """No library, and no thread."""

    def close(self) -> None:
        """Nothing is kept."""

    async def _command(
        self,
        script: str,
        timeout_s: float,
        *,
        handles: bool = False,
        state: bool = False,
        commits: bool = False,
    ) -> tuple[int, str, str]:
        if not namespace.is_there():  # nor is a script committed where podwatch is itself
            return int(commits), "", "the networks' namespace is not there"
        argv = ["nft"]
        argv += ["--handle"] if handles else []
        argv += [] if state else ["--stateless"]
        done = await run(
            [*argv, "--file", "-"],
            timeout_s=timeout_s,
            stdin=script,
            enter=namespace.networks().enter,
        )
        if done.problem.startswith("no end"):
            raise TimeoutError
        return done.code, done.stdout, done.stderr or done.problem


def _make_context() -> Any:
    try:
        import nftables
    except ImportError as exc:
        raise RulesUnreadable(
            f"the Python module of libnftables cannot be loaded: {exc}",
            hint="install your distribution's package python3-nftables",
        ) from exc
    try:
        context = nftables.Nftables()
    except OSError as exc:
        raise RulesUnreadable(
            f"libnftables cannot be loaded: {exc}", hint="install the package libnftables1"
        ) from exc
    return context


def _give_back(context: Any, *, trims: bool) -> None:
    """Have a context forget what it learnt for a command; where it `trims`, glibc gives that back.

    libnftables keeps some 500 KiB for each table it has seen until the next command (struct table,
    include/rule.h: four hash tables), and glibc what was freed between. To forget takes 40 µs, to
    trim two milliseconds, behind a commit.
    """
    context.cmd(f"list table inet {_NOBODYS}")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if trims else None
    if trim is not None:
        trim(0)


def _first_line(error: str) -> str:
    """libnftables' message without the excerpt of the script that it underlines."""
    line = error.strip().partition("\n")[0]
    return line[:400]
