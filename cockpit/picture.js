// SPDX-License-Identifier: Apache-2.0
// The picture: ports of the host, networks, containers, and a line for each way between them. The
// boxes are lists of the page, so that names wrap and links work; the lines are laid over them.

import { _, KINDS, MARKS, clean, format } from "./words.js";
import { h, keep, mark, say, set, svg, theirs } from "./dom.js";

// A line has no size before it is drawn: so wide is a letter of its text at most, on average.
const LETTER = 6.5;
const GAP_BESIDE_TEXT = 3;

const list = (name, title) => h("ul", { class: `column ${name}`, role: "list", "aria-label": title });

export class Picture {
    constructor(link) {
        this.link = link;
        this.ports = list("ports", _("Ports of the host"));
        this.networks = list("networks", _("Networks"));
        this.boxes = list("boxes", _("Containers"));
        this.lines = svg("svg", { role: "list", "aria-label": _("Ways"), focusable: "false" });
        const column = content => h("div", null, h("h3", null, content.getAttribute("aria-label")), content);
        this.frame = h("div", { class: "frame" }, this.lines,
                       column(this.ports), column(this.networks), column(this.boxes));
        const past = event => { event.preventDefault(); document.getElementById("filter").focus(); };
        this.node = h("div", { id: "picture" }, h("a", { class: "skip", href: "#/", click: past }, _("Skip to the table")), this.frame);
        this.shown = null;
        new ResizeObserver(() => this.draw()).observe(this.frame);
    }

    update(shown) {
        this.shown = shown;
        keep(this.ports, shown.ports, {
            key: each => each.key,
            make: each => h("li", null),
            fill: (node, each) => {
                node.className = `box port ${each.state}`;
                node.replaceChildren(mark(each.state), theirs(each.port, { class: "name" }),
                                     h("span", { class: "at" }, each.hop ? theirs(each.hop) : ""),
                                     h("span", { class: "unseen" }, MARKS[each.state] || ""));
            },
        });
        keep(this.networks, shown.networks, {
            key: each => each.name,
            make: each => h("li", null),
            fill: (node, each) => {
                node.className = `box ${each.state}`;
                node.replaceChildren(
                    this.link("network", each.name), ...each.facts.map(fact => h("div", { class: "fact" }, theirs(fact))),
                    h("div", { class: "chips" }, each.marks.map(it => chip(it, this.title(it)))));
            },
        });
        keep(this.boxes, shown.boxes, {
            key: each => each.id,
            make: each => h("li", null),
            fill: (node, each) => {
                node.className = `box ${each.state}`;
                const addresses = each.networks.flatMap(on => on.addresses);
                node.replaceChildren(
                    this.link("container", each.name),
                    each.pod && each.pod !== each.name && `pod ${each.pod}` !== each.name
                        ? h("div", { class: "fact" }, _("pod"), " ", theirs(each.pod)) : "",
                    ...addresses.map(address => h("div", { class: "fact" }, theirs(address))),
                    addresses.length ? "" : h("div", { class: "fact" }, each.class),
                    h("div", { class: "chips" },
                      each.paused ? chip({ kind: "", state: "closed" }, _("paused")) : null,
                      each.outs.map(it => chip({ ...it, kind: "out" }, this.title({ ...it, kind: "out" })))));
            },
        });
        this.draw();
    }

    title(it) {
        const name = it.kind === "isolation" ? _("isolation") : KINDS[it.kind] || it.kind;
        return it.hop ? format(_("$0: $1 at $2"), name, MARKS[it.state], clean(it.hop)) : `${name}: ${MARKS[it.state]}`;
    }

    // Where the boxes are is known only once they are laid out; lines are drawn over that.
    draw() {
        if (!this.shown || !this.frame.isConnected)
            return;
        const frame = this.frame.getBoundingClientRect();
        if (!frame.width)
            return;
        const ends = (element, isNear) => {
            const box = element.getBoundingClientRect();
            const isRight = (getComputedStyle(this.frame).direction === "rtl") === isNear;
            return [(isRight ? box.right : box.left) - frame.left, box.top - frame.top + box.height / 2];
        };
        const at = (parent, key) => parent.kept?.get(key)?.node;
        const found = [];
        for (const each of this.shown.ports) {
            const [port, network, box] = [at(this.ports, each.key), at(this.networks, each.network), at(this.boxes, each.id)];
            if (port && network && box)
                found.push({ ...each, points: [ends(port, false), ends(network, true), ends(network, false), ends(box, true)] });
        }
        const taken = new Set(this.shown.ports.map(each => `${each.id}\n${each.network}`));
        for (const each of this.shown.boxes) {
            for (const on of each.networks) {
                const [network, box] = [at(this.networks, on.network), at(this.boxes, each.id)];
                const out = each.outs.find(it => it.network === on.network);
                if (network && box && !taken.has(`${each.id}\n${on.network}`))
                    found.push({ ...(out || { state: "closed", hop: "" }), key: `${each.id}\n${on.network}`, port: "", container: each.name,
                                 network: on.network, points: [ends(network, false), ends(box, true)] });
            }
        }
        set(this.lines, "viewBox", `0 0 ${frame.width} ${frame.height}`);
        // What is broken lies on top.
        found.sort((a, b) => (a.state === "broken") - (b.state === "broken"));
        keep(this.lines, found, {
            key: each => each.key,
            make: () => svg("g", { role: "listitem" }, svg("title"), svg("path"), svg("g", { class: "stop", "aria-hidden": "true" })),
            fill: (node, each) => this.line(node, each),
        });
    }

    line(node, { state, hop, port, container, network, points }) {
        set(node, "class", `line ${state}${port ? "" : " joins"}`);
        const from = port ? format(_("$0 by $1 to $2"), clean(port), clean(network), clean(container))
            : format(_("$0 on $1"), clean(container), clean(network));
        const what = hop ? format(_("$0: $1 at $2"), from, MARKS[state], clean(hop)) : `${from}: ${port || state !== "closed" ? MARKS[state] : _("no port")}`;
        set(node, "aria-label", what);
        say(node.children[0], what);
        const curve = ([x, y], [toX, toY]) => `M${x},${y} C${(x + toX) / 2},${y} ${(x + toX) / 2},${toY} ${toX},${toY}`;
        const parts = [];
        for (let number = 0; number < points.length; number += 2)
            parts.push(curve(points[number], points[number + 1]));
        set(node.children[1], "d", parts.join(" "));
        const stop = node.children[2];
        stop.replaceChildren();
        if (state !== "broken" && state !== "unknown")
            return;
        // Near the port, where lines that come together later are still apart.
        const [[x, y], [toX, toY]] = points;
        const [midX, midY] = [x + 0.342 * (toX - x), y + 0.216 * (toY - y)];
        stop.append(svg("circle", { cx: midX, cy: midY, r: 8 }),
                    svg("text", { x: midX, y: midY + 4, class: "glyph" }, state === "broken" ? "✕" : "?"));
        if (!port || !hop)
            return;
        // As near as it is without lying under the port, and not at all where it does not fit.
        const half = clean(hop).length * LETTER / 2 + GAP_BESIDE_TEXT;
        if (2 * half <= Math.abs(toX - x))
            stop.append(svg("text", { x: x < toX ? Math.max(midX, x + half) : Math.min(midX, x - half), y: midY - 13, class: "hop", lang: "en" }, clean(hop)));
    }
}

function chip(it, title) {
    return h("span", { class: `chip ${it.state}`, title },
             mark(it.state), h("span", { "aria-hidden": "true" }, it.kind ? KINDS[it.kind] || it.kind : title),
             h("span", { class: "unseen" }, title));
}
