// SPDX-License-Identifier: Apache-2.0
// Stands in for Cockpit's base1/cockpit.js where the page is shown without Cockpit: as much of its
// interface as the page uses, answered from a document of tests/page/documents.py. Not shipped.

"use strict";

(() => {
    const query = new URLSearchParams(location.search);
    const name = query.get("document") || "ok";
    const on = key => query.get(key) !== "no";
    const PATHS = { host: "/run/podwatch/status.json", own: "/run/user/1000/podwatch/status.json" };
    const opened = performance.now();
    let document_ = null;
    let paused = 0;
    let serial = 1;
    const watches = [], proxies = [], signals = [], jobs = [];

    // Of this address alone: the next one without a style is as the browser's own again.
    if (query.has("style"))
        localStorage.setItem("shell:style", query.get("style"));
    else
        localStorage.removeItem("shell:style");

    const loaded = Promise.all([fetch(`/documents/${name}`).then(answer => answer.json()), fetch("/incidents").then(answer => answer.json())])
            .then(([found, incidents]) => {
                const at = found.status?.last_look?.at || incidents[0].began + 40;
                document_ = moved({ ...found, incidents }, Date.now() / 1000 - at);
                if (document_.status?.blocked?.some(each => each.kind === "paused"))
                    paused = Math.floor(Date.now() / 1000) + 1800;
                return document_;
            });

    // A document of another day, as if it were of today.
    function moved(value, by) {
        if (typeof value === "number")
            return value > 1.5e9 ? value + by : value;
        if (Array.isArray(value))
            return value.map(each => moved(each, by));
        if (value && typeof value === "object")
            return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, moved(each, by)]));
        return value;
    }

    const age = () => document_.age || (performance.now() - opened) / 1000 % 20;
    const tag = () => `1:${serial}-${Date.now() / 1000 - age()}-100644-0-0`;

    function publish() {
        for (const watch of watches) {
            const found = watch.path === PATHS.host ? document_.status : watch.path === PATHS.own ? document_.own : undefined;
            const text = found === undefined || found === null ? null : typeof found === "string" ? found : JSON.stringify(found);
            watch.callback(text, text === null ? "-" : tag(), null);
        }
        for (const proxy of proxies)
            proxy.refresh();
    }

    async function change(to) {
        const found = await fetch(`/documents/${to}`).then(answer => answer.json());
        document_ = moved({ ...found, incidents: document_.incidents }, Date.now() / 1000 - (found.status?.last_look?.at || 0));
        serial++;
        publish();
    }

    function events(target = {}) {
        const heard = {};
        target.addEventListener = (kind, call) => (heard[kind] ||= []).push(call);
        target.dispatch = (kind, ...values) => (heard[kind] || []).forEach(call => call({ type: kind }, ...values));
        return target;
    }

    const error = (kind, message) => Object.assign(new Error(message), { name: kind });
    const later = value => new Promise(done => setTimeout(done, 150, value));

    const METHODS = {
        Look: async () => [document_.status.state],
        Explain: async target => [(document_.explain || []).filter(([, title, container]) => container === target || title.includes(target))],
        Incidents: async () => [document_.incidents.map(each => Object.fromEntries(Object.entries(each).map(([key, v]) => [key, { v }])))],
        Pause: async seconds => { paused = Math.floor(Date.now() / 1000) + seconds; await change("paused"); return []; },
        Resume: async () => { paused = 0; await change("ok"); return [true]; },
        Restore: async isDry => {
            const text = document_.status.missing.map(each => `${isDry ? "would put back" : "put back"}: ${each.what}`).join("\n");
            if (!isDry) {
                paused = 0;
                await change("ok");
            }
            return [text];
        },
        RemoveLeftovers: async isDry => {
            if (!isDry)
                await change("ok");
            const left = "left over: netavark nv_2f259bab: tcp dport 8099 dnat ip to 10.88.0.99:80";
            return [`${left}\n${isDry ? "would take" : "taking"} away 1 rule`];
        },
        GetAll: async () => [{ PausedUntil: { v: paused } }],
        Subscribe: async () => [],
        LoadUnit: async () => ["/unit"],
        StartUnit: async () => {
            if (on("start"))
                await change("ok");
            jobs.forEach(call => call("", "", "JobRemoved", [1, "/job", "podwatch.service", on("start") ? "done" : "failed"]));
            return ["/job"];
        },
        Get: async () => [{ v: "exit-code" }],
    };
    const GUARDED = ["Pause", "Resume", "Restore", "RemoveLeftovers", "StartUnit"];

    function values(kind) {
        if (kind === "cockpit.Superuser")
            return { Current: on("access") ? "sudo" : "none" };
        const unit = document_.unit || { active: "active", load: "loaded", pid: document_.status?.pid || 0 };
        if (kind.startsWith("org.freedesktop.systemd1"))
            return { ActiveState: unit.active, LoadState: unit.load, MainPID: unit.pid };
        return on("bus") && unit.active === "active" ? { State: document_.status.state, PausedUntil: paused } : null;
    }

    function dbus(service) {
        const client = events({
            proxy(kind) {
                const proxy = events({ valid: false });
                proxy.refresh = () => {
                    const found = values(kind);
                    Object.assign(proxy, found, { valid: Boolean(found) });
                    proxy.dispatch("changed", found || {});
                };
                proxy.wait = call => loaded.then(proxy.refresh).then(call);
                loaded.then(() => { proxies.push(proxy); proxy.refresh(); });
                return proxy;
            },
            async call(path, kind, method, given = []) {
                await loaded;
                if (service === "org.podwatch1" && !values(kind))
                    throw error("org.freedesktop.DBus.Error.ServiceUnknown", "The name org.podwatch1 was not provided by any .service files");
                if (GUARDED.includes(method) && !on("access"))
                    throw error("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "");
                await demo.held;
                return later(await METHODS[method](...given));
            },
            subscribe(match, callback) {
                if (match.member === "PropertiesChanged")
                    proxies.push({ refresh: () => callback(match.path, match.interface, "PropertiesChanged", ["org.podwatch1.Manager", { PausedUntil: { v: paused } }]) });
                else
                    (match.member === "JobRemoved" ? jobs : signals).push(callback);
            },
            close() { /* nothing is open */ },
        });
        if (service === "org.podwatch1")
            loaded.then(() => client.dispatch(...(values(service) ? ["owner", ":1.1"] : ["close", { problem: "not-found" }])));
        return client;
    }

    const cockpit = window.cockpit = events({
        language: "en",
        language_direction: query.get("direction") || "ltr",
        manifests: {},
        gettext: text => cockpit.words?.[text]?.[1] || text,
        ngettext: (one, many, number) => cockpit.words?.[one]?.[Number(cockpit.words[""]["plural-forms"](number)) + 1] || (number === 1 ? one : many),
        locale: words => {
            cockpit.words = words;
            cockpit.language = words[""].language;
            cockpit.language_direction = query.get("direction") || words[""]["language-direction"];
        },
        format: (text, ...given) => text.replace(/\$(\d)/g, (whole, at) => given[at] ?? ""),
        jump: to => { window.jumped = to; console.info(`would go to ${to}`); },
        user: () => loaded.then(() => ({ id: 1000, name: "admin", home: "/home/admin" })),
        dbus,
        file: (path, { max_read_size: most } = {}) => ({
            watch(given) {
                const callback = (text, tag, error) => text?.length > most ? given(null, tag, { problem: "too-large" }) : given(text, tag, error);
                watches.push({ path, callback });
                loaded.then(publish);
                return { remove() { /* it ends with the page */ } };
            },
            close() { /* it ends with the page */ },
        }),
        spawn: async command => {
            await loaded;
            if (command[0] === "date")
                return `${Math.floor(Date.now() / 1000)}\n`;
            const users = name !== "users" ? [] : [{ uid: 1000, user: "admin", state: "lost", why: "", claim: { summary: document_.own.summary } },
                                                   { uid: 1001, user: "eve", state: "unknown", why: "does not run: no sign of life for 300 s", claim: {} }];
            return JSON.stringify({ schema: 1, users });
        },
        location: {
            get path() { return window.location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent); },
            go(path) { window.location.hash = `#/${path.map(encodeURIComponent).join("/")}`; },
        },
    });
    window.addEventListener("hashchange", () => cockpit.dispatch("locationchanged"));

    // The heartbeat, and a chooser of documents at the foot of the page.
    setInterval(() => { if (document_ && !document_.age) publish(); }, 10000);
    window.demo = { held: null, change, publish, happen: () => signals.forEach(call => call()), get document() { return document_; } };

    window.addEventListener("DOMContentLoaded", async () => {
        if (query.has("bare"))
            return;
        const [names, languages] = await Promise.all(["/documents", "/languages"].map(path => fetch(path).then(answer => answer.json())));
        const bar = document.createElement("div");
        Object.assign(bar.style, { position: "fixed", insetInlineEnd: "8px", bottom: "8px", zIndex: 9, display: "flex", gap: "8px", padding: "6px 10px",
                                   background: "#fffbe6", color: "#151515", border: "1px solid #dca614", borderRadius: "8px", fontSize: "12px", flexWrap: "wrap" });
        if (innerWidth < 600)
            Object.assign(bar.style, { zoom: "0.7", opacity: "0.85" });
        const go = (key, value) => { query.set(key, value); location.search = query; };
        const choice = (key, options, now) => {
            const select = document.createElement("select");
            select.setAttribute("aria-label", key);
            for (const option of options)
                select.append(new Option(`${key}: ${option}`, option, false, option === now));
            select.onchange = () => go(key, select.value);
            return select;
        };
        const live = document.createElement("button");
        live.textContent = "break / heal";
        live.onclick = () => change(document_.status?.state === "ok" ? "one" : "ok");
        bar.append(choice("document", names, name), choice("access", ["yes", "no"], query.get("access") || "yes"), choice("bus", ["yes", "no"], query.get("bus") || "yes"),
                   choice("style", ["auto", "light", "dark"], query.get("style") || "auto"), choice("language", languages, cockpit.language), live);
        document.body.append(bar);
    });
})();
