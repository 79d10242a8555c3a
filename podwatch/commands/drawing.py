# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain --svg`: the host as a picture, with what is broken in red. Pure.

From left to right: the outside, published ports, networks, containers. A line is a way; a broken
one is red and dashed, and says at which hop it breaks. A network is red where its isolation, its
names or what joins its containers is broken. Every text in it may come from elsewhere and is
escaped.
"""

from collections.abc import Iterable, Sequence
from html import escape

from podwatch.words.text import clean
from podwatch.words.way import Mark, Way, WayKind

_ROW = 44
_WIDTH = 1040
_PORT_X, _NET_X, _BOX_X = 190, 480, 760
_STROKES = {
    Mark.OPEN: "#2e7d32",
    Mark.BROKEN: "#c62828",
    Mark.UNKNOWN: "#757575",
    Mark.CLOSED: "#bdbdbd",
}
_NOTED = "#ef6c00"

_GRAVEST = (Mark.BROKEN, Mark.UNKNOWN)


def draw(found: Sequence[Way]) -> str:
    """The ways as an SVG document."""
    ins = [way for way in found if way.kind is WayKind.IN]
    outs = [way for way in found if way.kind is WayKind.OUT]
    shared = [way for way in found if way.kind not in (WayKind.IN, WayKind.OUT)]
    networks = list(dict.fromkeys(way.network for way in found))
    containers = list(dict.fromkeys(way.container for way in found if way.container))
    rows = max(len(ins) + len(outs), len(networks), len(containers), 1)
    height = 70 + rows * _ROW
    net_y = _spread(networks, height)
    box_y = _spread(containers, height)
    parts = [_text(20, 28, "outside", 16), _text(_PORT_X, 28, "host", 16)]
    parts += [_text(_NET_X, 28, "networks", 16), _text(_BOX_X, 28, "containers", 16)]
    for number, way in enumerate([*ins, *outs]):
        y = 60.0 + number * _ROW
        near, far = net_y[way.network], box_y[way.container]
        points = [(120, y), (_PORT_X, y), (_PORT_X + 200, y), (_NET_X, near), (_BOX_X, far)]
        parts.append(_line(points, way, is_out=way.kind is WayKind.OUT))
        label = way.title.partition(" → ")[0] if way.kind is WayKind.IN else "out"
        parts.append(_text(_PORT_X + 6, y - 6, label, 12))
        if (hop := way.first_broken or way.first(Mark.CLOSED)) is not None:
            told, colour = f"{hop.place}: {hop.what}"[:60], _STROKES[hop.mark]
            parts.append(_text(_PORT_X + 6, y + 13, told, 10, colour))
        elif note := next((hop.what for hop in way.hops if hop.advice), ""):
            parts.append(_text(_PORT_X + 6, y + 13, note[:60], 10, _NOTED))
    for name in networks:
        mine = [way for way in shared if way.network == name]
        parts.append(_box(_NET_X, net_y[name], 160, name, _STROKES[_gravest(mine)]))
        hop = next((hop for way in mine if (hop := way.first_broken)), None)
        if hop is not None:
            told = f"{hop.place}: {hop.what}"[:60]
            parts.append(_text(_NET_X, net_y[name] + 28, told, 10, _STROKES[Mark.BROKEN]))
    for name in containers:
        colour = _STROKES[_gravest([way for way in found if way.container == name])]
        parts.append(_box(_BOX_X, box_y[name], 240, name, colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'width="{_WIDTH}" height="{height:.0f}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{"".join(parts)}</svg>\n'
    )


def _gravest(ways: Iterable[Way]) -> Mark:
    marks = {way.mark for way in ways}
    return next((mark for mark in _GRAVEST if mark in marks), Mark.OPEN)


def _spread(names: Sequence[str], height: float) -> dict[str, float]:
    step = (height - 60) / max(len(names), 1)
    return {name: 50 + step * (number + 0.5) for number, name in enumerate(names)}


def _line(points: Iterable[tuple[float, float]], way: Way, *, is_out: bool) -> str:
    path = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    dashes = ' stroke-dasharray="6 4"' if way.mark is Mark.BROKEN else ""
    width = 1 if is_out else 2
    return (
        f'<polyline class="{way.mark}" points="{path}" fill="none" stroke="{_STROKES[way.mark]}" '
        f'stroke-width="{width}"{dashes}><title>{_safe(way.title)}</title></polyline>\n'
    )


def _box(x: float, y: float, width: float, name: str, colour: str) -> str:
    return (
        f'<rect x="{x:.0f}" y="{y - 16:.0f}" width="{width:.0f}" height="32" rx="5" '
        f'fill="#ffffff" stroke="{colour}" stroke-width="2"/>\n{_text(x + 10, y + 5, name, 14)}'
    )


def _text(x: float, y: float, text: str, size: int, colour: str = "#212121") -> str:
    place = f'x="{x:.0f}" y="{y:.0f}" font-size="{size}"'
    return f'<text {place} fill="{colour}">{_safe(text)}</text>\n'


def _safe(text: str) -> str:
    return escape(clean(text))
