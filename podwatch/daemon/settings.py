# SPDX-License-Identifier: Apache-2.0
"""The table of settings: what may be configured, its default, and what is allowed.

Each section of the configuration is a frozen dataclass, each field of it one setting that carries
its own description. The parser (config.py), `podwatch.conf` with every default, and the man page
are all made from this one table, so that none of them can tell another story.
"""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from ipaddress import ip_address
from textwrap import wrap
from typing import Any, TypeVar

from podwatch.daemon.forms import SWITCH, Form, durations, one_of, some_of, wholes
from podwatch.words.guard import GuardMode

T = TypeVar("T")


class LogLevel(StrEnum):
    """How much is logged, the most talkative first."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table."""

    section: str
    key: str
    form: Form[Any]
    default: Any
    help: str
    since: str

    @property
    def name(self) -> str:
        """The name it is spoken of by: section.key."""
        return f"{self.section}.{self.key}"

    @property
    def default_text(self) -> str:
        """The default, as it is written in TOML."""
        return self.form.write(self.default)


def setting(form: Form[T], text: str, *, default: T, since: str = "0.1.0") -> T:
    """A dataclass field that is a setting. Typed as its value, like dataclasses.field is."""
    return field(default=default, metadata={"form": form, "help": text, "since": since})


@dataclass(frozen=True, slots=True)
class Look:
    """When podwatch looks at the rules."""

    interval: float = setting(
        durations(10, 86400),
        "How often podwatch looks at everything although nothing happened. This is a safety net: "
        "a loss is noticed by itself within milliseconds.",
        default=300.0,
    )


@dataclass(frozen=True, slots=True)
class Restore:
    """What podwatch does about a loss."""

    enabled: bool = setting(
        SWITCH,
        "Whether to put back what is missing. When false, podwatch only watches and reports.",
        default=True,
    )
    methods: tuple[str, ...] = setting(
        some_of(("replay", "reload")),
        "The means of putting rules back. replay: put a copy of the rules, taken when they were "
        "verified to be complete, back in one transaction; no container is touched. "
        'reload: run "podman network reload" for the containers that miss something. '
        "The least disruptive one that can do it is used first.",
        default=("replay", "reload"),
    )
    escalate: bool = setting(
        SWITCH,
        "Whether to delete netavark's nftables table and reload all its containers when rules are "
        "still missing after everything else. Published ports do not answer for a moment.",
        default=True,
    )
    links: bool = setting(
        SWITCH,
        "Whether to put right bridges, addresses, routes and links of Podman's networks: what was "
        "set down, flushed, deleted, or taken off its bridge. For what is wrong inside a container "
        '"reload" has to be among the methods, too.',
        default=True,
    )
    give_way: float = setting(
        durations(0, 3600),
        "A link or address that is lost again so soon after podwatch put it back is somebody's "
        "will: it is reported, and left alone until it was whole once.",
        default=30.0,
    )
    sysctls: bool = setting(
        SWITCH,
        "Whether to set again what netavark set in the kernel for its networks, and something set "
        "back: forwarding, and route_localnet and rp_filter of its bridges.",
        default=True,
    )
    names: bool = setting(
        SWITCH,
        "Whether to start aardvark-dns again where it has ended while a container asks it for "
        "names, to put its number back into its pid file, and to have it listen again where it "
        "stopped.",
        default=True,
    )
    host_address: bool = setting(
        SWITCH,
        "Whether to start pasta of a user's network anew where the host has another address than "
        "it took over: until then host.containers.internal leads nowhere. What is connected "
        "through it is cut off.",
        default=False,
    )
    relays: bool = setting(
        SWITCH,
        "Whether to start again what carries the packets of a user's containers and has ended: "
        "pasta, slirp4netns and rootlessport, each as it was started by podman, without touching a "
        "container.",
        default=True,
    )
    guard: GuardMode = setting(  # noqa: RUF009 - an enum member cannot change
        one_of(GuardMode),
        "A table of podwatch's own that nobody else's command takes away. anchor: no packet meets "
        "it, and while netavark's rules are gone it keeps established connections from being "
        "reset. full: while they are gone it forwards ports, masquerades and isolates as they do, "
        "so that no new connection is lost either. off: there is none. A copy of it in a saved "
        "ruleset can make that file fail: see podwatch(8), THE GUARD.",
        default=GuardMode.ANCHOR,
    )
    duplicates: bool = setting(
        SWITCH,
        "Whether to put a chain right that holds the same rule more than once, as netavark's own "
        "reload units leave it.",
        default=True,
    )
    quiet: float = setting(
        durations(0, 60),
        "How long nobody must have changed the rules before the reload command is used.",
        default=0.3,
    )
    limit: int = setting(
        wholes(1, 1000),
        "How many rounds of the reload command there may be in any window.",
        default=10,
    )
    window: float = setting(
        durations(1, 86400),
        "The window in which those rounds are counted.",
        default=300.0,
    )
    backoff: float = setting(
        durations(0.1, 3600),
        "The pause after an attempt that did not help. It doubles with each further one.",
        default=1.0,
    )
    backoff_max: float = setting(
        durations(1, 86400),
        "The longest such pause; not less than backoff.",
        default=300.0,
    )
    at_once: int = setting(
        wholes(1, 16),
        'How many "podman network reload" processes may run at the same time.',
        default=2,
    )
    timeout: float = setting(
        durations(5, 3600),
        'How long one "podman network reload" may take.',
        default=120.0,
    )


