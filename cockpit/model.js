// SPDX-License-Identifier: Apache-2.0
// From podwatch's status document to what is shown: pure. Nothing here touches the page or a clock.
// The one rule: what is old, unreadable or half known is never shown as well.

import { _, CLASSES, ISOLATIONS, KINDS, MARKS, STATES, clean, count, format, lasted } from "./words.js";
import { SHAPE, fit } from "./shape.js";

const GRAVEST = ["broken", "unknown", "closed", "open"];
const LEFT_OVER = ["leftover", "remains"];
// Kinds of warnings that make no state degraded; all others are worth an eye.
const NOTES = ["neighbour", "no_events", "reload", "linger", "host_firewall", "stale_state", "unlisted", "remains"];
export const MOST_IN_PICTURE = 40;
const MOST_MISSING = 10;

// The document of a status.json, or why there is none: absent, broken, schema, early or old.
export function parse(text) {
    if (text === null || text === undefined)
        return { problem: "absent" };
    let found;
    try {
        found = JSON.parse(text);
    } catch (error) {
        return { problem: "broken", why: error.message };
    }
    if (!found || typeof found !== "object" || Array.isArray(found))
        return { problem: "broken", why: _("It is no status of podwatch's.") };
    if (found.schema !== SHAPE.schema)
        return { problem: "schema", why: format(_("schema $0, where $1 is understood"), clean(found?.schema), SHAPE.schema) };
    if (found.state === undefined)
        return { problem: "early" };
    if (!Array.isArray(found.containers) || found.containers.some(each => !Array.isArray(each?.ways)))
        return { problem: "old" };
    if (typeof found.pid !== "number")
        return { problem: "broken", why: _("It does not say which process wrote it.") };
    const document = fit(found, SHAPE);
    for (const each of [...document.containers, ...document.networks]) {
        each.state = ["", ...Object.keys(STATES)].includes(each.state) ? each.state : "unknown";
        for (const way of each.ways)
            way.state = GRAVEST.includes(way.state) ? way.state : "unknown";
    }
    if (!Object.hasOwn(STATES, document.state))
        return { problem: "broken", why: format(_("no such state: $0"), clean(document.state)) };
    return { document };
}

// Why the document says nothing of now; "" while podwatch shows that it is alive. `silent` are the
// seconds since it last did, null where that is not known yet; `unit` is what systemd says.
export function distrust(document, { silent, unit }) {
    const runs = unit?.active === "active" || unit?.active === "reloading";
    if (unit?.active && !runs)
        return unit.active === "activating" ? "starting" : "stopped";
    if (runs && unit.pid && unit.pid !== document.pid)
        return "starting";
    if (silent === null)
        return "checking";
    return silent > 3 * (document.heartbeat_every || 20) ? "silent" : "";
}

const worst = ways => GRAVEST.find(state => ways.some(way => way.state === state)) || "open";

function summed(ways, old) {
    const state = worst(ways);
    const first = ways.find(way => way.state === state);
    const same = ways.filter(way => way.state === state).length;
    return {
        state: old ? "unknown" : state, was: old ? state : "", hop: first?.hop || "", why: first?.why || "",
        advice: old ? "" : first?.advice || "", since: first?.since || 0, isOurs: Boolean(first?.isOurs),
        part: state !== "open" && same < ways.length ? format(_("$0 of $1 ways"), same, ways.length) : "",
    };
}

const label = way => way.title.split(" → ")[0] || way.port;

function grouped(ways, key) {
    const groups = new Map();
    for (const way of ways)
        groups.set(key(way), [...(groups.get(key(way)) || []), way]);
    return groups;
}

function lacking({ state, missing }) {
    if (missing > 0)
        return count("$0 thing is missing", "$0 things are missing", missing);
    return state === "lost" ? _("Lost: podwatch does not say what is missing.") : _("podwatch does not say what is unknown.");
}

