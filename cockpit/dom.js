// SPDX-License-Identifier: Apache-2.0
// Making and keeping elements: whatever stays the same is left alone, so that focus, opened rows and
// the place scrolled to stay where they are while the status changes every second.

import { clean } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
        if (typeof value === "function")
            element.addEventListener(name, value);
        else if (value !== null && value !== undefined && value !== false)
            element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
    return element;
}

export const h = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

// A text of somebody else's, in the language and direction that it is in.
export const theirs = (text, attributes) => h("bdi", attributes, clean(text));
// What podwatch says, which is in English.
export const told = (text, attributes) => h("bdi", { lang: "en", ...attributes }, clean(text));

export function say(element, text) {
    if (element.textContent !== text)
        element.textContent = text;
}

export function show(element, isShown) {
    element.hidden = !isShown;
    return isShown;
}

export function set(element, name, value) {
    if (element.getAttribute(name) !== value)
        element.setAttribute(name, value);
}

// The mark of a state: colour is never all of it.
const GLYPHS = { open: "✓", ok: "✓", broken: "✕", lost: "✕", degraded: "!", note: "!", unknown: "?", closed: "–" };

export function mark(state, words) {
    return h("span", { class: `mark ${state}` },
             h("span", { "aria-hidden": "true", class: "glyph" }, GLYPHS[state] || "·"),
             words ? " " : null, words);
}

// Children of parent behind `after`, one for each item: made once, and filled where it has changed.
export function keep(parent, items, { key, make, fill, after = null }) {
    const before = parent.kept || new Map(), now = new Map();
    for (const item of items) {
        let name = key(item);
        while (now.has(name))
            name += " ";
        const entry = before.get(name) || { node: make(item), is: "" };
        const is = JSON.stringify(item);
        if (entry.is !== is) {
            fill(entry.node, item);
            // Only now: what could not be filled is filled anew the next time.
            entry.is = is;
        }
        now.set(name, entry);
    }
    for (const [name, entry] of before) {
        if (!now.has(name))
            entry.node.remove();
    }
    let at = after ? after.nextSibling : parent.firstChild;
    for (const { node } of now.values()) {
        if (node === at)
            at = at.nextSibling;
        else
            parent.insertBefore(node, at);
    }
    parent.kept = now;
}