@dataclass(frozen=True, slots=True)
class Firewalld:
    """What podwatch does with firewalld."""

    sources: bool = setting(
        SWITCH,
        "Whether to put the networks' subnets back among the sources of firewalld's zone trusted, "
        "or netavark_zone with netavark's firewalld driver.",
        default=True,
    )
    permanent: bool = setting(
        SWITCH,
        "Whether to make those subnets permanent sources of zone trusted, too: a reload of "
        "firewalld then does not forget them. podwatch remembers which it added, and takes them "
        "away with the network, when this is false again, and when it is removed. What somebody "
        "else added, or moved to another zone, it leaves. Not with netavark's firewalld driver.",
        default=False,
    )
    reload_note: bool = setting(
        SWITCH,
        "Whether to note in status and explain that a reload of firewalld drops new connections "
        'which it need not drop. What ends that, and its price: "podwatch explain firewalld".',
        default=True,
    )


def _read_path(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("not a path")
    if value and not (value.startswith("/") and value.endswith(".prom")):
        raise ValueError("not an absolute path of a .prom file")
    return value


def _read_listen(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text")
    if value:
        loopback(value)
    return value


def loopback(text: str) -> tuple[str, int]:
    """The host and port of "127.0.0.1:9842" or "[::1]:9842"; ValueError for anything else."""
    host, _, port = text.rpartition(":")
    address = ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    if not address.is_loopback or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("not a port of a loopback address")
    return str(address), int(port)


_TEXT = '"{}"'.format


@dataclass(frozen=True, slots=True)
class Metrics:
    """Prometheus metrics; nothing of it is switched on by default."""

    textfile: str = setting(
        Form('the absolute path of a file that ends in .prom, or ""', _read_path, _TEXT),
        "A file for node_exporter's textfile collector to read, as "
        "/var/lib/prometheus/node-exporter/podwatch.prom; its directory has to be there. "
        "The service may only write to that directory; for another one add ReadWritePaths=.",
        default="",
    )
    listen: str = setting(
        Form('a loopback address and port like "127.0.0.1:9842", or ""', _read_listen, _TEXT),
        "Where to answer GET /metrics over HTTP. A change takes effect with the next start. "
        "The service may only do so with the drop-in "
        "/usr/share/podwatch/metrics-http.conf in /etc/systemd/system/podwatch.service.d.",
        default="",
    )


@dataclass(frozen=True, slots=True)
class Dhcp:
    """What podwatch does for networks that take their addresses by DHCP."""

    manage: bool = setting(
        SWITCH,
        "Whether to enable and start the socket of the DHCP proxy while a network wants it, and to "
        "renew leases that a restarted proxy has forgotten. When false, podwatch does not even "
        "look. restore.enabled = false leaves the looking.",
        default=True,
    )
    backoff: float = setting(
        durations(1, 3600),
        "The pause after a DHCP server did not answer. It doubles with each further time. Each try "
        "holds podman's lock for about eight seconds.",
        default=20.0,
    )
    backoff_max: float = setting(
        durations(1, 86400),
        "The longest such pause.",
        default=300.0,
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What podwatch tells the journal."""

    level: LogLevel = setting(  # noqa: RUF009 - an enum member cannot change
        one_of(LogLevel), "The least important kind to log.", default=LogLevel.INFO
    )


SECTIONS: dict[str, type[Any]] = {
    "look": Look,
    "restore": Restore,
    "firewalld": Firewalld,
    "dhcp": Dhcp,
    "metrics": Metrics,
    "log": Log,
}


def _table() -> tuple[Setting, ...]:
    return tuple(
        Setting(
            section,
            known.name,
            known.metadata["form"],
            known.default,
            known.metadata["help"],
            known.metadata["since"],
        )
        for section, owner in SECTIONS.items()
        for known in fields(owner)
    )


SETTINGS: tuple[Setting, ...] = _table()
"""Every setting, in the order it is documented in."""

_HEAD = """\
# SPDX-License-Identifier: Apache-2.0
#
# podwatch.conf: every setting of podwatch, with its default.
#
# Do not change this file: an upgrade replaces it. Write what you want to change into
# /etc/podwatch/podwatch.conf, or into a file of its own, /etc/podwatch/podwatch.conf.d/NAME.conf.
# All are read, in this order and the files of the directory sorted by name; of each setting the
# last value counts. The format is TOML.
#
# After a change: systemctl reload podwatch
# What is in effect, and which file says so: podwatch config
"""


def documented_defaults() -> str:
    """The text of podwatch.conf: every setting commented out at its default, and explained."""
    lines = [_HEAD]
    for section, owner in SECTIONS.items():
        lines.append(f"\n# {owner.__doc__}\n[{section}]\n")
        for entry in SETTINGS:
            if entry.section == section:
                about = wrap(entry.help, 97) + wrap(f"Allowed: {entry.form.allowed}.", 97)
                lines.extend(f"# {line}\n" for line in about)
                lines.append(f"#{entry.key} = {entry.default_text}\n\n")
        lines[-1] = lines[-1][:-1]
    return "".join(lines)
