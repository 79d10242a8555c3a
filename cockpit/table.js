// SPDX-License-Identifier: Apache-2.0
// The table of ways, with its filter; a row opens to the hops that its packets pass.

import { _, KINDS, MARKS, clean, count, exactly, format } from "./words.js";
import { chosen, matches } from "./model.js";
import { h, keep, mark, say, set, show, theirs, told } from "./dom.js";

let number = 0;
// So many rows are drawn; the filter finds all of them.
const MOST = 2000;

export class Table {
    // `explain` asks for the ways of a container or network: a promise, or null where nobody answers.
    constructor({ link, explain }) {
        this.link = link;
        this.explain = explain;
        this.rows = [];
        this.place = {};
        this.opened = new Map();
        this.hops = new Map();
        this.filter = h("input", { id: "filter", type: "search", "aria-label": _("Filter ways"), placeholder: _("Name, port, network or “broken”"),
                                   autocomplete: "off", spellcheck: "false", input: () => this.draw() });
        this.found = h("span", { role: "status", class: "found" });
        this.quick = h("div", { class: "quick" });
        this.head = h("thead", null, h("tr", null, [_("Port"), _("Container"), _("Network"), _("Way")].map(
            title => h("th", { scope: "col" }, title))));
        this.table = h("table", { id: "ways" }, h("caption", { class: "unseen" }, _("Ways to and from containers")), this.head);
        this.none = h("p", { class: "empty", hidden: true }, _("No way matches the filter."), " ",
                      h("button", { type: "button", class: "link", click: () => { this.filter.value = ""; this.draw(); this.filter.focus(); } }, _("Clear filter")));
        this.more = h("p", { class: "faint", hidden: true });
        this.node = h("div", null, h("div", { class: "tools" }, this.filter, this.quick, this.found), this.table, this.more, this.none);
    }

    update(rows, place) {
        const isOther = place.kind !== this.place.kind || place.name !== this.place.name;
        this.rows = rows;
        this.place = place;
        if (isOther && place.kind === "container") {
            for (const row of rows.filter(row => chosen(row, place)).slice(0, 1))
                this.opened.set(row.key, true);
        }
        this.draw();
        if (isOther) {
            for (const { node } of this.table.kept.values())
                this.open(node, this.opened.has(node.row.key));
        }
        for (const row of rows) {
            const known = this.hops.get(row.key);
            const is = row.state + row.hop + row.why;
            if (this.opened.has(row.key) && known && (known.is !== is || known.isDeaf))
                this.ask(row, is);
        }
    }

    draw() {
        const query = this.filter.value.trim();
        const here = this.rows.filter(row => chosen(row, this.place));
        const shown = here.filter(row => matches(row, query));
        const counts = ["broken", "unknown"].map(state => ({ state, number: here.filter(row => row.state === state).length }))
                .filter(each => each.number);
        keep(this.quick, counts, {
            key: each => each.state,
            make: each => h("button", { type: "button", click: () => {
                this.filter.value = this.filter.value === MARKS[each.state] ? "" : MARKS[each.state];
                this.draw();
            } }),
            fill: (node, each) => {
                node.className = `quick-filter ${each.state}`;
                node.replaceChildren(mark(each.state, format("$0 $1", each.number, MARKS[each.state])));
            },
        });
        say(this.found, query ? format(_("$0 of $1"), shown.length, here.length) : count("$0 way", "$0 ways", here.length));
        const more = Math.max(0, shown.length - MOST);
        show(this.more, more);
        say(this.more, count("and $0 more way, which the filter finds", "and $0 more ways, which the filter finds", more));
        keep(this.table, shown.slice(0, MOST), {
            key: row => row.key,
            make: row => this.make(row),
            fill: (node, row) => this.fill(node, row),
            after: this.head,
        });
        show(this.none, !shown.length);
        show(this.table, shown.length);
    }

    make(row) {
        const body = h("tbody");
        const toggle = h("button", { type: "button", class: "toggle", "aria-expanded": "false", click: () => this.toggle(body) });
        const labels = [_("Container"), _("Network"), _("Way")];
        body.append(h("tr", null, h("th", { scope: "row" }, toggle, h("span", { class: "name" })), labels.map(label => h("td", { "data-label": label }))));
        return body;
    }

    fill(body, row) {
        body.row = row;
        const [first] = body.rows;
        body.className = row.state;
        const [port, container, network, way] = first.cells;
        const what = { out: _("way out"), self: "–", none: _("no port"), in: row.port }[row.kind] ?? KINDS[row.kind] ?? row.kind;
        port.lastChild.replaceChildren(row.kind === "in" ? theirs(row.port) : h("span", { class: "faint" }, what));
        set(port, "aria-label", clean(what));
        show(port.firstChild, row.state !== "none");
        set(port.firstChild, "aria-label", format(_("Hops of $0, $1"), clean(what), clean(row.container || row.network)));
        container.replaceChildren(row.container ? this.link("container", row.container) : h("span", { class: "faint" }, _("all on it")));
        const names = row.network.split(", ").filter(Boolean);
        network.replaceChildren(...(names.length ? [h("div", null, names.flatMap((name, at) => [at ? ", " : null, this.link("network", name)]))] : []));
        way.replaceChildren(h("div", null, verdict(row)));
        this.open(body, this.opened.has(row.key));
    }

