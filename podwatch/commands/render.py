# SPDX-License-Identifier: Apache-2.0
"""The status document as text for a person: one glance on a healthy host. Pure.

Everything in the document may come from elsewhere (names of containers, of programs, messages of
tools), so every text goes through `clean` on its way to a terminal.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from podwatch.decide.asked import placed
from podwatch.report.incident import by_guard
from podwatch.report.status import ailing, complete, needing_rules
from podwatch.words.guard import PREFIX, GuardMode
from podwatch.words.text import ago, clean, counted, listed
from podwatch.words.verdict import HARMLESS

_COLOURS = {"ok": "32", "degraded": "33", "lost": "31", "unknown": "35"}
_MAX_ENTRIES = 10
"""Of a list, where not everything is asked for."""
_MAX_WIDTH = 24
"""Of a column of names."""
_MAX_LENGTH = 80
"""Of a text that `podwatch history` has in full."""

_PLAIN = str.maketrans(
    {"●": "*", "→": "->", "✗": "x", "✓": "+", "“": '"', "”": '"', "…": "...", "–": "-", "×": "x"}
)


def status(document: Mapping[str, Any], *, now: float, colour: bool, everything: bool) -> str:
    """`podwatch status`: the state, what is missing, why, and what to do.

    `document` is that of status.SHAPE, or a part of it; `now` is in seconds since the epoch. Ten
    entries of a list at most, unless `everything`.
    """
    document = complete(document)
    most = 10_000 if everything else _MAX_ENTRIES
    lines = [_head(document, colour=colour), *_missing(document, most)]
    lines += _closed(document, now, most)
    lines += _repair(document, now)
    if document["fight"]:
        when = ago(now - document["last_incident"]["began"])
        lines.append(f"    flapping: {clean(document['fight'])}, the last time {when} ago")
    lines += _notices(document, most)
    lines += _watchers(document)
    lines += _guard(document["guard"])
    lines += _dhcp(document["dhcp"], now, everything=everything)
    lines.append(_moments(document, now))
    if document["networks"]:
        lines.append(_networks(document["networks"], most))
    if everything:
        lines += _containers(document["containers"])
    lines += _incident(document["last_incident"])
    return "\n".join(line for line in lines if line)


def plugin(document: Mapping[str, Any], *, now: float, everything: bool) -> str:
    """`podwatch check`: a line as monitoring plugins print it, and the details below it.

    The line is state, text and, behind a "|", performance data; what follows is "long output"
    (Monitoring Plugins Development Guidelines, 2.2 and 2.6).
    """
    text = status(document, now=now, colour=False, everything=everything).replace("|", "/")
    document = complete(document)
    head, *details = text.splitlines()
    summary = head.partition(": ")[2].partition(", ")[2]
    warnings = [notice for notice in document["warnings"] if notice["kind"] not in HARMLESS]
    figures = {
        "missing": f"{document['missing_count']};;0;0",
        "warnings": f"{len(warnings)};0;;0",
        "containers": f"{needing_rules(document)};;;0",
        "look": f"{document['last_look']['took_ms'] / 1000:.3f}s;;;0",
    }
    data = " ".join(f"{name}={figure}" for name, figure in figures.items())
    word = {"degraded": "WARNING", "lost": "CRITICAL"}.get(document["state"], document["state"])
    return "\n".join([f"PODWATCH {word.upper()} - {summary} | {data}", *details])


def in_one_line(text: str) -> str:
    """`text` as a plugin's first line may have it: one line, without the mark of figures."""
    return "; ".join(map(clean, text.splitlines())).replace("|", "/")


def not_running(why: str, refused: str = "", *, colour: bool) -> str:
    """`podwatch status` without a daemon: why it is taken for that, and what to do.

    `refused` says what is wrong with the configuration, with which it would not start.
    """
    return (
        f"{_silent(why, refused, colour=colour)}"
        "      → systemctl start podwatch\n"
        "      → journalctl -u podwatch   (why it ended)\n"
        "      → podwatch check           (one look without it)"
    )


