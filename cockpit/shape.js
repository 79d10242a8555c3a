// SPDX-License-Identifier: Apache-2.0
// What the page reads of status.json, with the empty value of each field: what is not there, or of
// another type, is taken for that. The object is JSON, which a test compares with podwatch's own.

export const SHAPE = {
    "schema": 1,
    "version": "",
    "pid": 0,
    "heartbeat_every": 0,
    "dry_run": false,
    "state": "unknown",
    "since": 0,
    "summary": "",
    "missing": [{ "what": "", "network": "", "container": "" }],
    "missing_count": 0,
    "warnings": [{ "kind": "", "what": "", "advice": "" }],
    "blocked": [{ "kind": "", "what": "", "advice": "" }],
    "unknown": [{ "part": "", "what": "", "why": "", "hint": "" }],
    "neighbours": [""],
    "networks": [{
        "id": "", "name": "", "bridge": "", "subnets": [""], "isolation": "", "containers": 0,
        "state": "", "hop": "", "why": "", "advice": "",
        "ways": [{ "kind": "", "title": "", "port": "", "network": "", "state": "", "hop": "", "why": "", "advice": "", "since": 0 }]
    }],
    "containers": [{
        "id": "", "name": "", "pod": "", "class": "", "needs_rules": false, "paused": false, "shares": "",
        "networks": [{ "network": "", "addresses": [""] }],
        "ports": [""], "missing": 0,
        "state": "", "hop": "", "why": "", "advice": "", "since": 0,
        "ways": [{ "kind": "", "title": "", "port": "", "network": "", "state": "", "hop": "", "why": "", "advice": "", "since": 0 }]
    }],
    "last_look": { "at": 0, "took_ms": 0, "cause": "" },
    "last_incident": {
        "began": 0, "cause": "", "process": { "unit": "", "user": "" }, "missing": [""], "containers": 0,
        "tried": [""], "restored_at": 0, "verified": false, "took_ms": 0, "line": ""
    },
    "guard": { "mode": "", "table": "", "ports": 0, "containers": 0, "carried": 0, "why": "", "saved": "" },
    "dhcp": {
        "state": "", "summary": "", "advice": "", "next_try": "", "networks": [""],
        "socket": { "unit": "", "active": "", "listening": false },
        "containers": [{ "name": "", "network": "", "address": "", "known": false, "renews_at": 0 }]
    },
    "watchers": {
        "nftables": "", "links": "", "firewalld": "", "sysctls": "", "runtimes": "", "names": "", "netns": "", "relays": "",
        "pause": "", "guard": "", "api": ""
    },
    "fight": "",
    "restoring": "",
    "next_try": "",
    "counters": { "looks": 0, "incidents": 0, "restored": 0, "failed": 0 }
};

export function fit(value, shape) {
    if (Array.isArray(shape))
        return Array.isArray(value) ? value.map(entry => fit(entry, shape[0])) : [];
    if (typeof shape === "object") {
        const given = value && typeof value === "object" ? value : {};
        return Object.fromEntries(Object.entries(shape).map(([key, empty]) => [
            key, fit(Object.hasOwn(given, key) ? given[key] : undefined, empty)]));
    }
    if (typeof shape === "number")
        return typeof value === "number" && Math.abs(value) < 1e15 ? value : shape;
    return typeof value === typeof shape ? value : shape;
}
