# SPDX-License-Identifier: Apache-2.0
"""What the measurements say: medians, the Markdown table and the picture. Pure."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NEVER = math.inf
"""An outage that did not end while it was watched."""


@dataclass(frozen=True)
class Outage:
    """One measurement: containers, fault and way, and the longest time without an answer.

    `port_ms` is that of the watched port that was worst off, `egress_ms` that of a container's way
    out; both in milliseconds, NEVER if it did not end.
    """

    containers: int
    fault: str
    way: str
    port_ms: float
    egress_ms: float


@dataclass(frozen=True)
class Median:
    """The medians of one cell of the table, and of how many measurements they are."""

    port_ms: float
    egress_ms: float
    runs: int


Cell = tuple[int, str, str]


def medians(outages: Iterable[Outage]) -> dict[Cell, Median]:
    """The medians by (containers, fault, way)."""
    cells: dict[Cell, list[Outage]] = {}
    for outage in outages:
        cells.setdefault((outage.containers, outage.fault, outage.way), []).append(outage)
    return {
        cell: Median(
            statistics.median(outage.port_ms for outage in found),
            statistics.median(outage.egress_ms for outage in found),
            len(found),
        )
        for cell, found in cells.items()
    }


def ratios(found: Mapping[Cell, Median], way: str, limit: str) -> dict[tuple[int, str], float]:
    """How many times as long as `limit` a `way` took, by (containers, fault), where both are known.

    Outages are those of ports.
    """
    return {
        (containers, fault): median.port_ms / found[containers, fault, limit].port_ms
        for (containers, fault, its_way), median in found.items()
        if its_way == way and (containers, fault, limit) in found
    }


def spoken(milliseconds: float) -> str:
    """A duration for the table: "12 ms", "3.4 s", "not healed"."""
    if math.isinf(milliseconds):
        return "not healed"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def table(found: Mapping[Cell, Median], ways: Sequence[str]) -> str:
    """The medians as Markdown: a row for each number of containers and fault, a column each way."""
    rows = dict.fromkeys((containers, fault) for containers, fault, _ in found)
    lines = [
        f"| containers | fault | {' | '.join(ways)} |",
        f"|---:|---|{'---:|' * len(ways)}",
    ]
    for containers, fault in rows:
        cells = []
        for way in ways:
            median = found.get((containers, fault, way))
            if median is None:
                cells.append("—")
                continue
            told = spoken(median.port_ms)
            egress = spoken(median.egress_ms)
            cells.append(f"{told} / {egress}" + (f" ({median.runs}×)" if median.runs < 5 else ""))
        lines.append(f"| {containers} | `{fault}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 190, 40, 50
_COLOURS = ("#2a9d4b", "#3b7dd8", "#d9822b", "#a05cc8", "#888888")


def picture(found: Mapping[Cell, Median], fault: str, ways: Sequence[str], caption: str) -> str:
    """The outage of ports against the number of containers for one fault, as SVG, log by log.

    A way that did not heal has no point. Colours are legible on white and on black.
    """
    points = {
        way: [
            (containers, median.port_ms)
            for (containers, its_fault, its_way), median in sorted(found.items())
            if its_fault == fault and its_way == way and math.isfinite(median.port_ms)
        ]
        for way in ways
    }
    counts = sorted({x for line in points.values() for x, _ in line})
    values = [y for line in points.values() for _, y in line]
    if not counts:
        return '<svg xmlns="http://www.w3.org/2000/svg"/>\n'
    low = 10.0 ** math.floor(math.log10(max(min(values), 1.0)))
    high = max(10.0 ** math.ceil(math.log10(max(values))), 10 * low)
    wide = max(math.log10(counts[-1] / counts[0]), 1.0)

    def x(count: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log10(count / counts[0]) / wide

    def y(value: float) -> float:
        share = math.log10(value / low) / math.log10(high / low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="13" fill="#808080">',
        f'<text x="{_LEFT}" y="20">{_escaped(caption)}</text>',
    ]
    decade = low
    while decade <= high * 1.001:
        at = y(decade)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" '
            'stroke="#808080" stroke-opacity="0.3"/>'
            f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{spoken(decade)}</text>'
        )
        decade *= 10
    bottom = _HEIGHT - _BOTTOM
    for count in counts:
        parts.append(
            f'<text x="{x(count):.1f}" y="{bottom + 20}" text-anchor="middle">{count}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 10}" text-anchor="middle">containers</text>')
    labels: list[float] = []
    for way, colour in zip(ways, _COLOURS, strict=False):
        line = points[way]
        if not line:
            continue
        path = " ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(count):.1f}" cy="{y(value):.1f}" r="3.5" fill="{colour}"/>'
            for count, value in line
        ]
        at = y(line[-1][1]) + 4
        while any(abs(at - other) < 15 for other in labels):
            at += 15
        labels.append(at)
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 12}" y="{at:.1f}" fill="{colour}">{_escaped(way)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
