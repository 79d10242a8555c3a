// SPDX-License-Identifier: Apache-2.0
// The page: puts together what is heard and what is shown. Everything is drawn from one place, after
// any fact has changed; what is the same stays as it is.

import { _, STATES, cockpit, clean, format } from "./words.js";
import { Bus, startUnit, watchAccess, watchUnit } from "./bus.js";
import { Clock, HOST, StatusFile, ofUser, users } from "./host.js";
import { Empty } from "./empty.js";
import { Headline } from "./headline.js";
import { Incidents } from "./incidents.js";
import { MOST_IN_PICTURE, chosen, distrust, headline, incidents, lastIncident, picture, rowsOf } from "./model.js";
import { Picture } from "./picture.js";
import { Remarks } from "./remarks.js";
import { Table } from "./table.js";
import { askPause, askRemove, askRestore } from "./dialogs.js";
import { h, keep, mark, say, set, show, theirs, told } from "./dom.js";

const TICK_S = 5;
const CLOCK_S = 60;
// So long what can be said at once waits for what makes it sure.
const PATIENCE_MS = 3000;
// So long nobody is said not to answer.
const ANSWER_MS = 1000;

function theme(event) {
    const style = event?.detail?.style || localStorage.getItem("shell:style") || "auto";
    const isDark = style === "dark" || (style === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
    for (const name of ["pf-v6-theme-dark", "pf-theme-dark"])
        document.documentElement.classList.toggle(name, isDark);
}

const path = (kind, name) => `#/${kind}/${encodeURIComponent(name)}`;

function link(kind, name) {
    return h("a", { href: path(kind, name), class: "name", click: event => {
        if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
            try {
                cockpit.location.go([kind, name]);
                event.preventDefault();
            } catch { /* the address of now cannot be read: the browser follows the link */ }
        }
    } }, theirs(name));
}

class Page {
    constructor() {
        const changed = () => this.change();
        this.may = null;
        this.unit = undefined;
        this.own = false;
        this.incidents = null;
        this.pending = false;
        this.build();
        this.clock = new Clock(changed);
        this.files = [new StatusFile(HOST, changed)];
        this.bus = new Bus({ changed, incident: () => this.askIncidents() });
        watchUnit(unit => {
            if (this.unit === undefined)
                setTimeout(changed, ANSWER_MS + 10);
            this.askedSince ??= performance.now();
            this.unit = unit;
            this.bus.follow(unit?.active === "active" || unit?.active === "reloading");
            changed();
        });
        watchAccess(may => { this.may = may; changed(); this.askUsers(); });
        cockpit.user().then(user => {
            if (user.id)
                this.files.push(new StatusFile(ofUser(user.id), changed));
        });
        cockpit.addEventListener("locationchanged", changed);
        setTimeout(changed, PATIENCE_MS + 10);
        setInterval(changed, TICK_S * 1000);
        setInterval(() => { this.clock.ask(); this.askUsers(); }, CLOCK_S * 1000);
        document.addEventListener("visibilitychange", () => { this.clock.ask(); changed(); });
    }

