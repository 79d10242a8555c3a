# SPDX-License-Identifier: Apache-2.0
"""What `podwatch status` prints, word for word."""

from typing import Any

import pytest

from podwatch.commands import render

NOW = 1_000_000.0

HEALTHY: dict[str, Any] = {
    "state": "ok",
    "summary": "3 containers on 2 networks, 57 rules in place (nftables)",
    "since": NOW - 7300,
    "networks": [
        {"name": "podman", "containers": 2, "isolation": "never"},
        {"name": "apart", "containers": 1, "isolation": "strict"},
    ],
    "containers": [
        {
            "name": "web",
            "networks": [{"network": "podman", "addresses": ["10.88.0.3"]}],
            "ports": ["8080/tcp → 10.88.0.3:80"],
        }
    ],
    "last_look": {"at": NOW - 3, "cause": "nft (pid 812)"},
    "last_incident": {
        "began": NOW - 7302,
        "missing": ["table inet netavark is gone"],
        "cause": "nft (pid 812)",
        "line": "restored 42 rules of 8 containers in 2.1 s, verified: table inet netavark is gone",
    },
    "watchers": {"nftables": "listening", "firewalld": "connected"},
}


def missing(what: str, container: str = "", network: str = "") -> dict[str, str]:
    """One entry of what is missing."""
    return {"what": what, "container": container, "network": network}


def text(document: dict[str, Any], *, everything: bool = False) -> str:
    """The document as text, without colours."""
    return render.status(document, now=NOW, colour=False, everything=everything)


def test_a_healthy_host_is_one_glance() -> None:
    """A healthy host has five lines: state, moments, networks, last incident, its cause."""
    assert text(HEALTHY) == (
        "● podwatch: ok, 3 containers on 2 networks, 57 rules in place (nftables)\n"
        "    ok for 2 h, last look 3 s ago (nft (pid 812)), last incident 2 h ago\n"
        "    networks: podman (2), apart (1, strictly isolated)\n"
        "    restored 42 rules of 8 containers in 2.1 s, verified: table inet netavark is gone\n"
        "      cause: nft (pid 812) (podwatch history tells all of it)"
    )


def test_a_long_incident_is_cut_to_what_fits() -> None:
    """Of many missing things a few are told and how many more, of a long text its beginning."""
    things = [f"network {n}: 10.{n}.0.0/16 is not a source" for n in range(9)]
    incident = {
        "began": NOW,
        "missing": things,
        "cause": "nft, run by " + "x" * 300,
        "line": f"restored 9 trusted sources in 142 ms, verified: {'; '.join(things)}",
    }
    *_, restored, cause = text({**HEALTHY, "last_incident": incident}).splitlines()

    assert restored.endswith(f"verified: {things[0]}; {things[1]}; and 7 more")
    assert cause.startswith("      cause: nft, run by x")
    assert max(len(restored), len(cause)) < 150


def test_flapping_is_dated() -> None:
    """Who removes the rules is told with how long ago that last was."""
    document = {"fight": "flusher keeps removing", "last_incident": {"began": NOW - 38}}

    assert "    flapping: flusher keeps removing, the last time 38 s ago\n" in text(document)


def test_everything_lists_containers_and_ports() -> None:
    """--all adds each container with its addresses and where its ports lead."""
    assert "    web  podman 10.88.0.3\n           8080/tcp → 10.88.0.3:80\n" in text(
        HEALTHY, everything=True
    )


@pytest.mark.parametrize(
    ("container", "line"),
    [
        ({"class": "bridge"}, "bridge lan: no rules on this host"),
        ({"class": "internal"}, "internal network lan: no rules on this host"),
        ({"class": "unmanaged"}, "unmanaged bridge lan: no rules on this host"),
        ({"class": "macvlan"}, "macvlan lan: no rules on this host"),
        ({"class": "ipvlan"}, "ipvlan lan: no rules on this host"),
        ({"class": "host", "networks": []}, "the host's network"),
        ({"class": "member", "networks": [], "shares": "pod shop"}, "in pod shop"),
        ({"class": "shared", "networks": [], "shares": "{web}"}, "on the network of {web}"),
        ({"class": "none", "networks": []}, "no Podman network"),
        ({"class": "unknown"}, "lan"),
        ({"class": "bridge", "needs_rules": True}, "lan"),
        (
            {"class": "bridge", "needs_rules": True, "paused": True},
            "lan (paused: cannot be reloaded until podman unpause)",
        ),
    ],
)
def test_each_class_has_its_words(container: dict[str, Any], line: str) -> None:
    """--all says of each container where it is, and why there are no rules of it."""
    document = {
        "containers": [
            {"name": "it", "networks": [{"network": "lan", "addresses": []}], **container}
        ]
    }

    assert text(document, everything=True).splitlines()[-1] == f"    it  {line}"
    assert line not in text(document)


