# SPDX-License-Identifier: Apache-2.0
"""What the page is shown with where no podwatch runs: recorded documents, and what is made of them.

Those in `documents/` were recorded on a host of tests/lab: `status` is its status.json, `explain`
what podwatch explain said at that moment, shortened to what the bus gives. All others are made of
these here, so that there is little to keep. `unit` is what systemd would say of podwatch.service,
`age` how many seconds ago the heartbeat was; a `status` that is a text is given out as it is.
"""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "documents"

Document = dict[str, Any]

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "\"quoted\" & 'single'",
    "abc\u202egnp.exe",  # a mark that would turn the rest around
    "\u05e9\u05dc\u05d5\u05dd-web",
    "x" * 255,
    "tab\tand\x1b[31mred",
)
"""Names that no page may take for anything but text."""


def recorded(name: str) -> Document:
    """A document as it was recorded."""
    found: Document = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def _many(number: int, broken: int = 3) -> Document:
    """So many containers on ten networks, some of them broken: each a copy of a recorded one."""
    document = recorded("one")
    status = document["status"]
    (whole,) = (each for each in status["containers"] if each["name"] == "web-b")
    (lost,) = (each for each in status["containers"] if each["name"] == "web-a")
    (network,) = (each for each in status["networks"] if each["name"] == "podman")
    networks, containers = [], []
    for count in range(10):
        text = json.dumps(network).replace("podman0", f"podman{count}")
        text = text.replace("10.88.", f"10.{100 + count}.").replace('"podman"', f'"net-{count}"')
        networks.append({**json.loads(text), "id": f"{count:064x}", "containers": number // 10})
    for count in range(number):
        model = lost if count % (number // broken) == 7 else whole
        port = str(model["ways"][0]["port"]).split("/")[0]
        text = json.dumps(model).replace(port, str(20000 + count))
        text = text.replace(model["name"], f"service-{count:03}")
        text = text.replace('"podman"', f'"net-{count % 10}"').replace(
            model["networks"][0]["addresses"][0], f"10.{100 + count % 10}.0.{2 + count // 10}"
        )
        containers.append({**json.loads(text), "id": f"{count:064x}"})
    status |= {
        "networks": networks,
        "containers": containers,
        "summary": f"{broken} things are missing, {number} containers on 10 networks",
    }
    return {"status": status}


def _hostile() -> Document:
    """The recorded host with names that would do something if they were markup."""
    document = recorded("ok")
    names = [each["name"] for each in document["status"]["containers"]]
    text = json.dumps(document)
    for old, new in zip(names, HOSTILE, strict=False):
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    hostile: Document = json.loads(text)
    blocked = {"kind": "paused", "what": f"paused by {HOSTILE[0]}", "advice": HOSTILE[1]}
    hostile["status"]["blocked"] = [{**blocked, "only_reload": False}]
    return hostile


def _dhcp() -> Document:
    """A network whose addresses come by DHCP, and one lease that the proxy does not know."""
    document = recorded("ok")
    at = document["status"]["last_look"]["at"]
    lease = {"id": "d" * 64, "network": "lan", "mac": "02:11:22:33:44:55", "paused": False}
    document["status"] |= {
        "state": "lost",
        "summary": "6 containers on 3 networks, 85 rules in place (nftables); "
        "DHCP: 1 of 2 leases is not renewed",
    }
    document["status"]["dhcp"] = {
        "state": "lost",
        "summary": "1 of 2 leases is not renewed",
        "advice": "podman network reload printer",
        "next_try": "asks again in 30 s",
        "backend": "netavark",
        "networks": ["lan"],
        "socket": {
            **{"unit": "netavark-dhcp-proxy.socket", "load": "loaded", "active": "active"},
            **{"file": "enabled", "result": "success", "path": "/run/podman/nv-proxy.sock"},
            **{"path_exists": True, "listening": True},
        },
        "proxy": {
            "unit": "netavark-dhcp-proxy.service",
            "active": "active",
            "pid": 900,
            "started": at,
        },
        "containers": [
            {
                **lease,
                **{"name": "scanner", "address": "192.0.2.60", "known": True, "leased": at},
                **{"lease_s": 3600, "renew_s": 1800, "renews_at": at + 1200},
            },
            {
                **lease,
                **{"name": "printer", "address": "192.0.2.61", "known": False, "leased": 0.0},
                **{"lease_s": 0, "renew_s": 0, "renews_at": 0.0},
            },
        ],
    }
    return document


def _leftover() -> Document:
    """Rules of a container that has gone, and a part of the host that could not be seen."""
    document = recorded("ok")
    status = document["status"]
    status["state"] = "degraded"
    status["summary"] = "a rule is left over; firewalld does not answer"
    status["warnings"] += [
        {
            "kind": "leftover",
            "what": "8099/tcp is still forwarded to 10.88.0.99, which nobody has: "
            "tcp dport 8099 dnat ip to 10.88.0.99:80",
            "advice": "podwatch restore --stale takes it away; "
            "with --dry-run it only names all of them",
        },
    ]
    status["unknown"] = [
        {
            "part": "firewalld",
            "what": "whether firewalld trusts the subnets",
            "why": "firewalld does not answer",
            "hint": "systemctl restart firewalld",
        }
    ]
    return document


def _with(name: str, **changes: Any) -> Callable[[], Document]:
    return lambda: {**recorded(name), **changes}


def _bare() -> Document:
    document = recorded("ok")
    document["status"] |= {
        **{"containers": [], "networks": [], "neighbours": [], "warnings": []},
        "summary": "no container needs rules on this host",
    }
    return document


def _old() -> Document:
    """The document of a podwatch that did not yet tell how each way stands."""
    document = recorded("ok")
    for each in document["status"]["containers"]:
        del each["ways"], each["state"]
    return document


def _restoring() -> Document:
    document = copy.deepcopy(recorded("lost"))
    document["status"] |= {
        "blocked": [],
        "next_try": "",
        "restoring": "reloading 6 containers: podman network reload",
    }
    return document


_DEAD = {"active": "failed", "load": "loaded", "pid": 0}

DOCUMENTS: Mapping[str, Callable[[], Document]] = {
    "ok": _with("ok"),
    "lost": _with("lost"),
    "one": _with("one"),
    "panic": _with("panic"),
    "paused": _with("paused"),
    "restoring": _restoring,
    "dhcp": _dhcp,
    "leftover": _leftover,
    "60": lambda: _many(60),
    "200": lambda: _many(200),
    "500": lambda: _many(500),
    "hostile": _hostile,
    "users": _with("ok", own=recorded("one")["status"]),
    "no-container": _bare,
    "silent": _with("ok", age=300),
    "stopped": _with("lost", unit=_DEAD),
    "starting": _with("ok", unit={"active": "activating", "load": "loaded", "pid": 4242}),
    "never": lambda: {"status": None, "unit": {"active": "inactive", "load": "loaded", "pid": 0}},
    "no-podwatch": lambda: {
        "status": None,
        "unit": {"active": "inactive", "load": "not-found", "pid": 0},
    },
    "old": _old,
    "newer": lambda: {"status": '{"schema": 2}'},
    "broken": lambda: {"status": '{"schema": 1, "state":'},
}
"""Each document by the name by which it is chosen."""
