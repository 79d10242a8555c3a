// SPDX-License-Identifier: Apache-2.0
// The headline: how it stands since when, what to do about it, and what can be done from here.

import { _, STATES, clean, exactly, format, moment } from "./words.js";
import { h, mark, say, set, show, told } from "./dom.js";

const FOREVER = 1e15;

const label = (words, id) => h("span", { class: "label", id, hidden: true }, words);

export class Headline {
    constructor({ look, pause, resume, restore, start }) {
        const button = (id, words, click, kind = "") => h("button", { type: "button", id, class: kind, click }, words);
        this.state = h("div", { id: "state", role: "status" });
        this.summary = h("p", { id: "summary", "aria-live": "polite" });
        this.advice = h("div", { id: "advice" });
        this.paused = h("p", { id: "paused", "aria-live": "polite", hidden: true });
        this.working = h("p", { id: "working", "aria-live": "polite", hidden: true });
        this.dry = label(_("Dry run: nothing is repaired"), "dry-run");
        this.wrong = h("p", { class: "wrong", role: "alert", hidden: true });
        this.look = button("look", _("Look now"), () => this.doing(this.look, look));
        this.pause = button("pause", _("Pause"), pause);
        this.resume = button("resume", _("Resume"), () => this.doing(this.resume, resume), "primary");
        this.restore = button("restore", _("Restore"), restore);
        this.start = button("start-again", _("Start podwatch"), () => this.doing(this.start, start), "primary");
        this.rights = h("p", { id: "rights", class: "faint", hidden: true });
        this.node = h("header", null,
                      h("div", { class: "says" }, this.state, this.dry, this.summary, this.advice, this.paused, this.working, this.wrong),
                      h("div", { class: "acts" }, h("div", { class: "buttons", role: "group", "aria-label": _("Actions") }, this.start, this.resume, this.look, this.restore, this.pause), this.rights));
    }

    async doing(button, act) {
        this.used = document.activeElement === button ? button : null;
        button.disabled = true;
        button.setAttribute("aria-busy", "true");
        show(this.wrong, false);
        try {
            await act();
        } catch (error) {
            say(this.wrong, clean(error.message || error));
            show(this.wrong, true);
        }
        button.removeAttribute("aria-busy");
        button.disabled = false;
        this.permit();
    }

    update(shown, access) {
        this.access = access;
        this.shown = shown;
        const state = STATES[shown.state];
        const words = shown.since ? format(_("$0 since $1"), state, moment(shown.since)) : state;
        if (this.words !== words + shown.state) {
            this.words = words + shown.state;
            this.state.className = `headline ${shown.state}`;
            this.state.replaceChildren(mark(shown.state, words));
            if (shown.since)
                set(this.state.firstChild, "title", exactly(shown.since));
        }
        this.summary.replaceChildren(...same(this.summary, shown.sentence || told(shown.theirs)));
        this.advice.replaceChildren(...same(this.advice, shown.advice ? told(shown.advice, { class: "advice" }) : ""));
        show(this.dry, shown.dry);
        show(this.paused, shown.isPaused && !shown.doubt);
        this.paused.replaceChildren(...same(this.paused, pauseOf(shown)));
        const working = [shown.restoring ? format(_("Restoring: $0"), clean(shown.restoring)) : "",
                         shown.fight ? format(_("Flapping: $0"), clean(shown.fight)) : "",
                         shown.waiting && !shown.isPaused && shown.waiting !== shown.restoring ? clean(shown.waiting) : ""].filter(Boolean).join(" · ");
        say(this.working, working);
        show(this.working, working);
        this.permit();
    }

    permit() {
        const { may, served, own, asking } = this.access;
        const { doubt, isPaused } = this.shown;
        const isDown = doubt === "stopped" || doubt === "silent";
        show(this.start, doubt === "stopped" && !own);
        show(this.resume, isPaused && !isDown && !own);
        for (const button of [this.look, this.restore, this.pause])
            show(button, !own);
        const why = !served ? _("podwatch does not answer on the bus.") : may ? "" : _("Needs administrative access.");
        const guarded = [this.pause, this.resume, this.restore];
        for (const button of [...guarded, this.start, this.look]) {
            if (button.hasAttribute("aria-busy"))
                continue;
            const needed = button === this.start ? (may ? "" : _("Needs administrative access.")) : button === this.look ? (served ? "" : why) : why;
            button.disabled = Boolean(needed);
            set(button, "title", needed);
            if (needed)
                set(button, "aria-describedby", "rights");
            else
                button.removeAttribute("aria-describedby");
        }
        const says = asking ? "" : own ? _("For your own containers, in a terminal: podwatch pause, resume, restore.")
            : why === _("Needs administrative access.") ? _("To pause, resume and restore, administrative access is needed.") : why;
        say(this.rights, says);
        show(this.rights, says);
        this.keepFocus();
    }

    // A button that goes away once it was used would take the focus with it, to the top of the page.
    keepFocus() {
        const at = document.activeElement;
        if (this.used && (at === document.body || at === this.used)) {
            const stays = [this.used, this.pause, this.look].find(each => !each.hidden && !each.disabled);
            if (stays && stays !== at)
                stays.focus();
        } else {
            this.used = null;
        }
    }
}

function pauseOf(shown) {
    const until = shown.paused >= FOREVER ? _("Paused until resumed") : shown.paused ? format(_("Paused until $0"), moment(shown.paused)) : "";
    const reason = shown.pause.split(": ").slice(1).join(": ");
    return h("span", null, h("span", { class: "mark paused" }, h("span", { class: "glyph", "aria-hidden": "true" }, "‖")), " ",
             until || told(shown.pause), until && reason ? [": ", told(reason)] : null);
}

// What is there already where that says the same: a live region speaks only of what is new.
function same(parent, content) {
    const text = content.textContent ?? content;
    return parent.textContent === text ? [...parent.childNodes] : [content];
}