def test_a_loss_is_grouped_by_container_and_network() -> None:
    """What is missing stands below its container or network, which is named once."""
    document = {
        "state": "lost",
        "summary": "4 things are missing, 2 containers on 1 network",
        "missing": [
            missing("web: 8080/tcp → 10.88.0.3:80 has no DNAT rule", "web", "podman"),
            missing("network podman: 10.88.0.0/16 is not a source", network="podman"),
            missing("web: 8443/tcp → 10.88.0.3:443 has no DNAT rule", "web", "podman"),
            missing("chain OUTPUT is gone"),
        ],
        "restoring": "podman network reload of 2 containers",
    }

    assert text(document) == (
        "● podwatch: lost, 4 things are missing, 2 containers on 1 network\n"
        "    web             8080/tcp → 10.88.0.3:80 has no DNAT rule\n"
        "                    8443/tcp → 10.88.0.3:443 has no DNAT rule\n"
        "    network podman  10.88.0.0/16 is not a source\n"
        "    host            chain OUTPUT is gone\n"
        "    restoring: podman network reload of 2 containers"
    )


def test_a_long_loss_is_cut_and_says_so() -> None:
    """Ten missing things are named, then how many more; --all names them."""
    document = {
        "state": "lost",
        "missing": [missing(f"web: {port}/tcp", "web") for port in range(2000)],
        "missing_count": 2500,
    }

    assert text(document).endswith("         9/tcp\n    and 2490 more (--all names them)")
    assert text(document, everything=True).endswith("         1999/tcp\n    and 500 more")


def test_waiting_says_for_what_and_until_when() -> None:
    """While nothing is done about a loss, the reason and the next look are told."""
    document = {
        "state": "lost",
        "missing": [missing("x")],
        "next_try": "waiting until it is time",
        "next_look_at": NOW + 12,
    }

    assert "    not restoring now: waiting until it is time (next look in 12 s)" in text(document)


def test_what_is_blocked_odd_or_unknown_comes_with_advice() -> None:
    """Each reason, warning and unknown thing has its advice on the line below."""
    document = {
        "state": "unknown",
        "summary": "could not see everything: nftables",
        "blocked": [{"what": "panic mode", "advice": "firewall-cmd --panic-off"}],
        "warnings": [{"what": "netavark-firewalld-reload.service is active", "advice": "stop it"}],
        "unknown": [{"what": "nftables", "why": "timed out", "hint": "nft list tables"}],
    }

    assert text(document) == (
        "● podwatch: unknown, could not see everything: nftables\n"
        "    no repair: panic mode\n"
        "      → firewall-cmd --panic-off\n"
        "    warning: netavark-firewalld-reload.service is active\n"
        "      → stop it\n"
        "    unknown: nftables: timed out\n"
        "      → nft list tables"
    )


@pytest.mark.parametrize(
    ("watchers", "line"),
    [
        ({"nftables": "listening", "firewalld": "connected"}, ""),
        ({"nftables": "listening, 3 times too slow for the kernel"}, ""),
        ({"firewalld": "no system bus"}, "    goes without firewalld: no system bus"),
    ],
)
def test_a_watcher_is_only_told_of_when_it_is_not_well(watchers: dict[str, str], line: str) -> None:
    """Watchers that are well take no line."""
    printed = text({"state": "ok", "watchers": watchers}).splitlines()[1:]

    assert printed == ([line] if line else [])


def test_an_incident_that_goes_on_tells_cause_and_attempts() -> None:
    """Before the end of an incident there is no canonical line: cause and attempts are told."""
    document = {
        "state": "lost",
        "last_incident": {"began": NOW - 61, "cause": "nft (pid 1)", "tried": ["reload failed"]},
    }

    assert text(document).endswith("    going on; cause: nft (pid 1); tried: reload failed")


