// SPDX-License-Identifier: Apache-2.0
// What the page says: translated words, and times, numbers and texts of others in the form that the
// language has for them. Whatever comes from elsewhere is shown as text, never as markup.

export const cockpit = window.cockpit;
export const _ = cockpit.gettext;
export const ngettext = cockpit.ngettext;
export const format = cockpit.format;

const language = () => (cockpit.language || "en").replace("_", "-");

// Nothing in it can steer the reader's eye or screen: control characters, marks of direction.
export const clean = text => String(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, "\ufffd");

// Of two texts of the sources the one for this number, in whatever forms the language has.
export function count(one, many, number) {
    return format(ngettext(one, many, number), number);
}

// Any number: what is no time that a clock can show is a dash.
export function moment(seconds) {
    const when = new Date(seconds * 1000);
    if (Number.isNaN(when.getTime()))
        return "–";
    const near = Math.abs(Date.now() - when) < 12 * 3600e3;
    const day = near ? {} : { day: "numeric", month: "short" };
    return new Intl.DateTimeFormat(language(), { ...day, hour: "2-digit", minute: "2-digit" }).format(when);
}

export function exactly(seconds) {
    const when = new Date(seconds * 1000);
    if (Number.isNaN(when.getTime()))
        return "–";
    return new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "medium" }).format(when);
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export function lasted(seconds) {
    let unit = "millisecond", value = Math.max(0, Math.round(seconds * 1000));
    if (seconds >= 1) {
        const [name, size] = UNITS.find(([, size]) => seconds >= size);
        unit = name;
        value = seconds < 10 ? Math.round(seconds * 10) / 10 : Math.floor(seconds / size);
    }
    return new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay: "short" }).format(value);
}

export const STATES = {
    ok: _("OK"),
    degraded: _("Degraded"),
    lost: _("Lost"),
    unknown: _("Unknown"),
};

export const MARKS = {
    open: _("open"),
    broken: _("broken"),
    unknown: _("unknown"),
    closed: _("closed"),
    note: _("note"),
};

export const KINDS = {
    in: _("in"),
    out: _("way out"),
    isolation: _("isolation"),
    neighbours: _("between containers"),
    names: _("names"),
    host: _("to the host"),
};

export const ISOLATIONS = {
    normal: _("isolated"),
    strict: _("strictly isolated"),
};

// What the network of a container that needs no rules is.
export const CLASSES = {
    host: _("on the host's own network"),
    none: _("no network"),
    member: _("on its pod's network"),
    shared: _("on another container's network"),
    macvlan: _("on the network outside, by macvlan"),
    ipvlan: _("on the network outside, by ipvlan"),
    internal: _("internal network, no way out"),
    unmanaged: _("on a bridge of the host's"),
    pasta: _("carried by pasta"),
    slirp4netns: _("carried by slirp4netns"),
};
