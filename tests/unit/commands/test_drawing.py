# SPDX-License-Identifier: Apache-2.0
"""`podwatch explain --svg`: what the picture shows, and that it is one whatever names there are."""

from dataclasses import replace
from xml.etree import ElementTree as ET

from podwatch.commands.drawing import draw
from podwatch.decide.explain import explain
from podwatch.words.network import Container
from podwatch.words.rules import RuleKind
from podwatch.words.way import Hop, Mark, Way, WayKind
from tests.unit.decide.open_host import HEALTHY, KERNEL, WEB, ruleset

SVG = "{http://www.w3.org/2000/svg}"


def way(kind: WayKind, title: str, mark: Mark, container: str = "web") -> Way:
    """A way of one hop."""
    return Way(kind, title, container, "a" * 64, "podman", hops=(Hop("host", "no rule", mark),))


IN = way(WayKind.IN, "8080/tcp → 10.88.0.2:80", Mark.OPEN)
OUT = way(WayKind.OUT, "web → outside", Mark.BROKEN)


def drawn(*ways: Way) -> ET.Element:
    """The picture, as a program for pictures reads it."""
    return ET.fromstring(draw(ways))  # noqa: S314 - it is what podwatch drew


def texts(picture: ET.Element) -> list[str]:
    """All that is written in it."""
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def test_each_way_is_a_line_that_says_where_it_breaks() -> None:
    """A broken one is dashed and names its hop; a port is named in front of its target."""
    picture = drawn(IN, OUT)

    lines = list(picture.iter(f"{SVG}polyline"))
    assert [line.get("class") for line in lines] == [Mark.OPEN, Mark.BROKEN]
    assert [line.get("stroke-dasharray") for line in lines] == [None, "6 4"]
    assert [line.get("stroke-width") for line in lines] == ["2", "1"]
    assert [line.findtext(f"{SVG}title") for line in lines] == [IN.title, OUT.title]
    written = texts(picture)
    assert {"8080/tcp", "out", "host: no rule", "podman", "web"} <= set(written)


def test_a_box_has_the_colour_of_its_gravest_way() -> None:
    """Broken before unknown before open; a network has that of its isolation."""
    unknown = way(WayKind.IN, "80/tcp → x", Mark.UNKNOWN, "db")
    isolation = way(WayKind.ISOLATION, "podman", Mark.BROKEN, "")
    picture = drawn(IN, OUT, unknown, isolation)

    boxes = [box.get("stroke") for box in picture.iter(f"{SVG}rect")][1:]
    assert boxes == ["#c62828", "#c62828", "#757575"]
    assert drawn(IN).findall(f"{SVG}rect")[1].get("stroke") == "#2e7d32"


def test_names_of_others_are_only_text() -> None:
    """Markup, and what a terminal would obey, stays text."""
    evil = way(WayKind.IN, "1/tcp → x", Mark.OPEN, "<script>\x1b&")

    assert "<script>�&" in texts(drawn(evil))


def test_an_empty_host_is_a_picture_too() -> None:
    """With its headings, and high enough to be seen."""
    picture = drawn()

    assert texts(picture) == ["outside", "host", "networks", "containers"]
    assert picture.get("height") == "114"
    assert drawn(IN, OUT, IN).get("height") == "202"


def test_the_picture_shows_what_is_broken_and_escapes_names() -> None:
    """Broken ways are red and dashed, and no name can add anything to the drawing."""
    hostile = replace(HEALTHY, containers={WEB: Container(WEB, "<script>&\x1b")})
    picture = draw(explain(replace(hostile, rules=ruleset(RuleKind.MASQUERADE)), KERNEL))

    assert picture.count('class="broken"') == 2
    assert picture.count('class="open"') == 4
    assert "<script>" not in picture
    assert "\x1b" not in picture
    assert draw([]).startswith("<svg ")


def test_a_network_shows_what_is_broken_of_it() -> None:
    """Its names, its isolation, what joins its containers: the first hop stands at its box."""
    hop = Hop("DNS", "aardvark-dns does not run", Mark.BROKEN)
    names = Way(WayKind.NAMES, "names of web on podman", "", "", "podman", (hop,))
    told = texts(drawn(OUT, names))
    assert "DNS: aardvark-dns does not run" in told
    assert not any("DNS" in text for text in texts(drawn(OUT)))
