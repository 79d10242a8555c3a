# SPDX-License-Identifier: Apache-2.0
"""Processes that look like relays: a shell under their names, in a directory of the test's."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from podwatch.adapters.relays import RelayProcesses
from podwatch.words.relays import Relay, RelayKind

_WAITS = "read -r _"
_WITH_CHILD = 'exec 5<&0; PATH=$0 rootlessport-child -c "read -r _" <&5 & read -r _'


class RelayStage:
    """A directory of programs, and processes of them. `end` ends all."""

    def __init__(self, top: Path) -> None:
        self.directory = top / "programs"
        self.directory.mkdir()
        for name in ("pasta", "pasta.avx2", "slirp4netns", "rootlessport", "conmon"):
            shutil.copy("/bin/sh", self.directory / name)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.pipe = os.pipe()
        self.look = RelayProcesses(directories=(str(self.directory),))

    def pasta(self, file: str, name: str = "pasta.avx2") -> int:
        """pasta that was given this file."""
        return self.run(name, "pasta", ("--quiet", "--netns", file))

    def slirp(self, file: str) -> int:
        """slirp4netns that was given this file, and hears of the end on the stage's pipe."""
        words = ("-e", str(self.pipe[0]), "--netns-type=path", file, "tap0")
        return self.run("slirp4netns", "slirp4netns", words)

    def ports(self, *, whole: bool = True) -> int:
        """rootlessport; `whole`: with its second half."""
        child = self.directory.parent / "rootlessport-child"
        if not child.is_symlink():
            child.symlink_to(self.directory / "rootlessport")
        script = f"exec 3</proc/self/fd/{self.pipe[0]}; {_WITH_CHILD if whole else _WAITS}"
        pid = self.run("rootlessport", "rootlessport", (str(child.parent),), script)
        if whole:  # its second half is there, but may not be called so yet
            command = Path(f"/proc/{self.child_of(pid)}/cmdline")
            while not command.read_bytes().startswith(b"rootlessport-child\0"):
                time.sleep(0.001)
        return pid

    @staticmethod
    def child_of(pid: int) -> int:
        """The one child of a process."""
        children = Path(f"/proc/{pid}/task/{pid}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.001)
        return int(found[0])

    def run(self, program: str, name: str, words: Sequence[str], script: str = _WAITS) -> int:
        """A process of this program under this name; its pid once it runs."""
        process = subprocess.Popen(
            [name, "-c", f"echo; {script}", *words],
            executable=self.directory / program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self.pipe[0],),
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        self.processes.append(process)
        return process.pid

    def found(self, kind: RelayKind) -> list[Relay]:
        """Those of this kind that are found."""
        own = {process.pid for process in self.processes}
        return [relay for relay in self.look.find() if relay.kind is kind and relay.pid in own]

    def kill(self, pid: int) -> None:
        """End one process, and wait for that."""
        for process in self.processes:
            if process.pid == pid:
                process.kill()
                process.communicate()

    def end(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()
            process.communicate()
        for descriptor in self.pipe:
            os.close(descriptor)