    toggle(body) {
        const key = body.row.key;
        if (this.opened.delete(key)) {
            this.open(body, false);
            return;
        }
        this.opened.set(key, true);
        this.hops.delete(key);
        this.open(body, true);
    }

    open(body, isOpen) {
        const toggle = body.rows[0].cells[0].firstChild;
        set(toggle, "aria-expanded", String(isOpen));
        if (isOpen && !body.rows[1]) {
            const id = `hops-${number++}`;
            set(toggle, "aria-controls", id);
            body.append(h("tr", { id, class: "opened" }, h("td", { colspan: 4 })));
        }
        if (body.rows[1])
            show(body.rows[1], isOpen);
        if (isOpen) {
            this.hopsOf(body.row, body.rows[1].cells[0]);
            if (!this.hops.has(body.row.key))
                this.ask(body.row, body.row.state + body.row.hop + body.row.why);
        }
    }

    ask(row, is) {
        const answer = this.explain(row.target);
        this.hops.set(row.key, { ...this.hops.get(row.key), is });
        const done = found => {
            this.hops.set(row.key, { is, ...found });
            const body = this.table.kept?.get(row.key)?.node;
            if (body?.rows[1] && this.opened.has(row.key))
                this.hopsOf(row, body.rows[1].cells[0]);
        };
        if (answer)
            answer.then(ways => done({ ways }), error => done({ why: error.message || String(error) }));
        else
            done({ isDeaf: true, why: _("podwatch does not answer on the bus: only the first hop that keeps the way from being open is known.") });
    }

    hopsOf(row, cell) {
        const known = this.hops.get(row.key);
        const parts = [];
        const mine = (known?.ways || []).filter(way => isOf(way, row));
        for (const way of mine) {
            parts.push(h("h4", null, told(way.title)), h("ol", { class: "hops" }, way.hops.map(hop => h("li", { class: hop.mark },
                mark(hop.mark), h("span", { class: "place" }, told(hop.place), h("span", { class: "unseen" }, ` ${MARKS[hop.mark] || ""}`)),
                h("span", { class: "what" }, told(hop.what), advised(hop.advice))))));
        }
        if (!mine.length) {
            if (row.hop || row.why)
                parts.push(h("ol", { class: "hops" }, h("li", { class: row.state }, mark(row.state),
                    h("span", { class: "place" }, told(row.hop || "…")), h("span", { class: "what" }, reason(row), advised(row.advice)))));
            parts.push(h("p", { class: "faint" }, known?.why ?? (known?.ways ? _("podwatch knows no hops of it.") : _("Asking podwatch …"))));
        } else if (row.kind === "in" && SAFE.test(row.target))
            parts.push(h("p", { class: "faint" }, _("In a terminal this says also who holds the port, and who listens:"), " ", h("code", null, `sudo podwatch explain ${row.target}`)));
        if (row.since)
            parts.push(h("p", { class: "faint" }, format(_("Like this since $0"), exactly(row.since))));
        cell.replaceChildren(...parts);
    }
}

// Names that a shell takes as they are.
const SAFE = /^[a-zA-Z0-9][\w.-]*$/;

function isOf(way, row) {
    if (row.kind === "self" || row.kind === "none")
        return true;
    const isIn = row.kind === "in" && (way.kind === "in" || way.kind === "host") && (way.title.split(" → ")[0] === row.port);
    return isIn || (row.kind !== "in" && way.kind === row.kind);
}

// A command, or a sentence with one in it.
export const advised = advice => advice ? h("div", { class: "advice" }, told(advice)) : null;

// What the page says of a row is in the reader's language; what podwatch says is not.
const reason = row => row.kind === "none" || row.isOurs ? clean(row.why) : told(row.why);

function verdict(row) {
    if (row.state === "none")
        return [h("span", { class: "faint" }, row.why)];
    const words = row.was ? format(_("unknown, last seen $0"), MARKS[row.was]) : MARKS[row.state];
    const parts = [mark(row.state, words)];
    if (row.hop)
        parts.push(" · ", h("b", { class: "hop" }, told(row.hop)));
    if (row.part)
        parts.push(" · ", h("span", { class: "faint" }, row.part));
    if (row.why)
        parts.push(h("div", { class: "why" }, reason(row)));
    return parts;
}