    build() {
        const start = () => startUnit();
        this.headline = new Headline({
            look: () => this.bus.look(), resume: () => this.bus.resume(), start,
            pause: () => askPause((seconds, reason) => this.bus.pause(seconds, reason)),
            restore: () => askRestore(isDry => this.bus.restore(isDry), () => this.bus.resume(), this.shown.isPaused),
        });
        this.empty = new Empty(start);
        this.picture = new Picture(link);
        this.table = new Table({ link, explain: target => this.bus.isServed && !this.own ? this.bus.explain(target) : null });
        this.incidentsView = new Incidents();
        this.remarks = new Remarks(() => askRemove(isDry => this.bus.remove(isDry)));
        const choice = (words, own) => h("button", { type: "button", "aria-pressed": "false", click: () => { this.own = own; this.change(); } }, words);
        this.choices = [choice(_("This host"), false), choice(_("My containers"), true)];
        this.whose = h("div", { class: "switch", role: "group", "aria-label": _("Whose containers"), hidden: true }, this.choices);
        this.where = h("nav", { "aria-label": _("Breadcrumb"), class: "where", hidden: true });
        this.many = h("p", { class: "faint", hidden: true });
        this.bareSays = h("p");
        this.bareMore = h("p", null, _("What Podman publishes shows here as soon as a container starts."));
        this.bare = h("div", { class: "empty", hidden: true }, this.bareSays, this.bareMore);
        this.users = h("ul", { class: "remarks", role: "list" });
        this.usersCard = h("section", { class: "card", id: "users", "aria-labelledby": "users-title", hidden: true },
                           h("h2", { id: "users-title" }, _("Users' own containers")), h("p", { class: "faint" }, _("Each as that user's own podwatch tells it.")), this.users);
        const section = (title, ...content) => h("section", { class: "card", "aria-label": title }, h("h2", null, title), ...content);
        this.ways = section(_("Ways"), this.many, this.picture.node, this.bare, this.table.node);
        this.happened = section(_("Incidents"), this.incidentsView.node);
        this.body = h("div", { class: "body", hidden: true }, this.headline.node, this.where, this.ways,
                      h("div", { class: "cards" }, this.happened, ...this.remarks.nodes, this.usersCard));
        this.failedWhy = h("code");
        this.failed = h("div", { class: "empty-state", role: "status", hidden: true }, h("div", { class: "headline unknown" }, mark("unknown", STATES.unknown)),
                        h("h2", null, _("This page cannot show the status of podwatch")),
                        h("p", null, _("How the networks stand is not known here. In a terminal, podwatch status says it.")), h("p", null, this.failedWhy));
        document.body.append(h("main", null, h("div", { class: "top" }, h("h1", null, _("Container networks")), this.whose), this.failed, this.empty.node, this.body));
    }

    change() {
        if (this.pending)
            return;
        this.pending = true;
        queueMicrotask(() => { this.pending = false; this.tryDraw(); });
    }

    // What cannot be drawn is told as such: nothing that was drawn before, or half, stays as if it were so.
    tryDraw() {
        try {
            this.draw();
        } catch (error) {
            const why = clean(error.message || error);
            if (this.failed.hidden || this.failedWhy.textContent !== why)
                console.error(error);
            say(this.failedWhy, why);
            show(this.failed, true);
            show(this.empty.node, false);
            show(this.body, false);
            document.body.dataset.state = "unknown";
        }
    }

    draw() {
        const own = this.files[1];
        show(this.whose, own?.found?.document);
        this.own = this.own && Boolean(own?.found?.document);
        for (const [at, button] of this.choices.entries())
            set(button, "aria-pressed", String(this.own === Boolean(at)));
        const file = this.own ? own : this.files[0];
        const isSoon = performance.now() < PATIENCE_MS;
        if (!file.found || (isSoon && (this.unit === undefined || (this.clock.now === null && file.found.document))))
            return;
        const isGone = !this.own && this.unit?.load === "not-found" && !["active", "reloading"].includes(this.unit.active);
        const { document: found, problem } = isGone ? { problem: "absent" } : file.found;
        show(this.empty.node, problem);
        show(this.body, !problem);
        if (problem)
            this.empty.update(isGone ? { problem } : file.found, this.unit, this.may);
        else
            this.drawDocument(found, file);
        show(this.failed, false);
        if (!document.body.dataset.state)
            performance.mark("shown");
        document.body.dataset.state = problem || this.shown.state;
    }

