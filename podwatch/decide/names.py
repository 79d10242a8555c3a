# SPDX-License-Identifier: Apache-2.0
"""What is lost of the names that containers ask for, and what closes their way. Pure.

A container that asks for a name asks aardvark-dns, on the address of its network's bridge, and
nobody else: with that gone it resolves nothing at all, names outside of the host included.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from podwatch.decide.wiring import wiring
from podwatch.words.names import NameServer, Served
from podwatch.words.network import Address, Setup
from podwatch.words.rules import Rule
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import counted, few
from podwatch.words.verdict import Missing, MissingKind, Notice, WarningKind
from podwatch.words.wiring import Place

MAX_NAMED = 5
"""So many networks, or containers, are named in one sentence."""


def lost_names(setup: Setup, snapshot: Snapshot, _rules: Sequence[Rule] = ()) -> Iterator[Missing]:
    """What podwatch can mend: no process, none that netavark finds, one that does not listen.

    `setup` is that of the containers that run.
    """
    server = snapshot.names
    if server is None:
        return
    asking = asked(server, setup, snapshot)
    if not server.running:
        if asking:
            names = sorted({served.network for served in asking})
            yield Missing(
                MissingKind.NAMES,
                f"aardvark-dns does not run: names of {_networks(names)} do not resolve",
                server.pid_file,
                network=", ".join(names),
            )
        return
    if len(server.running) == 1 and not server.is_alive and server.served:
        yield _misnamed(server)
    here = set[Address]() if snapshot.links is None else snapshot.links.own
    for served in asking:
        unheard = [address for address in served.addresses if not listens(server, address)]
        for address in unheard:
            if address in here and not is_taken(server, address):
                yield Missing(
                    MissingKind.LISTENER,
                    f"network {served.network}: aardvark-dns does not listen on {address}",
                    f"{address}:{server.port}",
                    network=served.network,
                )


def name_notices(setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """What is wrong with names and is not podwatch's to mend, each with what is."""
    server = snapshot.names
    if server is None:
        return
    if len(server.running) > 1:
        pids = " ".join(map(str, server.running))
        yield Notice(
            WarningKind.NAME_SERVERS,
            f"aardvark-dns runs {counted(len(server.running), 'time')} for the same networks "
            f"({pids}): only one of them hears of containers that come and go",
            f"kill {pids}: podwatch then starts one anew",
        )
    if server.hangs:
        pid = server.running[0]
        yield Notice(
            WarningKind.NO_NAMES,
            f"aardvark-dns ({pid}) does not answer: queries wait on its sockets, and it reads none",
            f"kill -9 {pid}: podwatch then starts it anew",
        )
    yield from _taken(server, setup, snapshot)
    if not snapshot.busy:
        yield from _damaged(server, setup, snapshot)
        if server.running or not server.served:
            yield from _unknown_to_it(server, setup, snapshot)


def asked(server: NameServer, setup: Setup, snapshot: Snapshot) -> list[Served]:
    """The networks with a container that runs: those of which aardvark-dns knows one."""
    living = {endpoint.container_id for endpoint in setup.endpoints}
    living |= {key for key, known in snapshot.containers.items() if known.is_running}
    return [
        served
        for served in server.served
        if not served.damage and any(entry.container_id in living for entry in served.entries)
    ]


def _misnamed(server: NameServer) -> Missing:
    """Its pid file does not name it: netavark would hang up on another, or start a second one."""
    pid = server.running[0]
    if server.name:
        says = f"names {server.name} ({server.named}), which the next start or stop of a container"
        then = f"{says} would send SIGHUP"
    else:
        then = "names nobody that runs: the next start of a container fails, or starts a second one"
    return Missing(
        MissingKind.PID_FILE,
        f"aardvark-dns runs as {pid}, and {server.pid_file} {then}",
        str(pid),
    )


def listens(server: NameServer, address: Address) -> bool:
    """Whether a socket is there that could be aardvark-dns'."""
    return (address, server.port) in server.sockets


def is_taken(server: NameServer, address: Address) -> bool:
    """Whether somebody else has the port on every address: nobody can listen on this one then."""
    return any(
        taken.is_unspecified and taken.version >= address.version and port == server.port
        for taken, port in server.sockets
    )