def test_colour_is_in_the_dot_alone() -> None:
    """On a terminal the dot has the state's colour, and nothing else has one."""
    printed = render.status({"state": "lost"}, now=NOW, colour=True, everything=False)

    assert printed.startswith("\x1b[31m●\x1b[0m podwatch: lost")
    assert printed.count("\x1b") == 2


def test_texts_from_elsewhere_cannot_steer_the_terminal() -> None:
    """Control characters anywhere in the document are made harmless."""
    evil = "a\x1b[2Jb\nc\u202e"
    document = {
        "state": "lost",
        "summary": evil,
        "missing": [missing(evil, evil, evil)],
        "warnings": [{"what": evil, "advice": evil}],
        "unknown": [{"what": evil, "why": evil, "hint": evil}],
        "networks": [{"name": evil, "containers": 1, "isolation": evil}],
        "containers": [
            {"name": evil, "networks": [{"network": evil, "addresses": [evil]}], "ports": [evil]}
        ],
        "last_look": {"at": NOW, "cause": evil},
        "last_incident": {"began": NOW, "line": evil},
        "watchers": {"firewalld": evil},
        "restoring": evil,
    }

    printed = text(document, everything=True)

    assert all(line.isprintable() for line in printed.split("\n"))
    assert all(line.startswith(("● ", "    ")) for line in printed.split("\n"))


def test_a_document_of_nothing_is_printed() -> None:
    """A document that holds nothing, or only wrong types, is unknown rather than a crash."""
    assert text({}) == "● podwatch: unknown, "
    assert text({"missing": 3, "networks": [None], "last_look": []}).startswith("● podwatch: unk")


def test_plain_text_is_ascii_that_reads_well() -> None:
    """Where the terminal knows ASCII alone, dots and arrows become ASCII ones."""
    assert render.plain("● web: 80/tcp → 10.88.0.3 “x” é") == '* web: 80/tcp -> 10.88.0.3 "x" ?'


def test_a_daemon_that_does_not_run_is_told_with_what_to_do() -> None:
    """Without a daemon the reason and the commands to type are printed."""
    printed = render.not_running("its process, 12, is gone", colour=False)

    assert printed.startswith("● podwatch: unknown, no word from the daemon\n    its process, 12,")
    assert "systemctl start podwatch" in printed
    assert "journalctl -u podwatch" in printed


DHCP: dict[str, Any] = {
    "state": "ok",
    "summary": "netavark-dhcp-proxy.socket listens",
    "socket": {
        "unit": "netavark-dhcp-proxy.socket",
        "active": "active",
        "file": "enabled",
        "path_exists": True,
        "listening": True,
    },
    "proxy": {"active": "active", "pid": 520},
    "containers": [
        {
            "name": "a",
            "network": "lan",
            "address": "192.0.2.70",
            "known": True,
            "leased": NOW - 6,
            "lease_s": 120,
            "renew_s": 60,
            "renews_at": NOW - 6,
        }
    ],
}


def test_dhcp_in_order() -> None:
    """Socket, proxy, and each container with its address, the lease's age and next renewal."""
    assert (
        "    dhcp: netavark-dhcp-proxy.socket active, enabled, listening; proxy pid 520\n"
        "    a  lan 192.0.2.70, leased 6 s ago, for 2 min, renewed in 54 s\n"
    ) in text({**HEALTHY, "dhcp": DHCP})


def test_dhcp_out_of_order() -> None:
    """What is wrong, why it waits and what to do come first; a lost lease is told as such."""
    broken = {
        **DHCP,
        "state": "lost",
        "summary": "the socket is inactive",
        "next_try": "pausing",
        "advice": "wait",
        "socket": {**DHCP["socket"], "active": "inactive", "path_exists": False},
        "proxy": {"active": "failed", "pid": 0},
        "containers": [{**DHCP["containers"][0], "known": False, "address": ""}],
    }

    assert (
        "    dhcp: the socket is inactive (pausing)\n"
        "      → wait\n"
        "    dhcp: netavark-dhcp-proxy.socket inactive, enabled, not listening; proxy failed\n"
        "    a  lan no address, its lease is not renewed by anybody\n"
    ) in text({**HEALTHY, "dhcp": broken})


