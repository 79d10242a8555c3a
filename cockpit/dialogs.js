// SPDX-License-Identifier: Apache-2.0
// Dialogs before anything is done, in the browser's own element for that: it keeps the focus inside,
// Escape closes it, and the focus goes back to where it was.

import { _, clean } from "./words.js";
import { h, say, set, show } from "./dom.js";

const LONG_MS = 5000;

let number = 0;

// `act` gives a promise of lines to show, or of none. What podwatch has been asked for cannot be taken
// back: until it answers the dialog stays, and where that is long it says so before it may be closed.
function dialog({ title, content = [], verb, isDanger = false, act, first = null }) {
    const id = `dialog-${number++}`;
    const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
    const asked = h("p", { tabindex: "-1", class: "asked", role: "status" });
    const lines = h("pre", { class: "lines", lang: "en", tabindex: "0", hidden: true });
    const said = h("div", { role: "status" }, lines);
    const cancel = h("button", { type: "button", click: () => node.close() }, _("Cancel"));
    const go = h("button", { type: "submit", class: isDanger ? "danger" : "primary" }, verb);
    const form = h("form", { submit: event => { event.preventDefault(); run(); } },
                   h("h2", { id }, title), ...content, wrong, said, asked, h("div", { class: "buttons" }, go, cancel));
    const node = h("dialog", { role: "dialog", "aria-modal": "true", "aria-labelledby": id, close: () => node.remove(),
                               cancel: event => isAsked && event.preventDefault() }, form);
    let isAsked = false;
    // A browser closes a dialog at the second Escape whatever the first was answered.
    const stay = event => event.key === "Escape" && event.preventDefault();

    // What was done podwatch says, in English; where it says nothing, the page does.
    const tell = (text, ours = "") => {
        show(lines, text || ours);
        set(lines, "lang", text ? "en" : document.documentElement.lang);
        say(lines, clean_lines(text || ours));
    };

    function under(way) {
        isAsked = way;
        for (const each of [go, cancel, ...form.querySelectorAll("input")])
            each.disabled = way;
        node.setAttribute("aria-busy", String(way));
        say(asked, way ? _("podwatch has been asked, and this cannot be taken back. Waiting for its answer …") : "");
        document[way ? "addEventListener" : "removeEventListener"]("keydown", stay, true);
    }

    async function run() {
        if (isAsked)
            return;
        show(wrong, false);
        under(true);
        asked.focus();
        const long = setTimeout(() => {
            say(asked, _("podwatch has not answered yet, and may still do it, even when this is closed."));
            say(cancel, _("Close"));
            cancel.disabled = false;
        }, LONG_MS);
        try {
            const text = await act();
            under(false);
            if (text === undefined || text === null) {
                node.close();
                return;
            }
            tell(text, _("There was nothing to do."));
            go.remove();
            say(cancel, _("Close"));
            cancel.focus();
        } catch (error) {
            under(false);
            say(cancel, _("Cancel"));
            say(wrong, clean(error.message || error));
            show(wrong, true);
            go.focus();
        } finally {
            clearTimeout(long);
        }
    }

    document.body.append(node);
    node.addEventListener("close", () => document.removeEventListener("keydown", stay, true));
    node.showModal();
    (first || go).focus();
    return { node, go, tell, wrong };
}

const clean_lines = text => text.split("\n").map(clean).join("\n");

const LENGTHS = [[900, _("15 minutes")], [3600, _("1 hour")], [604800, _("Until resumed, a week at most")]];

export function askPause(pause) {
    const choices = LENGTHS.map(([seconds, name], at) => {
        const input = h("input", { type: "radio", name: "length", value: seconds, checked: at === 1 });
        return h("label", { class: "choice" }, input, " ", name);
    });
    const reason = h("input", { type: "text", maxlength: "200", id: "reason", autocomplete: "off" });
    const fields = h("fieldset", null, h("legend", null, _("For how long")), ...choices);
    const { node } = dialog({
        title: _("Pause repairs"),
        content: [h("p", null, _("podwatch goes on looking, and puts nothing back until the pause ends.")), fields,
                  h("label", { for: "reason" }, _("Reason, for whoever reads the status")), reason],
        verb: _("Pause"), first: choices[1].firstChild,
        act: () => pause(Number(node.querySelector("input[name=length]:checked").value), reason.value),
    });
}

// A dialog that first has podwatch say what it would do: only that is consented to.
async function askAfterDry({ ask, none, ...more }) {
    const { go, tell, wrong } = dialog({ ...more });
    go.disabled = true;
    tell("", _("Asking podwatch …"));
    try {
        const text = await ask();
        tell(text, none);
        if (text || !more.isDanger) {
            go.disabled = false;
            go.focus();
        }
    } catch (error) {
        tell("");
        say(wrong, clean(error.message || error));
        show(wrong, true);
    }
}

// In a pause nothing is put back: it has to end first.
export function askRestore(restore, resume, isPaused) {
    const intro = isPaused ? _("podwatch is paused, and puts nothing back until it is resumed. Once resumed, this would be done:")
        : _("Puts back now what is missing, without waiting for a back-off to end. This would be done:");
    return askAfterDry({
        title: _("Restore now"), content: [h("p", null, intro)],
        verb: isPaused ? _("Resume and restore") : _("Restore"),
        ask: () => restore(true), none: _("Nothing: all that podwatch puts back is in place."),
        act: async () => {
            if (isPaused)
                await resume();
            return restore(false);
        },
    });
}

export function askRemove(remove) {
    return askAfterDry({
        title: _("Take leftovers away"),
        content: [h("p", null, _("Rules of containers that have gone are deleted. Rules of containers that run stay. This would be done:"))],
        verb: _("Take away"), isDanger: true,
        ask: () => remove(true), none: _("There was nothing to do."), act: () => remove(false),
    });
}
