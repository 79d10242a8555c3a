# SPDX-License-Identifier: Apache-2.0
"""Where things are: one value, which two words of the environment move."""

import ast
import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from podwatch.adapters.paths import LISTS, RUN, Paths
from podwatch.adapters.podman import INSPECT_UNIT, Podman
from podwatch.words.errors import StateUnreadable

PROGRAM = Path(__file__).parents[3] / "podwatch"
OWN = ("status", "rules", "run_lock", "restore_lock", "pause", "listing", "networks")


class FakeUnits:
    """systemd, which runs what it is told to, and remembers it."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def run_units(
        self, names: Sequence[str], *, at_once: int, timeout_s: float
    ) -> dict[str, str]:
        """All went well."""
        self.ran += names
        return dict.fromkeys(names, "done")


def test_the_run_directory_moves_all_that_is_in_it(tmp_path: Path) -> None:
    """PODWATCH_RUN_DIR moves each file of podwatch's own, PODWATCH_STATE_DIR the history."""
    moved = Paths.of({"PODWATCH_RUN_DIR": str(tmp_path), "PODWATCH_STATE_DIR": "/elsewhere"})
    assert all(tmp_path in getattr(moved, name).parents for name in OWN)
    assert moved.network("lan") == tmp_path / "network-lan.json"
    assert moved.history == Path("/elsewhere/history.jsonl")
    assert moved.netavark_state == Paths().netavark_state


def test_units_of_root_write_nowhere_but_in_a_directory_of_roots() -> None:
    """What they list is not in podwatch's own directory, which need not be root's."""
    of_units = (Paths().listing, Paths().networks, Paths().network("lan"))
    assert {path.parent for path in of_units} == {LISTS}
    assert RUN not in (LISTS, *LISTS.parents)


def test_without_a_word_it_is_roots_host() -> None:
    """Where the environment says nothing, podwatch.service's own directories are meant."""
    assert Paths.of({}) == Paths()
    assert Paths().status == RUN / "status.json"


def test_podman_is_asked_by_a_unit_where_the_unit_writes(tmp_path: Path) -> None:
    """The units write to one run directory: whoever has another asks podman by a child.

    Reloading needs no file, and goes by units all the same.
    """
    there, elsewhere = FakeUnits(), FakeUnits()
    with contextlib.suppress(StateUnreadable):  # no unit has written anything
        asyncio.run(Podman(Paths(), there).list_containers())
    assert there.ran == [INSPECT_UNIT]
    podman = Podman(Paths(run=tmp_path), elsewhere)
    assert podman.last_listing() == {}
    assert asyncio.run(podman.reload(["a" * 64], at_once=1, timeout_s=1)) == {}
    assert elsewhere.ran == [f"podwatch-reload@{'a' * 64}.service"]


def test_no_module_but_one_knows_where_podmans_files_are() -> None:
    """A path of Podman's or podwatch's is written down in adapters/paths.py alone."""
    places = (
        "/run/containers",
        "/run/podwatch",
        "/var/lib/podwatch",
        "/etc/containers",
        "/etc/cni",
    )
    # Words for people name files too: there a path is a part of a sentence.
    found = [
        f"{path.relative_to(PROGRAM)}: {node.value}"
        for path in sorted(PROGRAM.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(places)
        and " " not in node.value
    ]
    assert {line.partition(":")[0] for line in found} <= {
        "adapters/paths.py",
        "decide/state_files.py",
        "decide/stateless.py",
    }, found
