# SPDX-License-Identifier: Apache-2.0
"""A suite's netavark on a stage, and every way there tried with its rules and without them."""

from collections.abc import Mapping
from dataclasses import dataclass

from podwatch.adapters.statedir import StateDirectory
from podwatch.drivers.guard import guard
from podwatch.drivers.nftables import MARKS, traits
from podwatch.words.guard import Held
from podwatch.words.network import Setup
from tests.integration.differential.asking import NO_ANSWER, Ask, World
from tests.integration.differential.configurations import EVERY_WAY, Box, Configuration
from tests.integration.differential.guarded import Guarded
from tests.integration.differential.iptables_stage import COMMANDS, fits, told
from tests.integration.differential.stage import Stage
from tests.integration.differential.test_mutations import as_netavark_2_1

Answers = Mapping[tuple[Ask, bool], str]
"""What came of each question; whether rules see what stays within a bridge."""


@dataclass(frozen=True)
class Host:
    """A suite, with its netavark, and how that makes its rules."""

    suite: str
    driver: str = "nftables"

    def __str__(self) -> str:
        return f"{self.suite}, {self.driver}"

    def boxes(self, configuration: Configuration) -> list[Box]:
        """The containers of it that this netavark can set up.

        Without state, as 1.4 is, nobody knows which network of a container's came first.
        """
        is_bookworm = self.suite == "bookworm"
        return [
            box
            for box in configuration.boxes
            if self.driver in ("nftables", MARKED)
            or (
                fits(self.suite, Configuration("", (box,)))
                and not (is_bookworm and len(box.networks) > 1)
            )
        ]


MARKED = "nftables as of netavark 2.1"
LEGACY = "iptables-legacy"
_SHOW_TO_RULES = """
cd /proc/sys/net/bridge
for name in iptables ip6tables; do echo $1 >bridge-nf-call-$name; done
"""


class Trial:
    """A stage on which every way is tried."""

    def __init__(
        self, host: Host, stage: Stage, world: World, configuration: Configuration = EVERY_WAY
    ) -> None:
        self.host, self.stage, self.world = host, stage, world
        self.boxes, self.dns_port = host.boxes(configuration), configuration.dns_port
        if host.driver == LEGACY:
            for command in COMMANDS.values():
                for tool in (command, f"{command}-restore"):
                    stage.run("ln", "-sf", "xtables-legacy-multi", f"/usr/sbin/{tool}")
        driver = "nftables" if host.driver in ("nftables", MARKED) else "iptables"
        for box in self.boxes:
            stage.netavark("setup", box.document(), self.dns_port, driver)
        if host.driver == MARKED:
            stage.replace_table(as_netavark_2_1(stage.listing()))
        self.guarded = Guarded(stage, world, self.boxes)
        self.asks = self.guarded.asks()

    def setup(self) -> Setup:
        """What netavark's state says, or what it was told."""
        if self.host.suite == "bookworm":
            return told(self.boxes, self.dns_port)
        return StateDirectory(self.stage.state_directory).read()

    def held(self) -> Held:
        """What the guard is to hold."""
        return guard(self.setup(), marks=MARKS in traits(self.stage.observed()))

    def without_netavark(self) -> None:
        """Take its rules away."""
        if self.host.driver in ("nftables", MARKED):
            self.stage.replace_table("")
            return
        for command in COMMANDS.values():
            self.stage.run(f"{command}-restore", text="*nat\nCOMMIT\n*filter\nCOMMIT\n")

    def ask(
        self, before: Answers | None = None, shown: tuple[bool, ...] = (False, True)
    ) -> Answers:
        """Ask everything; what was answered before is waited for, whatever else is not."""
        found: dict[tuple[Ask, bool], str] = {}
        for is_seen in shown:
            self.stage.run("sh", "-euc", _SHOW_TO_RULES, "sh", f"{is_seen:d}")
            sure = {ask for ask in self.asks if before and before[ask, is_seen] != NO_ANSWER}
            answers = self.world.ask(self.asks, sure)
            if before is None:
                # At first contact a packet may be lost while addresses are resolved.
                silent = [ask for ask, said in answers.items() if said == NO_ANSWER]
                answers |= self.world.ask(silent)
            found.update(((ask, is_seen), answer) for ask, answer in answers.items())
        return found


def different(one: Answers, other: Answers) -> list[str]:
    """What differs, a line for each."""
    return [
        f"{ask}{' (rules see it)' if is_seen else ''}: {said}, then {other[ask, is_seen]}"
        for (ask, is_seen), said in one.items()
        if said != other[ask, is_seen]
    ]
