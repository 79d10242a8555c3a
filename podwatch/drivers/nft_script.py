# SPDX-License-Identifier: Apache-2.0
"""Repairs in nft's language: one transaction that writes no more than the difference. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from podwatch.drivers.nftables import FAMILY, TABLE
from podwatch.drivers.saved import Repair
from podwatch.words.rules import Ruleset


def repair_script(repairs: Iterable[Repair], observed: Ruleset) -> str:
    """One transaction, in nft's language, that makes the chains what they have to be.

    It adds and deletes rules, and flushes nothing: what others have added since `observed` was
    listed stays. It names its neighbours by their handles, and creates what was not there: where
    the table is another by now, all of it fails. All chains come first: a rule may jump to any of
    them. A base chain hooked in wrongly cannot be changed, only made again. Raises ValueError where
    a handle that it needs is not known.
    """
    todo = list(repairs)
    table = f"{FAMILY} {TABLE}"
    lines = [f"{'add' if observed.present else 'create'} table {table}"]
    rules: list[str] = []
    for repair in todo:
        on = f"{table} {repair.name}"
        handles = observed.handles.get(repair.name, ())
        if repair.exists and len(handles) != len(observed.chains[repair.name].rules):
            raise ValueError(f"the handles of chain {repair.name} are not known")
        gone = [
            f"delete rule {on} handle {number}"
            for at, number in enumerate(handles)
            if at not in repair.stays
        ]
        if repair.rehook:
            lines += [*gone, f"delete chain {on}"]
        else:
            rules += gone
        if repair.rehook or not repair.exists:
            hook = f" {{ {repair.chain.hook} }}" if repair.chain.hook else ""
            lines.append(f"create chain {on}{hook}")
        rules += _added(on, repair, handles)
    return "\n".join(lines + rules) + "\n"


def _added(on: str, repair: Repair, handles: Sequence[int]) -> Iterator[str]:
    """The rules that have to be written, each beside one that stays; at the end where none does."""
    run: list[str] = []
    before: int | None = None
    for text, at in zip(repair.chain.rules, repair.stays, strict=True):
        if at is None:
            run.append(text)
            continue
        yield from (f"insert rule {on} handle {handles[at]} {text}" for text in run)
        run, before = [], at
    if before is None:
        yield from (f"add rule {on} {text}" for text in run)
    else:
        yield from (f"add rule {on} handle {handles[before]} {text}" for text in reversed(run))
