# SPDX-License-Identifier: Apache-2.0
"""What podwatch's object on D-Bus has, and how that is told to whoever introspects it. Pure.

The format is that of the D-Bus specification 0.43, "Introspection Data Format"; the standard
interfaces are those of its "Standard Interfaces".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from podwatch.words.api import (
    INTERFACE,
    METHODS,
    PATH,
    PROPERTIES,
    SIGNALS,
    Argument,
    Method,
    Property,
    Signal,
)

PROPERTIES_INTERFACE = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"

_DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">'
)


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of the object."""

    name: str
    methods: tuple[Method, ...]
    signals: tuple[Signal, ...] = ()
    properties: tuple[Property, ...] = ()

    def method(self, name: str) -> Method | None:
        """The method of this name; None where there is none."""
        return next((each for each in self.methods if each.name == name), None)


def _named(**signatures: str) -> tuple[Argument, ...]:
    return tuple(Argument(name, signature, "") for name, signature in signatures.items())


INTERFACES = (
    Interface(INTERFACE, METHODS, SIGNALS, PROPERTIES),
    Interface(
        PROPERTIES_INTERFACE,
        (
            Method("Get", "", _named(interface="s", property="s"), _named(value="v")),
            Method("GetAll", "", _named(interface="s"), _named(properties="a{sv}")),
            Method("Set", "", _named(interface="s", property="s", value="v")),
        ),
        (
            Signal(
                "PropertiesChanged", "", _named(interface="s", changed="a{sv}", invalidated="as")
            ),
        ),
    ),
    Interface(INTROSPECTABLE, (Method("Introspect", "", gives=_named(data="s")),)),
    Interface(
        PEER,
        (Method("Ping", ""), Method("GetMachineId", "", gives=_named(machine_uuid="s"))),
    ),
)
"""All interfaces that the object has: podwatch's own first."""


def introspection(path: str) -> str | None:
    """The XML about the object at this path, or what lies below it; None where nothing is."""
    if path == PATH:
        return _node(line for each in INTERFACES for line in _interface(each))
    above = path if path.endswith("/") else f"{path}/"
    if not PATH.startswith(above):
        return None
    child = PATH[len(above) :].partition("/")[0]
    return _node([f' <node name="{child}"/>'])


def _node(lines: Iterable[str]) -> str:
    return "\n".join([_DOCTYPE, "<node>", *lines, "</node>", ""])


def _interface(interface: Interface) -> Iterator[str]:
    yield f' <interface name="{interface.name}">'
    for method in interface.methods:
        yield f'  <method name="{method.name}">'
        yield from (_argument(each, ' direction="in"') for each in method.takes)
        yield from (_argument(each, ' direction="out"') for each in method.gives)
        yield "  </method>"
    for signal in interface.signals:
        yield f'  <signal name="{signal.name}">'
        yield from map(_argument, signal.carries)
        yield "  </signal>"
    for each in interface.properties:
        yield f'  <property name="{each.name}" type="{each.signature}" access="read"/>'
    yield " </interface>"


def _argument(argument: Argument, direction: str = "") -> str:
    return f'   <arg name="{argument.name}" type="{argument.signature}"{direction}/>'
