# SPDX-License-Identifier: Apache-2.0
"""Hops of the way from a name to its address: aardvark-dns, and who asks it. Pure."""

from collections.abc import Iterator

from podwatch.decide import names
from podwatch.decide.firewalld_hops import RESTORE
from podwatch.decide.shut_zones import shut
from podwatch.drivers import forwarding
from podwatch.words.names import NameServer, Served
from podwatch.words.network import Setup
from podwatch.words.snapshot import Snapshot
from podwatch.words.text import few
from podwatch.words.way import Hop, Mark

_DNS = "DNS"


class NameHops:
    """The names of the networks that the running containers of `setup` are on."""

    def __init__(self, snapshot: Snapshot, setup: Setup) -> None:
        self._snapshot = snapshot
        self._setup = setup
        self._server = snapshot.names
        self._on_networks = names.on_networks(setup, snapshot)
        self._unheard = list(forwarding.unheard(setup, snapshot.drops))
        self._shut = shut(setup, snapshot)
        self._asked = [] if self._server is None else names.asked(self._server, setup, snapshot)

    def served(self) -> Iterator[tuple[Served, dict[str, str]]]:
        """Each network with names, and its containers: what each is called, by id."""
        for served in () if self._server is None else self._server.served:
            mine = {key for network, key in self._on_networks if network == served.network}
            if not mine or not (served.damage or served in self._asked):
                continue
            titles = {key: self._snapshot.containers[key].title for key in mine}
            yield served, dict(sorted(titles.items(), key=lambda item: item[1]))

    def of(self, served: Served, among: dict[str, str]) -> Iterator[Hop]:
        """What a query for a name of the network passes, and what answers it."""
        server = self._server
        if server is None:
            return
        yield from self._drops(served)
        rejected = self._shut.get(served.network)
        if rejected is not None and not rejected.hears_names:
            what = f"{rejected.whose}, which rejects questions for names"
            yield Hop("firewalld zone", what, Mark.BROKEN, rejected.advice)
        if not server.running:
            yield Hop(_DNS, "aardvark-dns does not run", Mark.BROKEN, RESTORE)
        elif server.hangs:
            pid = server.running[0]
            what = f"aardvark-dns ({pid}) has read no query for {server.deaf_s:.0f} s"
            advice = f"kill -9 {pid}: podwatch then starts it anew"
            yield Hop(_DNS, what, Mark.BROKEN, advice)
        else:
            yield from self._answers(server, served, among)

    def _drops(self, served: Served) -> Iterator[Hop]:
        for chain, network, endpoint in self._unheard:
            if endpoint.network_name == served.network:
                what = f"table {chain.table}, chain {chain.name} drops what containers ask the host"
                advice = forwarding.dns_remedy(chain, network.bridge, endpoint.dns_port)
                yield Hop("other firewalls", what, Mark.BROKEN, advice)

    def _answers(self, server: NameServer, served: Served, among: dict[str, str]) -> Iterator[Hop]:
        """Where aardvark-dns listens, and for whom it answers."""
        links = self._snapshot.links
        silent = [one for one in served.addresses if not names.listens(server, one)]
        if served.damage:
            mark = Mark.BROKEN if len(silent) == len(served.addresses) else Mark.NOTE
            what = f"aardvark-dns does not understand {served.path} ({served.damage})"
            cure = names.cure_of_damage(served, self._setup, self._snapshot)
            yield Hop(_DNS, what, mark, cure)
            return
        here = set() if links is None else links.own
        for address in () if links is None else silent:
            if address not in here:
                what = f"{address} is no address of this host: aardvark-dns cannot listen there"
                yield Hop(_DNS, what, Mark.NOTE)
                continue
            is_taken = names.is_taken(server, address)
            what = f"aardvark-dns does not listen on {address}"
            what += ": another program has its port" if is_taken else ""
            cure = names.cure_of_taken(server) if is_taken else RESTORE
            yield Hop(_DNS, what, Mark.BROKEN, cure)
        known = {entry.container_id for entry in served.entries}
        unknown = [key for key in among if key not in known]
        lacking = [among[key] for key in unknown]
        if lacking and not self._snapshot.busy:
            what = f"aardvark-dns does not know {few(lacking)}"
            cure = names.cure_of_unknown(unknown, self._snapshot)
            yield Hop("DNS entry", what, Mark.BROKEN, cure)
        heard = [str(address) for address in served.addresses if address not in silent]
        if heard:
            who = [name for name in among.values() if name not in lacking]
            yield Hop(_DNS, f"aardvark-dns answers on {', '.join(heard)} for {few(who)}")
