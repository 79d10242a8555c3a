// SPDX-License-Identifier: Apache-2.0
// What is shown where there is no status to show: why, and the one thing to do about it.

import { _, clean, cockpit } from "./words.js";
import { h, say, show } from "./dom.js";

const LOGS = ["logs", _("View in the logs")];
const toLogs = () => cockpit.jump("/system/logs/#/?prio=info&tag=podwatch");
const START = ["start", _("Start podwatch")];

// Title, text and the one button for each of these.
function told(problem, unit) {
    const runs = unit && (unit.active === "active" || unit.active === "activating");
    if (unit && unit.load === "not-found")
        return [_("podwatch is not installed"), _("This page shows what the package podwatch sees."), null];
    if (problem === "absent" || problem === "early") {
        return runs ? [_("podwatch has not looked yet"), _("It has started, and its first look at the host is not over."), LOGS]
            : [_("podwatch is not running"), _("Nobody keeps watch over the networks of Podman's containers on this host."), START];
    }
    if (problem === "schema")
        return [_("podwatch and this page are of different versions"), _("Update the packages podwatch and cockpit-podwatch to the same version."), null];
    if (problem === "old")
        return [_("podwatch is too old for this page"), _("Its status does not say which ways are open. Update the package podwatch, and restart podwatch.service."), null];
    return [_("The status of podwatch cannot be read"), _("The reason is below, and in the logs."), LOGS];
}

export class Empty {
    constructor(start) {
        this.start = start;
        this.node = h("div", { class: "empty-state", role: "status", hidden: true });
        this.is = "";
        this.wrong = h("p", { class: "wrong", role: "alert" });
        this.logs = h("button", { type: "button", class: "link", hidden: true, click: toLogs }, LOGS[1]);
    }

    // What went wrong stays while systemd tells of the unit, which draws all of this anew.
    async begin(button) {
        button.disabled = true;
        say(this.wrong, "");
        show(this.logs, false);
        try {
            await this.start();
        } catch (error) {
            say(this.wrong, clean(error.message));
            show(this.logs, true);
        }
        button.disabled = false;
    }

    update({ problem, why }, unit, may) {
        const is = JSON.stringify([problem, why, unit?.active, unit?.load, may]);
        if (this.is === is)
            return;
        this.is = is;
        const [title, text, act] = told(problem, unit);
        const button = act === START
            ? h("button", { type: "button", class: "primary", id: "start", disabled: !may, "aria-describedby": may ? null : "rights-start",
                            click: event => this.begin(event.target) }, act[1])
            : act ? h("button", { type: "button", class: "link", click: toLogs }, act[1]) : null;
        this.node.replaceChildren(h("div", { class: "sign", "aria-hidden": "true" }, "?"), h("h2", null, title), h("p", null, text),
                                  why ? h("p", null, h("code", null, clean(why))) : "", button || "",
                                  act === START && !may ? h("p", { class: "faint", id: "rights-start" }, _("Needs administrative access.")) : "",
                                  this.wrong, act === LOGS ? "" : this.logs);
    }
}