def closed(name: str, *ways: dict[str, Any]) -> dict[str, Any]:
    """A container with these ways."""
    return {"id": name, "name": name, "needs_rules": True, "ways": list(ways)}


DOWN = {"hop": "bridge", "why": "podman0 is down", "advice": "ip link set podman0 up"}
IN = {"kind": "in", "port": "8080/tcp", "state": "broken", "since": NOW - 190, **DOWN}
OUT = {"kind": "out", "network": "podman", "state": "broken", "since": NOW - 200, **DOWN}


def test_whose_ways_are_broken_stands_at_the_hop() -> None:
    """One line for a hop, with whom it keeps off, and since when; whole containers by name."""
    document = {
        "state": "lost",
        "containers": [
            closed("web", IN, OUT),
            closed("db", OUT, {**IN, "state": "open"}),
            closed("cat", {**IN, "state": "open"}, {**OUT, "state": "closed"}),
        ],
    }
    assert (
        "    broken, for 3 min: web; db out by podman, at bridge: podman0 is down\n"
        "      → ip link set podman0 up\n" in text(document) + "\n"
    )
    assert "cat" not in text(document)


def test_a_networks_own_way_goes_by_its_kind() -> None:
    """Of its age nothing is said where only one look was made, nor of advice there is not."""
    way = {"title": "isolation of apart", "state": "unknown", "hop": "isolation", "why": "unread"}
    told = text({"networks": [{"name": "apart", "ways": [{"kind": "isolation", **way}]}]})
    assert "\n    unknown: isolation on apart, at isolation: unread\n    networks" in told


def test_broken_hops_are_bounded() -> None:
    """Ten of them at most, unless everything is asked for."""
    many = [closed(f"c{n}", {**IN, "why": f"br{n} is down"}) for n in range(12)]
    assert text({"containers": many}).count("at bridge:") == 10
    assert "    and 2 more hops (podwatch explain names them)" in text({"containers": many})
    assert text({"containers": many}, everything=True).count("at bridge:") == 12


GUARD = {"mode": "full", "table": "podwatch-guard-1a2b", "ports": 112, "containers": 40}


@pytest.mark.parametrize(
    ("guard", "lines"),
    [
        ({}, []),
        (
            GUARD,
            ["guard: holds 112 ports of 40 containers (table inet podwatch-guard-1a2b)"],
        ),
        (
            {**GUARD, "ports": 1, "containers": 1, "why": "1 state file cannot be read"},
            [
                "guard: holds 1 port of 1 container (table inet podwatch-guard-1a2b), "
                "1 state file cannot be read"
            ],
        ),
        (
            {"mode": "anchor", "table": "podwatch-guard-1a2b"},
            ["guard: anchor (table inet podwatch-guard-1a2b)"],
        ),
        (
            {"mode": "anchor", "table": "podwatch-guard-1a2b", "why": "with cni an anchor only"},
            ["guard: anchor (table inet podwatch-guard-1a2b): with cni an anchor only"],
        ),
        (
            {"mode": "off", "why": "paused until noon", "saved": "/etc/nftables.conf"},
            [
                "guard: off (paused until noon)",
                "note: a copy of the guard is saved in /etc/nftables.conf",
                "→ delete the tables podwatch-guard-… from it: they are podwatch's own",
            ],
        ),
    ],
)
def test_the_guard_has_a_line_that_says_why_it_is_no_more(
    guard: dict[str, Any], lines: list[str]
) -> None:
    """What it holds, or that it is an anchor, or off; and what to do about a saved copy of it."""
    told = text({**HEALTHY, "guard": guard}).splitlines()[1:]
    assert [line.strip() for line in told if line not in text(HEALTHY).splitlines()] == lines


def test_what_the_guard_carried_stands_with_the_incident() -> None:
    """Behind what was missing."""
    incident = {**HEALTHY["last_incident"], "carried": 37}
    assert (
        "verified: table inet netavark is gone; 37 new connections were carried by the guard "
        "meanwhile\n"
    ) in text({**HEALTHY, "last_incident": incident})