def own_not_running(why: str, refused: str = "", *, used: bool, colour: bool) -> str:
    """The same of a user's own podwatch, which may never have been asked for.

    `used` says whether podman has kept anything of the user's.
    """
    none = (
        ""
        if used
        else "    podman has kept nothing of yours yet: until then podwatch.service is skipped\n"
    )
    return (
        f"{_silent(why, refused, colour=colour)}{none}"
        "      → systemctl --user enable --now podwatch.service   (watches your containers)\n"
        "      → journalctl --user -u podwatch                    (why it ended)\n"
        "      → podwatch check                                   (one look without it)\n"
        "      → podwatch status --host                           (what root's podwatch sees)"
    )


def _silent(why: str, refused: str, *, colour: bool) -> str:
    wrong = f"    the configuration is refused: {in_one_line(refused)}\n" if refused else ""
    mark = dot("unknown", colour=colour)
    return f"{mark} podwatch: unknown, no word from the daemon\n    {clean(why)}\n{wrong}"


def plain(text: str) -> str:
    """`text` for a terminal that knows ASCII alone."""
    return text.translate(_PLAIN).encode("ascii", "replace").decode()


def _width(names: Iterable[str]) -> int:
    """Of a column of these names."""
    return min(max((len(clean(name)) for name in names), default=0), _MAX_WIDTH)


def dot(state: str, *, colour: bool) -> str:
    """The mark of a state, in its colour."""
    return f"\x1b[{_COLOURS.get(state, '0')}m●\x1b[0m" if colour else "●"


def _head(document: Mapping[str, Any], *, colour: bool) -> str:
    state, summary = clean(document["state"]), clean(document["summary"])
    dry = " (dry run: nothing is repaired)" if document["dry_run"] else ""
    return f"{dot(state, colour=colour)} podwatch: {state}, {summary}{dry}"


def _missing(document: Mapping[str, Any], most: int) -> Iterator[str]:
    """What is missing, each line below the container, or else the network, that it belongs to."""
    missing = document["missing"]
    groups: dict[str, list[str]] = {}
    for loss in missing[:most]:
        whose = loss["container"] or (f"network {loss['network']}" if loss["network"] else "host")
        groups.setdefault(clean(whose), []).append(_without(clean(loss["what"]), clean(whose)))
    width = _width(groups)
    for whose, sentences in groups.items():
        for number, sentence in enumerate(sentences):
            yield f"    {whose if number == 0 else '':{width}}  {sentence}"
    more = max(document["missing_count"], len(missing)) - min(len(missing), most)
    if more > 0:
        yield f"    and {more} more" + (" (--all names them)" if most == _MAX_ENTRIES else "")


def _closed(document: Mapping[str, Any], now: float, most: int) -> Iterator[str]:
    """Whose ways are broken, or cannot be seen: by the hop, which is one for many of them."""
    groups: dict[tuple[str, str, str, str], tuple[list[str], float]] = {}
    for kind in ("containers", "networks"):
        for entry in document[kind]:
            for way in entry["ways"]:
                if way["state"] in ("broken", "unknown"):
                    at = (way["state"], way["hop"], way["why"], way["advice"])
                    whose, since = groups.setdefault(at, ([], way["since"]))
                    whose.append(_whose(entry, way, is_network=kind == "networks"))
                    groups[at] = whose, min(since, way["since"])
    for (state, hop, why, advice), (whose, since) in list(groups.items())[:most]:
        when = f", for {ago(now - since)}" if since else ""
        names = listed(list(dict.fromkeys(whose)))
        yield f"    {state}{when}: {names}, at {clean(hop)}: {clean(why)}"
        if advice:
            yield f"      → {clean(advice)}"
    if len(groups) > most:
        yield f"    and {len(groups) - most} more hops (podwatch explain names them)"