function ofContainer(each, old) {
    const rows = [];
    const common = { container: each.name, id: each.id, pod: each.pod, addresses: each.networks.flatMap(on => on.addresses) };
    const row = (kind, port, network, ways) => rows.push({
        ...common, key: [each.id, kind, port, network].join("\n"), kind, port, network,
        target: each.name, ...summed(ways, old) });
    const into = each.ways.filter(way => way.kind === "in");
    for (const ways of grouped(into, way => `${label(way)}\n${way.network}`).values())
        row("in", label(ways[0]), ways[0].network, ways);
    for (const ways of grouped(each.ways.filter(way => way.kind !== "in"), way => `${way.kind}\n${way.network}`).values()) {
        if (worst(ways) !== "open" || !into.length)
            row(ways[0].kind, "", ways[0].network, ways);
    }
    const networks = each.networks.map(on => on.network).join(", ");
    const known = ["broken", "unknown"].includes(worst(each.ways));
    if ((each.state === "lost" || each.state === "unknown") && !known) {
        const state = each.state === "lost" ? "broken" : "unknown";
        row("self", "", networks, [{ ...each, state, isOurs: !each.why, why: each.why || lacking(each) }]);
    } else if (!rows.length) {
        rows.push({ ...common, key: each.id, kind: "none", port: "", network: networks, target: each.name, was: "", part: "",
                    state: each.state !== "ok" ? "none" : old ? "unknown" : "open", hop: "", advice: "", since: 0,
                    why: CLASSES[each.class] || "" });
    }
    return rows;
}

// The table: a row for each published port, for each other way that is not open, and for whoever
// has no port at all.
export function rowsOf(document, old) {
    const rows = document.containers.flatMap(each => ofContainer(each, old));
    for (const network of document.networks) {
        for (const [kind, ways] of grouped(network.ways, way => way.kind)) {
            if (worst(ways) !== "open")
                rows.push({ key: `${network.id}\n${kind}`, kind, port: "", container: "", id: "", pod: "", addresses: network.subnets,
                            network: network.name, target: network.name, ...summed(ways, old) });
        }
    }
    return rows;
}

export function matches(row, query) {
    const kind = row.kind === "in" || row.kind === "none" ? "" : `${row.kind} ${KINDS[row.kind] || ""}`;
    const text = [row.port, row.container, row.network, row.pod, row.state, row.was, MARKS[row.state], kind, row.hop, ...row.addresses]
            .join("\n").toLowerCase();
    return query.toLowerCase().split(/\s+/).every(word => text.includes(word));
}

export function chosen(row, place) {
    return !place.kind || (place.kind === "container" ? row.container === place.name
        : row.network.split(", ").includes(place.name));
}

// Networks in the order of the document, containers by their first network: lines cross little.
export function picture(document, rows, old) {
    const networks = document.networks.map(each => ({
        name: each.name, facts: [each.bridge, ...each.subnets, ISOLATIONS[each.isolation] || ""].filter(Boolean),
        marks: [...grouped(each.ways, way => way.kind)].map(([kind, ways]) => ({ kind, ...summed(ways, old) })),
        state: each.state === "ok" ? (old ? "unknown" : "ok") : old ? "unknown" : each.state,
    }));
    const seen = new Set(networks.map(each => each.name));
    for (const name of document.containers.flatMap(each => each.networks.map(on => on.network))) {
        if (!seen.has(name))
            networks.push({ name, facts: [], marks: [], state: "none" });
        seen.add(name);
    }
    const place = new Map(networks.map((each, number) => [each.name, number]));
    const boxes = document.containers.map(each => ({
        id: each.id, name: each.name, pod: each.pod, paused: each.paused, class: CLASSES[each.class] || "",
        networks: each.networks, state: old ? "unknown" : each.state || "none",
        outs: [...grouped(each.ways.filter(way => way.kind === "out"), way => way.network)]
                .map(([network, ways]) => ({ network, ...summed(ways, old) })),
    }));
    boxes.sort((a, b) => (place.get(a.networks[0]?.network) ?? 1e9) - (place.get(b.networks[0]?.network) ?? 1e9));
    const order = new Map(boxes.map((each, number) => [each.id, number]));
    const ports = rows.filter(row => row.kind === "in").sort((a, b) => order.get(a.id) - order.get(b.id));
    return { ports, networks, boxes };
}

function advice(document) {
    const ways = [...document.containers, ...document.networks].filter(each => each.state === "lost" && each.advice);
    const worth = document.warnings.filter(each => !NOTES.includes(each.kind));
    return [document.blocked[0]?.advice, ways[0]?.advice, document.dhcp.advice, document.unknown[0]?.hint, worth[0]?.advice].find(Boolean) || "";
}

const WHY = {
    starting: _("podwatch is starting, and has not looked yet."),
    stopped: _("podwatch is not running. What is shown here is what it saw last."),
    checking: _("Asking whether podwatch is running."),
};

