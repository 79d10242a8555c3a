// SPDX-License-Identifier: Apache-2.0
// Beside the ways: what is odd, blocked or unknown, who else adds rules, DHCP, names, guard, leftovers.

import { _, cockpit, clean, count, exactly, format } from "./words.js";
import { remarks } from "./model.js";
import { advised } from "./table.js";
import { h, keep, mark, say, show, theirs, told } from "./dom.js";

const card = (id, title, ...content) => h("section", { class: "card", id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...content);

const list = () => h("ul", { class: "remarks", role: "list" });

function fill(node, each) {
    node.className = each.state;
    node.replaceChildren(mark(each.state === "info" ? "note" : each.state),
                         h("div", null, each.isOurs ? clean(each.what) : told(each.what), each.why ? h("div", { class: "faint" }, told(each.why)) : null, advised(each.advice)));
}

const keepAll = (parent, entries) => keep(parent, entries, { key: each => each.what, make: () => h("li"), fill });

export class Remarks {
    // `remove` opens the dialog that takes leftovers away.
    constructor(remove) {
        this.entries = list();
        this.units = h("p", { class: "units" });
        this.nothing = h("p", { class: "empty" }, _("No notes."));
        this.firewall = h("button", { type: "button", class: "link", click: () => cockpit.jump("/network/firewall") }, _("Firewall of this host"));
        this.podman = h("button", { type: "button", class: "link", click: () => cockpit.jump("/podman") }, _("Podman containers"));
        this.neighbours = card("neighbours", _("Neighbours and notes"), this.entries, this.units, this.nothing, h("p", { class: "links" }, this.podman, " ", this.firewall));
        this.left = list();
        this.needs = h("p", { class: "faint", id: "rights-take" }, _("Needs administrative access."));
        this.take = h("button", { type: "button", class: "danger", id: "take-away", "aria-describedby": "rights-take", click: () => remove(this.found.left.map(each => each.what)) }, _("Take away"));
        this.leftovers = card("leftovers", _("Leftovers"), h("p", { class: "faint" }, _("Rules of containers that have gone. They can hide a container that publishes the same port now.")), this.left, this.take, this.needs);
        this.lease = h("tbody");
        this.dhcpSays = h("p");
        this.dhcpAdvice = h("div");
        this.leases = h("table", { class: "plain" }, h("caption", { class: "unseen" }, _("DHCP leases")),
                        h("thead", null, h("tr", null, [_("Container"), _("Network"), _("Address"), _("Next renewal")].map(title => h("th", { scope: "col" }, title)))), this.lease);
        this.dhcp = card("dhcp", _("Addresses by DHCP"), this.dhcpSays, this.dhcpAdvice, this.leases);
        this.facts = h("dl", { class: "facts" });
        this.about = card("about", _("How podwatch keeps watch"), this.facts);
        this.nodes = [this.leftovers, this.neighbours, this.dhcp, this.about];
    }

    update(document, old, canRemove, may) {
        this.found = remarks(document, old);
        keepAll(this.entries, this.found.entries);
        const units = document.neighbours.map(clean).join(", ");
        say(this.units, units ? format(_("Units that add rules of their own: $0"), units) : "");
        show(this.units, units);
        show(this.nothing, !this.found.entries.length && !units);
        const manifests = cockpit.manifests || {};
        show(this.podman, manifests.podman);
        show(this.firewall, manifests.networkmanager || manifests.network);
        keepAll(this.left, this.found.left);
        show(this.leftovers, this.found.left.length);
        this.take.disabled = !canRemove || old;
        show(this.needs, !may);
        this.updateDhcp(document.dhcp, old);
        this.updateFacts(document);
    }

    updateDhcp(dhcp, old) {
        if (!show(this.dhcp, dhcp.state))
            return;
        const state = old ? "unknown" : dhcp.state;
        const socket = dhcp.socket.unit ? format(_("$0 is $1"), clean(dhcp.socket.unit), clean(dhcp.socket.active)) : "";
        this.dhcpSays.replaceChildren(mark(state), " ", told(dhcp.summary), h("div", { class: "faint" }, socket), h("div", { class: "faint" }, told(dhcp.next_try)));
        this.dhcpAdvice.replaceChildren(...[advised(dhcp.advice)].filter(Boolean));
        show(this.leases, dhcp.containers.length);
        keep(this.lease, dhcp.containers, {
            key: each => `${each.name}\n${each.network}`,
            make: () => h("tr", null, h("th", { scope: "row" }), h("td"), h("td"), h("td")),
            fill: (node, each) => {
                const [name, network, address, next] = node.cells;
                name.replaceChildren(theirs(each.name));
                network.replaceChildren(theirs(each.network));
                address.replaceChildren(theirs(each.address || "–"));
                next.replaceChildren(each.known ? (each.renews_at ? exactly(each.renews_at) : mark("ok", _("renewed"))) : mark("broken", _("not known to the DHCP proxy")));
            },
        });
    }

    updateFacts(document) {
        const { guard, counters } = document;
        const guarded = { off: _("off"), anchor: _("an anchor"), full: format(_("full: $0 of $1"), count("$0 port", "$0 ports", guard.ports), count("$0 container", "$0 containers", guard.containers)) };
        const facts = [
            [_("Guard"), guard.mode ? guarded[guard.mode] || guard.mode : "", guard.why],
            [_("Carried by the guard"), guard.carried ? count("$0 connection", "$0 connections", guard.carried) : "", ""],
            [_("Name server"), document.watchers.names === "listening" ? _("watched") : document.watchers.names, ""],
            [_("Last look"), document.last_look.at ? exactly(document.last_look.at) : "", document.last_look.cause],
            [_("Looks"), String(counters.looks), ""],
            [_("Incidents"), counters.incidents ? format(_("$0, restored $1, failed $2"), counters.incidents, counters.restored, counters.failed) : "0", ""],
            [_("Version"), document.version, ""],
        ].filter(([, what]) => what);
        keep(this.facts, facts, {
            key: ([name]) => name,
            make: () => h("div", null, h("dt"), h("dd")),
            fill: (node, [name, what, why]) => {
                say(node.firstChild, name);
                node.lastChild.replaceChildren(theirs(what), why ? h("div", { class: "faint" }, told(why)) : "");
            },
        });
    }
}