def _whose(entry: Mapping[str, Any], way: Mapping[str, Any], *, is_network: bool) -> str:
    """A container as a whole where none of its ways is open, else its port or what else it is."""
    if is_network:
        return clean(f"{way['kind']} on {entry['name']}")
    is_all = all(each["state"] != "open" for each in entry["ways"])
    part = way["port"] or {"out": f"out by {way['network']}"}.get(way["kind"], way["kind"])
    return clean(entry["name"] if is_all else f"{entry['name']} {part}")


def _without(sentence: str, whose: str) -> str:
    """A sentence without the name that stands before it already."""
    for mark in (f"{whose}: ", f"{whose} "):
        if sentence.startswith(mark):
            return sentence[len(mark) :]
    return sentence


def _repair(document: Mapping[str, Any], now: float) -> Iterator[str]:
    if document["restoring"]:
        prefix = "" if document["dry_run"] else "restoring: "  # a dry run: "would replay: ..."
        yield f"    {prefix}{clean(document['restoring'])}"
    elif document["next_try"] in {reason["what"] for reason in document["blocked"]}:
        return  # stands below, with what to do
    elif document["missing"] and document["next_try"]:
        wait = document["next_look_at"] - now
        when = f" (next look in {wait:.0f} s)" if wait >= 1 else ""
        yield f"    not restoring now: {clean(document['next_try'])}{when}"


def _notices(document: Mapping[str, Any], most: int) -> Iterator[str]:
    """What forbids a repair, what is odd, what could not be seen; each with what to do."""
    for key, mark, advice in (
        ("blocked", "no repair: ", "advice"),
        ("warnings", "warning: ", "advice"),
        ("unknown", "unknown: ", "hint"),
    ):
        entries = document[key]
        for entry in entries[:most]:
            why = f": {clean(entry['why'])}" if entry.get("why") else ""
            mark = "note: " if entry.get("kind") in HARMLESS else mark
            yield f"    {mark}{clean(entry['what'])}{why}"
            if entry[advice]:
                yield f"      → {clean(entry[advice])}"
        if len(entries) > most:
            yield f"    {mark}and {len(entries) - most} more (--all names them)"


def _watchers(document: Mapping[str, Any]) -> Iterator[str]:
    for name, why in ailing(document["watchers"]).items():
        yield f"    goes without {name}: {clean(why)}"


def _moments(document: Mapping[str, Any], now: float) -> str:
    parts = []
    if document["since"]:
        parts.append(f"{clean(document['state'])} for {ago(now - document['since'])}")
    look = document["last_look"]
    if look["at"]:
        cause = f" ({clean(look['cause'])})" if look["cause"] else ""
        parts.append(f"last look {ago(now - look['at'])} ago{cause}")
    if document["last_incident"]["began"]:
        parts.append(f"last incident {ago(now - document['last_incident']['began'])} ago")
    return f"    {', '.join(parts)}" if parts else ""


def _networks(networks: list[dict[str, Any]], most: int) -> str:
    names = []
    for network in networks[:most]:
        isolation = {"normal": ", isolated", "strict": ", strictly isolated"}
        names.append(
            f"{clean(network['name'])} ({network['containers']}"
            f"{isolation.get(network['isolation'], '')})"
        )
    if len(networks) > most:
        names.append(f"and {len(networks) - most} more")
    return f"    networks: {', '.join(names)}"


def _containers(containers: list[dict[str, Any]]) -> Iterator[str]:
    width = _width(container["name"] for container in containers)
    for container in containers:
        places = ", ".join(
            " ".join([place["network"], *place["addresses"]]) for place in container["networks"]
        )
        where = places
        if not container["needs_rules"]:
            where = placed(container["class"], places, container["shares"])
        paused = " (paused: cannot be reloaded until podman unpause)" if container["paused"] else ""
        yield f"    {clean(container['name']):{width}}  {clean(where)}{paused}"
        for port in container["ports"]:
            yield f"    {'':{width}}    {clean(port)}"