// The headline: a state that can be trusted, since when, a sentence, and what to do.
export function headline(document, doubt, { silent, paused }) {
    const blocked = document.blocked.find(each => each.kind === "paused");
    const common = {
        isPaused: Boolean(blocked) || paused > 0, paused, pause: blocked?.what || "", dry: document.dry_run,
        restoring: doubt ? "" : document.restoring, fight: doubt ? "" : document.fight,
        waiting: doubt ? "" : document.next_try,
    };
    if (doubt) {
        const sentence = doubt === "silent" ? format(_("podwatch gave no sign of life for $0. What is shown here is what it saw last."), lasted(silent))
            : WHY[doubt];
        const was = doubt === "checking" ? "" : format(_("The last it said was: $0."), STATES[document.state]);
        return { ...common, state: "unknown", since: 0, sentence: `${sentence} ${was}`.trim(), theirs: "", advice: "", doubt };
    }
    return { ...common, state: document.state, since: document.since, sentence: "", theirs: document.summary,
             advice: document.state === "ok" ? "" : advice(document), doubt: "" };
}

// The watchers that do not work: what one says begins with a word of its own while it does.
const ailing = watchers => Object.entries(watchers).filter(([, says]) => says && !/^(listening|connected|serving)|: no system bus$/.test(says));

// What else there is to tell, in parts that are shown where they have something in them. What was
// wrong when podwatch looked last may be so or not, where it does not look any more: `old`.
export function remarks(document, old) {
    const left = document.warnings.filter(each => LEFT_OVER.includes(each.kind));
    const others = document.warnings.filter(each => !LEFT_OVER.includes(each.kind));
    // A way that a left-over rule closes says so in its advice alone.
    const hiding = [...document.containers, ...document.networks].flatMap(each => each.ways)
            .filter(way => way.state === "broken" && way.advice.includes("restore --stale"))
            .map(way => ({ state: old ? "unknown" : "note", what: `${way.title}: ${way.why}`, why: "", advice: way.advice }));
    const entry = (state, what, advice, why = "") => ({ state: old && state !== "info" ? "unknown" : state, what, why, advice });
    // What the page says, not podwatch: it is in the reader's language.
    const ours = (state, what, why = "") => ({ ...entry(state, what, "", why), isOurs: true });
    const more = Math.max(document.missing_count, document.missing.length) - MOST_MISSING;
    return {
        left: [...left.map(each => entry("note", each.what, each.advice)), ...hiding],
        entries: [
            // That it is paused is in the headline.
            ...document.blocked.filter(each => each.kind !== "paused").map(each => entry("broken", each.what, each.advice)),
            ...document.missing.slice(0, MOST_MISSING).map(each => entry("broken", each.what, "")),
            ...(more > 0 ? [ours("broken", count("and $0 more thing is missing", "and $0 more things are missing", more))] : []),
            ...document.unknown.map(each => entry("unknown", each.what, each.hint, each.why)),
            ...ailing(document.watchers).map(([name, says]) => ours("degraded", format(_("podwatch goes without $0"), name), says)),
            ...others.filter(each => !NOTES.includes(each.kind)).map(each => entry("degraded", each.what, each.advice)),
            ...others.filter(each => NOTES.includes(each.kind)).map(each => entry("info", each.what, each.advice)),
        ],
    };
}

// What a variant of D-Bus holds.
export const value = variant => variant && typeof variant === "object" && "v" in variant ? variant.v : variant;

const INCIDENT = { id: 0, began: 0, ended: 0, what: "", cause: "", unit: "", user: "", how: [""], outcome: "", took_ms: 0, containers: 0, line: "" };

// Incidents as the bus gives them, the newest first.
export function incidents(given) {
    return given.map(each => fit(Object.fromEntries(Object.entries(each).map(([key, it]) => [key, value(it)])), INCIDENT))
            .sort((a, b) => b.began - a.began);
}

// The one incident that status.json tells of, where nobody answers on the bus.
export function lastIncident(document, old) {
    const last = document.last_incident;
    if (!last.began)
        return [];
    return [{ ...INCIDENT, id: last.began, began: last.began, ended: last.restored_at, what: last.missing.join("; "),
              cause: last.cause, unit: last.process.unit, user: last.process.user, how: last.tried,
              outcome: last.restored_at ? "restored" : old ? "unknown" : "open", took_ms: last.took_ms, containers: last.containers }];
}