def _taken(server: NameServer, setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """Networks on which aardvark-dns cannot listen, as another program does."""
    networks = sorted(
        {
            served.network
            for served in asked(server, setup, snapshot)
            for address in served.addresses
            if not listens(server, address) and is_taken(server, address)
        }
    )
    if networks:
        yield Notice(
            WarningKind.NO_NAMES,
            f"{_networks(networks)}: aardvark-dns does not listen, as another program has port "
            f"{server.port} of every address",
            cure_of_taken(server),
        )


def cure_of_taken(server: NameServer) -> str:
    """What frees the port of aardvark-dns that another program has on every address."""
    return (
        f"ss -lnup 'sport = :{server.port}' names it: let it listen on certain addresses only, "
        "or give aardvark-dns another port (dns_bind_port of containers.conf)"
    )


def _damaged(server: NameServer, setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """Files that aardvark-dns does not understand."""
    for served in server.served:
        if not served.damage:
            continue
        answers = any(listens(server, address) for address in served.addresses)
        kind = WarningKind.NAME_SERVERS if answers else WarningKind.NO_NAMES
        then = (
            "with the next start or stop of a container no name of this network resolves any more"
            if answers
            else "no name of this network resolves"
        )
        yield Notice(
            kind,
            f"network {served.network}: aardvark-dns does not understand {served.path} "
            f"({served.damage}): {then}",
            cure_of_damage(served, setup, snapshot),
        )


def cure_of_damage(served: Served, setup: Setup, snapshot: Snapshot) -> str:
    """What has netavark write a file anew that aardvark-dns does not understand."""
    titles = _titles(served.network, setup, snapshot)
    return f"rm {served.path}" + (f"; podman network reload {' '.join(titles)}" if titles else "")


def _unknown_to_it(server: NameServer, setup: Setup, snapshot: Snapshot) -> Iterator[Notice]:
    """Containers on a network with names of which aardvark-dns has no entry, or another address."""
    for stranger in strangers(server, setup, snapshot):
        whose = "its" if len(stranger.ids) == 1 else "their"
        what = stranger.told([_title(key, snapshot) for key in stranger.ids])
        yield Notice(
            WarningKind.NO_NAMES,
            f"network {stranger.network}: {what}: {whose} names do not resolve",
            cure_of_unknown(stranger.ids, snapshot),
        )


@dataclass
class Strangers:
    """Containers, by id, of a network with names that aardvark-dns does not know, or not rightly.

    `by_address`: it has an entry of each, with another address.
    """

    network: str
    by_address: bool
    ids: list[str] = field(default_factory=list)

    def told(self, titles: Sequence[str]) -> str:
        """What it does not know of these."""
        what = "the address of " if self.by_address else ""
        return f"aardvark-dns does not know {what}{_some(titles)}"


def strangers(server: NameServer, setup: Setup, snapshot: Snapshot) -> Iterable[Strangers]:
    """Whom aardvark-dns does not know, on networks whose files it understands."""
    known: dict[tuple[str, str], set[Address]] = {}
    for served in server.served:
        for entry in served.entries:
            known.setdefault((served.network, entry.container_id), set()).update(entry.addresses)
    damaged = {served.network for served in server.served if served.damage}
    found: dict[tuple[str, bool], Strangers] = {}
    for place in _places(setup, snapshot):
        file = snapshot.files.get(place.network)
        if file is None or not file.asks_names or place.network in damaged:
            continue
        addresses = known.get((place.network, place.container_id))
        if addresses is None or (addresses and not addresses.issuperset(place.addresses)):
            key = place.network, addresses is not None
            found.setdefault(key, Strangers(*key)).ids.append(place.container_id)
    by_name = partial(_title, snapshot=snapshot)
    return [replace(one, ids=sorted(one.ids, key=by_name)) for _, one in sorted(found.items())]


def cure_of_unknown(ids: Iterable[str], snapshot: Snapshot) -> str:
    """What has netavark write the entries of these containers."""
    return f"podman network reload {' '.join(_title(key, snapshot) for key in ids)}"


def on_networks(setup: Setup, snapshot: Snapshot) -> set[tuple[str, str]]:
    """(network, container id) of all that surely run, on the networks that have no state, too.

    Not as podman listed them: it is not asked again when a container only leaves a network.
    """
    return {(place.network, place.container_id) for place in _places(setup, snapshot)}


def _places(setup: Setup, snapshot: Snapshot) -> Iterator[Place]:
    for place in wiring(setup, snapshot).places:
        known = snapshot.containers.get(place.container_id)
        if known is not None and known.is_up:
            yield place


def _titles(network: str, setup: Setup, snapshot: Snapshot) -> list[str]:
    """The containers of a network, by the names that podman takes."""
    return sorted(
        _title(key, snapshot) for name, key in on_networks(setup, snapshot) if name == network
    )


def _title(container_id: str, snapshot: Snapshot) -> str:
    known = snapshot.containers.get(container_id)
    return known.name if known is not None else container_id[:12]


def _networks(names: Sequence[str]) -> str:
    return f"network{'' if len(names) == 1 else 's'} {_some(names)}"


def _some(names: Sequence[str]) -> str:
    return few(names, MAX_NAMED)