def _guard(guard: Mapping[str, Any]) -> Iterator[str]:
    """What the guard holds, and why no more; a copy of it that somebody saved."""
    if not guard["mode"]:
        return
    table = f" (table inet {clean(guard['table'])})" if guard["table"] else ""
    why = clean(guard["why"])
    if guard["mode"] == GuardMode.FULL:
        ports, containers = (
            counted(guard["ports"], "port"),
            counted(guard["containers"], "container"),
        )
        yield f"    guard: holds {ports} of {containers}{table}{f', {why}' if why else ''}"
    elif guard["mode"] == GuardMode.ANCHOR:
        yield f"    guard: anchor{table}{f': {why}' if why else ''}"
    else:
        yield f"    guard: off ({why})"
    if guard["saved"]:
        yield f"    note: a copy of the guard is saved in {clean(guard['saved'])}"
        yield f"      → delete the tables {PREFIX}… from it: they are podwatch's own"


def _dhcp(dhcp: Mapping[str, Any], now: float, *, everything: bool) -> Iterator[str]:
    """The socket, the proxy, and each container with its lease; shorter where all is well."""
    if not dhcp["state"]:
        return
    if dhcp["state"] != "ok":
        pause = f" ({clean(dhcp['next_try'])})" if dhcp["next_try"] else ""
        yield f"    dhcp: {clean(dhcp['summary'])}{pause}"
        if dhcp["advice"]:
            yield f"      → {clean(dhcp['advice'])}"
    socket, proxy = dhcp["socket"], dhcp["proxy"]
    if socket["unit"]:
        listens = "listening" if socket["listening"] and socket["path_exists"] else "not listening"
        states = ", ".join(filter(None, (socket["active"], socket["file"], listens)))
        runs = f"pid {proxy['pid']}" if proxy["pid"] else clean(proxy["active"])
        yield f"    dhcp: {clean(socket['unit'])} {clean(states)}; proxy {runs}"
    containers = dhcp["containers"]
    shown = containers if everything else containers[:_MAX_ENTRIES]
    width = _width(holder["name"] for holder in shown)
    for holder in shown:
        yield f"    {clean(holder['name']):{width}}  {clean(_lease(holder, now))}"
    if len(containers) > len(shown):
        yield f"    and {len(containers) - len(shown)} more with a lease (--all names them)"


def _lease(holder: Mapping[str, Any], now: float) -> str:
    parts = [f"{holder['network']} {holder['address'] or 'no address'}"]
    if not holder["known"]:
        return f"{parts[0]}, its lease is not renewed by anybody"
    if holder["leased"]:
        parts.append(f"leased {ago(now - holder['leased'])} ago")
    if holder["lease_s"]:
        parts.append(f"for {ago(holder['lease_s'])}")
    if holder["renews_at"]:
        at, every = holder["renews_at"], holder["renew_s"]
        wait = at - now if at >= now or not every else (at - now) % every
        parts.append(f"renewed in {ago(wait)}")
    return ", ".join(parts)


def _incident(incident: Mapping[str, Any]) -> Iterator[str]:
    if not incident["began"]:
        return
    cause = _cut(clean(incident["cause"] or "not known"))
    if incident["line"]:
        missing = [clean(sentence) for sentence in incident["missing"]]
        most = 1
        while most < len(missing) and len(listed(missing[: most + 1], most + 1)) <= _MAX_LENGTH:
            most += 1
        few = listed([_cut(sentence) for sentence in missing], most)
        line = clean(incident["line"].partition(": ")[0])
        yield f"    {line}: {few}{by_guard(incident['carried'])}"
        yield f"      cause: {cause} (podwatch history tells all of it)"
        return
    tried = _cut("; ".join(dict.fromkeys(incident["tried"][-5:])))
    yield f"    going on; cause: {cause}" + (f"; tried: {clean(tried)}" if tried else "")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
