# SPDX-License-Identifier: Apache-2.0
"""Runs a soak and tells its figures; exits 1 if anything was lost, invented, or grew.

First the daemon is killed at random moments of repairs. The history that was there before stays;
an incident that a kill cuts off may be written down without its end, or not at all. Then, for the
rest of the time asked for, one and the same daemon sees random events: it is measured after each,
and every incident that it counts is in the history.
"""

import argparse
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.e2e.installed import Installed, installed
from tests.lab.machine import until
from tests.soak.events import LOSSES, QUIETS, Event

DIST = Path(__file__).resolve().parents[2] / "dist"
HEAL_S = 60.0
GROWTH_KB = 3072
"""Resident memory may be so much more at the end than it was when everything had happened once."""


@dataclass(frozen=True)
class Measure:
    """The daemon after one event."""

    rss_kb: int
    descriptors: int
    threads: int
    zombies: int


@dataclass
class Account:
    """Everything a soak has to tell."""

    seed: int
    kills: int = 0
    cut_off: int = 0
    """Incidents whose end a kill kept from being written."""
    losses: int = 0
    quiets: int = 0
    incidents: int = 0
    written: int = 0
    slowest_ms: int = 0
    slowest_event: str = ""
    measures: list[Measure] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Soak:
    """One host, one source of chance, one account."""

    def __init__(self, there: Installed, seed: int) -> None:
        self.there = there
        self.chance = random.Random(seed)  # noqa: S311 - no secret
        self.account = Account(seed)

    def kill(self, times: int) -> None:
        """SIGKILL the daemon at a random moment of a repair, so many times."""
        known = self.there.history()
        for number in range(times):
            pid = self.pid()
            self.there.host.shell("nft delete table inet netavark", check=False)
            time.sleep(self.chance.uniform(0, 0.4))  # the moment is what varies
            self.there.host.run(["kill", "-KILL", str(pid)], check=False)
            self.until_another(pid)
            self.there.until_whole(HEAL_S)
            self.account.kills += 1
            _say(f"kill {number + 1} of {times}: whole")
        written = self.there.history()
        if [incident["began"] for incident in written[: len(known)]] != [
            incident["began"] for incident in known
        ]:
            self.account.wrong.append("what was written down before the kills is not there")
        self.account.cut_off = sum(not incident["ended"] for incident in written[len(known) :])
        if self.account.cut_off > times or len(written) - len(known) > 2 * times:
            self.account.wrong.append(
                f"{len(written) - len(known)} incidents are written down, {self.account.cut_off} "
                f"of them without an end, after {times} kills"
            )

    def until_another(self, pid: int) -> None:
        """Wait until systemd has started the daemon again."""
        self.there.until(lambda: self.pid() not in (0, pid), "started again", 30)

    def events(self, seconds: float, *, all_once: bool = True) -> None:
        """Let things happen for so long, and everything `all_once`; measure after each."""
        pid, end = self.pid(), time.monotonic() + seconds
        known = len(self.there.history())
        # Everything once, in any order, so that the first measures have seen all there is.
        todo = [*LOSSES, *QUIETS]
        self.chance.shuffle(todo)
        first = len(todo)
        while (todo and all_once) or time.monotonic() < end:
            event = todo.pop() if todo else self.any_event()
            self.happen(event)
            self.account.measures.append(self.measure(pid))
        if self.pid() != pid:
            self.account.wrong.append(f"the daemon is another one: {pid}, then {self.pid()}")
        self.compare(self.account.measures[:first], self.account.measures[first:])
        written = self.there.history()[known:]
        self.account.written = len(written)
        if len(written) != self.account.incidents:
            self.account.wrong.append(
                f"{len(written)} incidents are written down, {self.account.incidents} were counted"
            )
        if any(not incident["verified"] or not incident["ended"] for incident in written):
            self.account.wrong.append("an incident is written down as not ended")

    def any_event(self) -> Event:
        """An event by its weight; every other one is a quiet one."""
        choice = self.chance.choice((LOSSES, QUIETS))
        return self.chance.choices(choice, [event.weight for event in choice])[0]

    def happen(self, event: Event) -> None:
        """One event, and that the host is whole after it."""
        before, reloads = self.there.incidents(), self.there.reloads()
        self.there.host.shell(event.script, check=False, timeout=120)
        self.there.until_whole(HEAL_S)
        new = self.there.incidents() - before
        self.account.incidents += new
        if event.quiet:
            self.account.quiets += 1
            if new or self.there.reloads() != reloads:
                self.account.wrong.append(f"{event.name}: {new} incidents, where nothing was lost")
        else:
            self.account.losses += 1
            if not new:
                self.account.wrong.append(f"{event.name}: no incident")
        took = int(self.there.status()["last_incident"]["took_ms"]) if new else 0
        if took > self.account.slowest_ms:
            self.account.slowest_ms, self.account.slowest_event = took, event.name
        _say(f"{event.name}: whole; {new} incidents, the last of {took} ms")

    def pid(self) -> int:
        """The daemon's; 0 while there is none."""
        return int(self.there.host.unit_show("podwatch", "MainPID")["MainPID"])

    def measure(self, pid: int) -> Measure:
        """The daemon's size, its descriptors and threads, and the zombies of the whole host."""
        told = self.there.host.shell(
            f"awk '/^VmRSS:|^Threads:/ {{ print $2 }}' /proc/{pid}/status; "
            f"ls /proc/{pid}/fd | wc -l"
        ).stdout.split()
        rss, threads, descriptors = (int(word) for word in told)
        # What has just ended is one for a moment.
        until(lambda: not self.zombies(), 5.0)
        return Measure(rss, descriptors, threads, self.zombies())

    def zombies(self) -> int:
        """How many processes of the whole host have ended without anybody having asked."""
        stats = "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | grep -c '^Z ' || true"
        return int(self.there.host.shell(stats).stdout)

    def compare(self, first: list[Measure], later: list[Measure]) -> None:
        """Complain of what has grown since everything had happened once."""
        if any(measure.zombies for measure in [*first, *later]):
            self.account.wrong.append("there were zombies")
        if not later:
            return
        last = later[-max(len(later) // 4, 1) :]
        for name, allowed in (("rss_kb", GROWTH_KB), ("descriptors", 1), ("threads", 1)):
            was = max(getattr(measure, name) for measure in first)
            now = min(getattr(measure, name) for measure in last)
            if now > was + allowed:
                self.account.wrong.append(f"{name} grew from {was} to {now}")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def told(account: Account, minutes: float) -> str:
    """The figures of a soak, as Markdown."""
    first, last = account.measures[0], account.measures[-1]
    return "\n".join(
        (
            "| soak | |",
            "|---|---|",
            f"| lasted | {minutes:.0f} min, seed {account.seed} |",
            f"| killed in a repair | {account.kills} times, {account.cut_off} incidents cut off |",
            f"| losses | {account.losses}, every one healed and verified |",
            f"| slowest, found to verified | {account.slowest_ms} ms ({account.slowest_event}) |",
            f"| events that are no loss | {account.quiets} |",
            f"| incidents counted, in the history | {account.incidents}, {account.written} |",
            f"| resident memory, first and last | {first.rss_kb / 1024:.1f}, "
            f"{last.rss_kb / 1024:.1f} MiB |",
            f"| file descriptors, first and last | {first.descriptors}, {last.descriptors} |",
            f"| wrong | {'; '.join(account.wrong) or 'nothing'} |",
        )
    )


def main() -> int:
    """Soak; 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args()
    _say(f"seed {asked.seed}")
    began = time.monotonic()
    with installed(asked.suite) as there:
        soak = Soak(there, asked.seed)
        soak.kill(asked.kills)
        soak.events(asked.minutes * 60 - (time.monotonic() - began))
        verified = there.check()
        if verified.code != 0:
            soak.account.wrong.append(f"at the end podwatch check says: {verified.stdout}")
    minutes = (time.monotonic() - began) / 60
    text = told(soak.account, minutes)
    DIST.mkdir(exist_ok=True)
    (DIST / "soak.md").write_text(text + "\n")
    figures = [asdict(measure) for measure in soak.account.measures]
    (DIST / "soak.json").write_text(json.dumps(figures) + "\n")
    print(text)
    return 1 if soak.account.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
