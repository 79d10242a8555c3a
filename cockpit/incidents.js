// SPDX-License-Identifier: Apache-2.0
// Incidents, the newest first, and the last day of them as a bar.

import { _, cockpit, clean, count, exactly, format, lasted, moment } from "./words.js";
import { h, keep, mark, set, show, svg, say, theirs, told } from "./dom.js";

const DAY = 86400;
const MOST = 5;

export class Incidents {
    constructor() {
        this.bar = svg("svg", { class: "bar", role: "img", viewBox: "0 0 1440 24", preserveAspectRatio: "none" });
        this.says = h("p", { class: "day" });
        this.list = h("ul", { class: "incidents", role: "list" });
        this.empty = h("p", { class: "empty" });
        this.note = h("p", { class: "faint" });
        this.more = h("button", { type: "button", class: "link", click: () => { this.all = !this.all; this.update(...this.given); } });
        this.logs = h("button", { type: "button", class: "link", click: () => cockpit.jump(`/system/logs/#/?prio=info&tag=podwatch&since=${encodeURIComponent(this.since)}`) },
                      _("View in the logs"));
        this.since = "-24hours";
        this.node = h("div", { id: "incidents" }, this.says, this.bar,
                      h("div", { class: "scale", "aria-hidden": "true" }, h("span", null, _("24 hours ago")), h("span", null, _("now"))),
                      this.list, this.empty, this.more, this.note, this.logs);
    }

    // `whole` says that these are all; else they are the one that the status tells of.
    update(incidents, whole, now, started) {
        this.given = [incidents, whole, now, started];
        const last = incidents.filter(each => (each.ended || now) > now - DAY);
        const says = whole ? count("$0 incident in the last 24 hours", "$0 incidents in the last 24 hours", last.length)
            : _("Only the last incident is known here.");
        say(this.says, says);
        set(this.bar, "aria-label", says);
        show(this.bar.parentNode.querySelector(".scale"), whole);
        this.bar.toggleAttribute("hidden", !whole);
        keep(this.bar, last.map(each => {
            const from = Math.max(0, (each.began - now + DAY) / 60), to = ((each.ended || now) - now + DAY) / 60;
            return { id: each.id || each.began, from: Math.round(Math.min(from, 1436)), wide: Math.round(Math.max(4, to - from)), is: each.outcome };
        }), {
            key: each => String(each.id),
            make: () => svg("rect", { y: 0, height: 24 }),
            fill: (node, each) => {
                set(node, "x", String(each.from));
                set(node, "width", String(each.wide));
                set(node, "class", each.is === "restored" ? "restored" : each.is === "open" ? "open" : "told");
            },
        });
        keep(this.list, incidents.slice(0, this.all ? 200 : MOST).map(each => ({ ...each, day: moment(each.began) })), {
            key: each => String(each.id || each.began),
            make: () => h("li"),
            fill: (node, each) => node.replaceChildren(...entry(each).filter(Boolean)),
        });
        show(this.more, incidents.length > MOST);
        say(this.more, this.all ? _("Show fewer") : format(_("Show all $0"), incidents.length));
        show(this.empty, whole && !incidents.length);
        say(this.empty, started ? format(_("No incident since $0."), exactly(started)) : _("No incident."));
        const [oldest] = incidents.slice(0, MOST).slice(-1);
        this.since = oldest ? `@${Math.floor(oldest.began) - 60}` : "-24hours";
    }
}

function entry(each) {
    const over = each.outcome !== "open" && each.outcome !== "unknown";
    const who = [each.unit, each.user].filter(Boolean).map(clean).join(", ");
    const state = over ? (each.outcome === "restored" ? "open" : "note") : each.outcome === "open" ? "broken" : "unknown";
    const took = over ? format(_("restored after $0"), lasted(each.took_ms / 1000)) : each.outcome === "open" ? _("still going on") : _("its end is not known");
    const outcome = each.outcome === "told" ? format(_("over after $0"), lasted(each.took_ms / 1000)) : took;
    return [
        h("div", { class: "when" }, mark(state), h("time", { title: exactly(each.began) }, each.day),
          h("span", { class: "outcome" }, outcome)),
        h("div", { class: "what" }, told(each.what)),
        each.cause || who ? h("div", { class: "who" }, h("span", { class: "faint" }, `${_("Who")}: `), each.cause ? told(each.cause) : _("not known"),
                              who && !each.cause.includes(who) ? h("span", { class: "faint" }, " (", theirs(who), ")") : null) : null,
        each.how.length ? h("div", { class: "how" }, h("span", { class: "faint" }, `${_("How")}: `), told(each.how.join("; "))) : null,
    ];
}
