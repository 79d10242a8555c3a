# SPDX-License-Identifier: Apache-2.0
"""firewalld over D-Bus: what it says of its zones, what happens to it, and trusted sources.

Its answers are its memory, not the kernel's state: whether its tables are loaded is for the caller
to find out. Signals are hints; `Reloaded` comes after the rules, but up to 2.3.1 the name on the
bus comes before them, so a new owner is first asked something: firewalld is single-threaded, and
its answer means that its start is over.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from podwatch.adapters.dbus import SystemBus
from podwatch.adapters.files import read_whole
from podwatch.drivers.about import TRUSTED
from podwatch.drivers.firewalld import policy
from podwatch.formats.firewalld_conf import told_settings
from podwatch.words.errors import BusUnavailable, StateUnreadable
from podwatch.words.firewalld_event import FirewalldEvent
from podwatch.words.rules import Chain
from podwatch.words.snapshot import ABSENT_FIREWALLD, Firewalld, Zone
from podwatch.words.text import clean
from podwatch.words.way import Policy

NAME = "org.fedoraproject.FirewallD1"
PATH = "/org/fedoraproject/FirewallD1"
_OF_ZONES = f"{NAME}.config.zone"
_DNS = 53
MAX_BYTES = 1 << 20
_NO_POLKIT = (
    "polkit does not run, and without it firewalld answers root alone: systemctl start polkit"
)
_NO_RIGHT = "polkit does not let podwatch's user ask: /usr/share/polkit-1/rules.d/50-podwatch.rules"
_RULES = (
    f"type='signal',sender='{NAME}',interface='{NAME}'",
    f"type='signal',sender='{NAME}',interface='{NAME}.zone'",
    f"type='signal',sender='{NAME}',interface='{NAME}.policy'",
    f"type='signal',sender='{NAME}',interface='{NAME}.direct'",
    f"type='signal',sender='{NAME}',interface='{_OF_ZONES}',member='Updated'",
)


_SIGNALS = {
    "Reloaded": FirewalldEvent.RELOADED,
    "PanicModeEnabled": FirewalldEvent.PANIC,
    "PanicModeDisabled": FirewalldEvent.PANIC,
    "SourceAdded": FirewalldEvent.SOURCES,
    "SourceRemoved": FirewalldEvent.SOURCES,
    "ZoneOfSourceChanged": FirewalldEvent.SOURCES,
    "PolicyUpdated": FirewalldEvent.POLICY,
    "ServiceAdded": FirewalldEvent.ZONE,
    "ServiceRemoved": FirewalldEvent.ZONE,
    "PortAdded": FirewalldEvent.ZONE,
    "PortRemoved": FirewalldEvent.ZONE,
    "DefaultZoneChanged": FirewalldEvent.ZONE,
    "RuleAdded": FirewalldEvent.DIRECT,
    "ChainAdded": FirewalldEvent.DIRECT,
    "PassthroughAdded": FirewalldEvent.DIRECT,
}


class FirewalldWatch:
    """firewalld, watched and asked over one connection.

    `conf` is its firewalld.conf where podwatch is not root: then it does not tell what that says.
    """

    def __init__(
        self,
        on_event: Callable[[FirewalldEvent], None] | None = None,
        *,
        conf: Path | None = None,
    ) -> None:
        self._conf = conf
        self._on_event = on_event or (lambda _: None)
        self._barrier: asyncio.Task[None] | None = None
        self._started_again = False
        self.changes = 0
        """That it told of, of whatever kind; not those of its permanent configuration alone."""
        self.permanent_changes = 0
        """Of the permanent configuration, as far as it is read anew."""
        self._between: tuple[int, tuple[Policy, ...]] = (-1, ())
        """Its policies as it told them, after so many changes."""
        self._zones: tuple[object, dict[str, Zone]] = (None, {})
        """Its zones as it told them, after so many changes, with the names of those asked for."""
        self.bus = SystemBus(NAME, _RULES, self._signal, self._state)

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Listen on this loop, for ever: what is returned never ends by itself."""
        return self.bus.attach(loop)

    def close(self) -> None:
        """Stop listening."""
        self.bus.detach()

    async def read(self, policies: Iterable[str] = ()) -> Firewalld:
        """What firewalld says now. `in_kernel` says whether a table of its should be in the kernel.

        Of its policies, which firewalld < 0.9 does not have, only those named are asked for.
        No bus, or no firewalld on it, is an answer, and so is one that ends while it is asked; one
        that hangs, refuses, or answers something else raises BusUnavailable.
        """
        if not self.bus.connected:
            try:
                await self.bus.connect()
            except BusUnavailable as exc:
                if exc.__cause__ is None:
                    return ABSENT_FIREWALLD  # there is no bus on this host
                raise
        if not await self.bus.owner(NAME):
            return ABSENT_FIREWALLD
        try:
            return await self._running(policies)
        except BusUnavailable as exc:
            if not await self.bus.owner(NAME):
                return ABSENT_FIREWALLD
            if exc.hint.endswith(".NotAuthorizedException"):
                hint = _NO_POLKIT if "(uid)" in str(exc) else _NO_RIGHT
                raise BusUnavailable(str(exc), hint=hint) from exc
            raise

    async def _running(self, policies: Iterable[str]) -> Firewalld:
        (zones,), (panic,), settings = await asyncio.gather(
            self._ask(f"{NAME}.zone", "getActiveZones", returns="a{sa{sas}}"),
            self._ask(NAME, "queryPanicMode", returns="b"),
            self._settings(),
        )
        default = _text(settings, "DefaultZone")
        return Firewalld(
            running=True,
            sources=_by_member(zones, "sources"),
            interfaces=_by_member(zones, "interfaces"),
            default_zone=default,
            zones=await self._told_zones({*zones, default} - {""}),
            in_kernel=_text(settings, "FirewallBackend") == "nftables",
            panic=bool(panic),
            strict_forward_ports=_text(settings, "StrictForwardPorts").lower() in ("yes", "true"),
            policies=await self._policies(policies) if policies else {},
            between=await self._told_between(),
        )

    async def _settings(self) -> dict[str, Any]:
        """What its firewalld.conf says, of which it tells only whoever may change it, too."""
        if self._conf is not None:
            try:
                text = read_whole(self._conf, limit_bytes=MAX_BYTES) or ""
            except StateUnreadable as exc:
                raise BusUnavailable(str(exc), hint=exc.hint) from exc
            (default,) = await self._ask(NAME, "getDefaultZone", returns="s")
            return {**told_settings(text), "DefaultZone": default}
        (settings,) = await self.bus.call(
            NAME,
            f"{PATH}/config",
            "org.freedesktop.DBus.Properties",
            "GetAll",
            "s",
            [f"{NAME}.config"],
            returns="a{sv}",
        )
        return dict(settings)

    async def _told_zones(self, names: set[str]) -> dict[str, Zone]:
        """What these zones let in; without those that a firewalld before 0.9 tells otherwise."""
        key = self.changes, frozenset(names)
        if self._zones[0] != key:
            found = {}
            try:
                for name in sorted(names):
                    (told,) = await self._ask(
                        f"{NAME}.zone", "getZoneSettings2", "s", [name], returns="a{sv}"
                    )
                    found[clean(name)] = _zone(told)
            except BusUnavailable:
                found = {}  # what was asked beside this says why
            self._zones = key, found
        return self._zones[1]

    async def _told_between(self) -> tuple[Policy, ...]:
        """Its policies between zones; none of a firewalld that has no such thing."""
        if self._between[0] != self.changes:
            changes = self.changes
            found: tuple[Policy, ...] = ()
            try:
                found = await self.policies()
            except BusUnavailable:
                pass  # it is older than 0.9; else what was asked beside this says so
            self._between = changes, found
        return self._between[1]

    async def _policies(self, wanted: Iterable[str]) -> dict[str, Chain]:
        (names,) = await self._ask(f"{NAME}.policy", "getPolicies", returns="as")
        found = {}
        for name in wanted:
            if name in names:
                (settings,) = await self._ask(
                    f"{NAME}.policy", "getPolicySettings", "s", [name], returns="a{sv}"
                )
                found[name] = policy(
                    name,
                    _typed(settings, "forward_ports", "a(ssss)", []),
                    _typed(settings, "rich_rules", "as", []),
                    masquerades=_typed(settings, "masquerade", "b", False),  # noqa: FBT003
                )
        return found

    async def policies(self) -> tuple[Policy, ...]:
        """Every policy that is in effect; none where there is no firewalld. Raises BusUnavailable.

        firewalld 0.9 and later; one that is older has no such interface, and is unavailable here.
        """
        if not self.bus.connected or not await self.bus.owner(NAME):
            return ()
        (active,) = await self._ask(f"{NAME}.policy", "getActivePolicies", returns="a{sa{sas}}")
        found = []
        for name, zones in active.items():
            (settings,) = await self._ask(
                f"{NAME}.policy", "getPolicySettings", "s", [name], returns="a{sv}"
            )
            ingress, egress = (
                tuple(map(clean, zones.get(ends, ()))) for ends in ("ingress_zones", "egress_zones")
            )
            found.append(Policy(clean(name), ingress, egress, _text(settings, "target")))
        return tuple(found)

    async def trust(self, subnet: str, zone: str = TRUSTED) -> None:
        """Make `subnet` a source of a zone, at runtime, as netavark does.

        netavark src/firewall/firewalld.rs: changeZoneOfSource, since addSource refuses a source
        that is in another zone. Raises BusUnavailable.
        """
        await self._ask(f"{NAME}.zone", "changeZoneOfSource", "ss", [zone, subnet])

    def describe(self) -> str:
        """One word for a watcher that is well, else what is wrong with it."""
        return "connected" if self.bus.connected else self.bus.problem

    async def _ask(
        self,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        returns: str | None = None,
    ) -> list[Any]:
        return await self.bus.call(
            NAME, PATH, interface, member, signature, body or [], returns=returns
        )

    def _signal(self, _sender: str, interface: str, member: str, body: list[Any]) -> None:
        if interface == _OF_ZONES:
            self.permanent_changes += 1
            self._on_event(FirewalldEvent.PERMANENT)
            return
        self.permanent_changes += member in ("NameOwnerChanged", "Reloaded")
        self.changes += 1
        if member == "NameOwnerChanged" and len(body) == 3:
            if not body[2]:
                self._on_event(FirewalldEvent.STOPPED)
            elif self._barrier is None or self._barrier.done():
                self._barrier = asyncio.ensure_future(self._started())
            else:
                self._started_again = True
        elif interface.startswith(NAME) and member in _SIGNALS:
            self._on_event(_SIGNALS[member])

    async def _started(self) -> None:
        """Tell of a start once it is over, and of those meanwhile: one question at a time."""
        again = True
        while again:
            self._started_again = False
            try:
                await self._ask(NAME, "getDefaultZone")
            except BusUnavailable:
                pass  # it hangs or has gone again: the look will say so
            self._on_event(FirewalldEvent.STARTED)
            again = self._started_again

    def _state(self, there: bool) -> None:  # noqa: FBT001 - a callback's one argument
        self.changes += 1
        self.permanent_changes += 1
        self._on_event(FirewalldEvent.BUS_BACK if there else FirewalldEvent.BUS_LOST)