    drawDocument(found, file) {
        const silent = file.silent(this.clock.now);
        const doubt = distrust(found, { silent, unit: this.own ? null : this.unit });
        const isOld = doubt !== "";
        document.body.classList.toggle("old", isOld);
        this.shown = headline(found, doubt, { silent, paused: this.own ? 0 : this.bus.pausedUntil || 0 });
        const isAsking = this.unit?.active === "active" && performance.now() < this.askedSince + ANSWER_MS && (this.may === null || !this.answered);
        this.headline.update(this.shown, { asking: isAsking, may: Boolean(this.may), served: this.bus.isServed, own: this.own });
        const rows = rowsOf(found, isOld);
        const place = this.place();
        this.drawWays(found, rows, place, isOld);
        const given = this.own || !this.incidents ? lastIncident(found, isOld) : this.incidents;
        if (show(this.incidentsView.node, this.own || !isAsking))
            this.incidentsView.update(given, !this.own && Boolean(this.incidents), this.clock.now || Date.now() / 1000, 0);
        this.remarks.update(found, isOld, this.may && this.bus.isServed && !this.own, this.may);
    }

    drawWays(found, rows, place, isOld) {
        const part = { ...found, containers: found.containers.filter(each => !place.kind || (place.kind === "container" ? each.name === place.name
            : each.networks.some(on => on.network === place.name))) };
        const names = new Set(part.containers.flatMap(each => each.networks.map(on => on.network)));
        if (place.kind)
            part.networks = found.networks.filter(each => (place.kind === "network" ? each.name === place.name : names.has(each.name)));
        const isSmall = part.containers.length > 0 && part.containers.length <= MOST_IN_PICTURE;
        if (show(this.picture.node, isSmall))
            this.picture.update(picture(part, rows.filter(row => chosen(row, place)), isOld));
        show(this.many, part.containers.length > MOST_IN_PICTURE);
        say(this.many, format(_("The picture is drawn for up to $0 containers; choose a network to see its part."), MOST_IN_PICTURE));
        const isThere = part.containers.length > 0 || (place.kind === "network" && part.networks.length > 0);
        show(this.bare, !isThere);
        show(this.bareMore, !found.containers.length);
        say(this.bareSays, !found.containers.length ? _("No container is up on this host.")
            : place.kind === "network" ? format(_("No container is on a network called $0."), clean(place.name)) : format(_("No container called $0 is up."), clean(place.name || "")));
        show(this.table.node, found.containers.length > 0 || rows.length > 0);
        this.table.update(rows, place);
        show(this.where, place.kind);
        if (place.kind && this.where.dataset.at !== place.kind + place.name) {
            this.where.dataset.at = place.kind + place.name;
            const all = h("a", { href: "#/", click: event => { event.preventDefault(); cockpit.location.go([]); } }, _("All containers"));
            this.where.replaceChildren(all, h("span", { "aria-hidden": "true" }, " › "), place.kind === "network" ? `${_("Network")} ` : "",
                                       h("span", { "aria-current": "page" }, theirs(place.name)));
        }
    }

    place() {
        let kind, name;
        try {
            [kind, name] = cockpit.location.path;
        } catch { /* an address that is none leads to all of them */ }
        return (kind === "container" || kind === "network") && name ? { kind, name } : {};
    }

    askIncidents() {
        const take = found => {
            this.incidents = found;
            this.answered = true;
            this.change();
        };
        if (this.bus.isServed)
            this.bus.incidents().then(found => take(incidents(found)), () => take(null));
        else
            take(null);
    }

    askUsers() {
        if (!this.may || document.hidden)
            return;
        users().then(found => {
            show(this.usersCard, found.some(each => each.state));
            keep(this.users, found.filter(each => each.state), {
                key: each => String(each.uid),
                make: () => h("li"),
                fill: (node, each) => {
                    node.className = each.state;
                    node.replaceChildren(mark(each.state), h("div", null, theirs(each.user || each.uid), `: ${STATES[each.state] || each.state}`,
                        h("div", { class: "faint" }, told(each.why || each.claim?.summary || ""))));
                },
            });
        }, () => show(this.usersCard, false));
    }
}

theme();
for (const name of ["storage", "cockpit-style"])
    window.addEventListener(name, theme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme());
document.documentElement.lang = (cockpit.language || "en").replace("_", "-");
document.documentElement.dir = cockpit.language_direction || "ltr";
document.title = _("Container networks");
new Page();
