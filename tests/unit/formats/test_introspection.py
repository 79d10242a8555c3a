# SPDX-License-Identifier: Apache-2.0
"""What introspection tells is what the tables of the API say."""

from xml.etree import ElementTree

from podwatch.formats.introspection import INTERFACES, introspection
from podwatch.words.api import INTERFACE, METHODS, PATH, PROPERTIES, SIGNALS


def parsed(path: str) -> ElementTree.Element:
    """The document about this path."""
    text = introspection(path)
    assert text is not None
    return ElementTree.fromstring(text)  # noqa: S314 - ours


def test_the_object_has_what_the_api_says() -> None:
    """Every method, signal and property, with names and types of all arguments, in order."""
    node = parsed(PATH)

    assert [each.get("name") for each in node] == [each.name for each in INTERFACES]
    (own,) = node.iterfind(f"interface[@name='{INTERFACE}']")
    for method in METHODS:
        (told,) = own.iterfind(f"method[@name='{method.name}']")
        assert [(arg.get("name"), arg.get("type"), arg.get("direction")) for arg in told] == [
            *((each.name, each.signature, "in") for each in method.takes),
            *((each.name, each.signature, "out") for each in method.gives),
        ]
    for signal in SIGNALS:
        (told,) = own.iterfind(f"signal[@name='{signal.name}']")
        assert [(arg.get("name"), arg.get("type")) for arg in told] == [
            (each.name, each.signature) for each in signal.carries
        ]
    assert [
        (each.get("name"), each.get("type"), each.get("access"))
        for each in own.iterfind("property")
    ] == [(each.name, each.signature, "read") for each in PROPERTIES]
    assert len(own) == len(METHODS) + len(SIGNALS) + len(PROPERTIES)


def test_the_way_to_the_object_is_told() -> None:
    """Each path above it names the next, and elsewhere is nothing."""
    for above, below in (("/", "org"), ("/org", "podwatch1")):
        assert [(each.tag, each.get("name")) for each in parsed(above)] == [("node", below)]
    for path in ("/o", "/org/podwatch", f"{PATH}/x", "/com"):
        assert introspection(path) is None, path