def _by_member(zones: dict[str, dict[str, list[str]]], kind: str) -> dict[str, str]:
    return {member: clean(zone) for zone, found in zones.items() for member in found.get(kind, [])}


def _zone(settings: dict[str, Any]) -> Zone:
    """What a zone lets in, by its settings (firewalld 0.9 to 2.3, getZoneSettings2)."""
    services = _typed(settings, "services", "as", [])
    ports = _typed(settings, "ports", "a(ss)", [])
    return Zone(
        accepts=_text(settings, "target") == "ACCEPT",
        hears_names="dns" in services or any(_is_of_names(*port) for port in ports),
        rules=tuple(_typed(settings, "rules_str", "as", [])),
    )


def _is_of_names(ports: str, protocol: str) -> bool:
    first, _, last = ports.partition("-")
    if protocol != "udp" or not (first.isdecimal() and (last or first).isdecimal()):
        return False
    return int(first) <= _DNS <= int(last or first)


def _text(settings: dict[str, Any], key: str) -> str:
    value = settings.get(key)
    return clean(getattr(value, "value", value) or "")


def _typed(settings: dict[str, Any], key: str, signature: str, default: Any) -> Any:
    """A value of such a type, or the default where there is none. Raises BusUnavailable."""
    if key not in settings:
        return default
    if settings[key].signature != signature:
        raise BusUnavailable(f"{NAME}: {key} is {settings[key].signature!r}, not {signature!r}")
    return settings[key].value
