# SPDX-License-Identifier: Apache-2.0
"""Hops of the way from a name to its address: aardvark-dns, and who asks it. Pure."""

from collections.abc import Iterator

from podwatch.decide import names
from podwatch.decide.bridge_hops import BridgeHops
from podwatch.decide.firewalld_hops import RESTORE
from podwatch.decide.surroundings import unheard
from podwatch.drivers import forwarding
from podwatch.words.names import NameServer, Served
from podwatch.words.network import Address, Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.way import Hop, Mark
from podwatch.words.wiring import by_hand

_DNS = "DNS"


class NameHops:
    """The names of the networks that the running containers of `setup` are on."""

    def __init__(self, snapshot: Snapshot, setup: Setup, bridges: BridgeHops) -> None:
        self._snapshot = snapshot
        self._setup = setup
        self._server = server = snapshot.names
        self._here = None if snapshot.links is None else snapshot.links.own
        self._bridges = bridges
        self._on_networks = names.on_networks(setup, snapshot)
        self._unheard = list(unheard(setup, snapshot))
        self._asked = [] if server is None else names.asked(server, setup, snapshot)
        self._strangers: list[names.Strangers] = []
        if server is not None and not snapshot.busy:
            self._strangers = list(names.strangers(server, setup, snapshot))

    def served(self) -> Iterator[tuple[Served, dict[str, str]]]:
        """Each network with names, and its containers: what each is called, by id.

        One of which aardvark-dns has no file, too.
        """
        known = () if self._server is None else self._server.served
        lacking = {one.network for one in self._strangers} - {one.network for one in known}
        without = [Served(network, "", ()) for network in sorted(lacking)]
        for served in (*known, *without):
            mine = {key for network, key in self._on_networks if network == served.network}
            if not mine or not (served.damage or served in self._asked or served in without):
                continue
            titles = {key: self._snapshot.containers[key].title for key in mine}
            yield served, dict(sorted(titles.items(), key=lambda item: item[1]))

    def of(self, served: Served, among: dict[str, str]) -> Iterator[Hop]:
        """What a query for a name of the network passes, and what answers it."""
        server = self._server
        if server is None:
            return
        yield from self._drops(served)
        rejected = self._bridges.shut.get(served.network)
        if rejected is not None and not rejected.hears_names:
            what = f"{rejected.whose}, which rejects questions for names"
            yield Hop("firewalld zone", what, Mark.BROKEN, rejected.advice)
        if not server.running and server.served:
            yield self._ended()
        elif server.hangs:
            pid = server.running[0]
            what = f"aardvark-dns ({pid}) has read no query for {server.deaf_s:.0f} s"
            advice = f"kill -9 {pid}: podwatch then starts it anew"
            yield Hop(_DNS, what, Mark.BROKEN, advice)
        else:
            yield from self._answers(server, served, among)

    def _ended(self) -> Hop:
        """It does not run. It does not start while one of its addresses is away.

        All that it listens on has to be there (seen: 1.14).
        """
        what = "aardvark-dns does not run"
        for served in self._asked:
            for address in served.addresses:
                if not self._is_here(address):
                    what += f", and cannot start: {address} of network {served.network} is away"
                    return Hop(_DNS, what, Mark.BROKEN, self._cure_of_away(served, address))
        return Hop(_DNS, what, Mark.BROKEN, RESTORE)

    def _cure_of_away(self, served: Served, address: Address) -> str:
        """What gives the host an address on which aardvark-dns has to listen, or has it forget it.

        The file may name one that is none of the network's.
        """
        bridge = self._bridges.called(served.network)
        for gateway in () if bridge is None else bridge.gateways:
            if bridge is not None and gateway.ip == address:
                return by_hand(bridge.name, gateway)
        return names.cure_of_damage(served, self._setup, self._snapshot)

    def _drops(self, served: Served) -> Iterator[Hop]:
        for chain, one in self._unheard:
            if one.name == served.network:
                what = f"table {chain.table}, chain {chain.name} drops what containers ask the host"
                advice = forwarding.dns_remedy(chain, one.network.bridge, one.port)
                yield Hop("other firewalls", what, Mark.BROKEN, advice)

    def _answers(self, server: NameServer, served: Served, among: dict[str, str]) -> Iterator[Hop]:
        """Where aardvark-dns listens, and for whom it answers."""
        heard = [one for one in served.addresses if self._hears(server, one)]
        silent = [one for one in served.addresses if one not in heard]
        if served.damage:
            mark = Mark.BROKEN if len(silent) == len(served.addresses) else Mark.NOTE
            what = f"aardvark-dns does not understand {served.path} ({served.damage})"
            cure = names.cure_of_damage(served, self._setup, self._snapshot)
            yield Hop(_DNS, what, mark, cure)
            return
        for address in () if self._here is None else silent:
            if self._is_here(address):
                yield self._deaf(server, address)
                continue
            what = f"{address} is no address of this host: aardvark-dns gets no query there"
            # Who is asked in vain at one address asks at the next.
            mark = Mark.NOTE if heard else Mark.BROKEN
            yield Hop(_DNS, what, mark, self._cure_of_away(served, address))
        lacking = set[str]()
        for stranger in self._strangers:
            theirs = [key for key in stranger.ids if key in among]
            if theirs and stranger.network == served.network:
                lacking.update(theirs)
                what = stranger.told([among[key] for key in theirs])
                cure = names.cure_of_unknown(theirs, self._snapshot)
                yield Hop("DNS entry", what, Mark.BROKEN, cure)
        if heard:
            who = [name for key, name in among.items() if key not in lacking]
            where = ", ".join(map(str, heard))
            yield Hop(_DNS, f"aardvark-dns answers on {where} for {few(who)}")

    def _hears(self, server: NameServer, address: Address) -> bool:
        """Whether it listens on an address of this host: a socket outlives its address."""
        return self._is_here(address) and names.listens(server, address)

    def _is_here(self, address: Address) -> bool:
        """Whether the host has an address, as far as is known."""
        return self._here is None or address in self._here

    def _deaf(self, server: NameServer, address: Address) -> Hop:
        """An address on which it does not listen, or cannot."""
        is_taken = names.is_taken(server, address)
        what = f"aardvark-dns does not listen on {address}"
        what += ": another program has its port" if is_taken else ""
        cure = names.cure_of_taken(server) if is_taken else RESTORE
        return Hop(_DNS, what, Mark.BROKEN, cure)
