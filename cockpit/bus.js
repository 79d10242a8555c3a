// SPDX-License-Identifier: Apache-2.0
// podwatch on the bus, podwatch.service, and whether there is administrative access.

import { _, cockpit, clean } from "./words.js";

const PATH = "/org/podwatch1";
const INTERFACE = "org.podwatch1.Manager";
const UNIT = "podwatch.service";
const SYSTEMD = ["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
const ASKS = ["org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "org.freedesktop.DBus.Error.AccessDenied", "org.podwatch1.Error.NotAllowed"];

function refused(error) {
    const text = ASKS.includes(error.name) ? _("This needs administrative access.") : clean(error.message || error.problem || error);
    return new Error(text);
}

export class Bus {
    // `changed` is called whenever a property, the unit or the access has changed; `incident` when
    // one began or ended.
    constructor({ changed, incident }) {
        this.changed = changed;
        this.isServed = false;
        this.client = cockpit.dbus("org.podwatch1", { superuser: "try" });
        this.proxy = this.client.proxy(INTERFACE, PATH);
        this.isAsked = new Promise(done => this.proxy.wait(() => { this.see(); done(); incident(); }));
        this.proxy.addEventListener("changed", () => this.see());
        for (const signal of ["IncidentBegan", "IncidentEnded"])
            this.proxy.addEventListener(signal, () => incident());
        this.client.addEventListener("owner", (event, owner) => {
            this.owner = owner;
            this.see();
            if (owner)
                incident();
        });
    }

    see() {
        const before = JSON.stringify([this.isServed, this.isOwned, this.pausedUntil]);
        this.isServed = Boolean(this.proxy.valid) && this.owner !== null;
        this.isOwned = this.isServed && Boolean(this.owner);
        this.pausedUntil = this.isServed ? Number(this.proxy.PausedUntil) || 0 : 0;
        if (before !== JSON.stringify([this.isServed, this.isOwned, this.pausedUntil]))
            this.changed();
    }

    async call(method, values, types) {
        try {
            return await this.client.call(PATH, INTERFACE, method, values, types ? { type: types } : undefined);
        } catch (error) {
            throw refused(error);
        }
    }

    look() { return this.call("Look", []) }
    pause(seconds, reason) { return this.call("Pause", [seconds, reason], "ts").then(() => null) }
    resume() { return this.call("Resume", []) }
    restore(isDry) { return this.call("Restore", [isDry], "b").then(([said]) => said) }
    remove() { return this.call("RemoveLeftovers", []).then(([said]) => said) }
    incidents() { return this.call("Incidents", [200], "u").then(([found]) => found) }

    explain(target) {
        return this.call("Explain", [target], "s").then(([ways]) => ways.map(([kind, title, container, hops]) => ({
            kind, title, container, hops: hops.map(([place, what, mark, advice]) => ({ place, what, mark, advice })) })));
    }
}

// What systemd says of podwatch.service: {active, load, pid}; `told` is called when that changes.
export function watchUnit(told) {
    const client = cockpit.dbus("org.freedesktop.systemd1", { bus: "system" });
    client.call(...SYSTEMD, "Subscribe", []).catch(() => { /* then it is told by the heartbeat */ });
    client.call(...SYSTEMD, "LoadUnit", [UNIT]).then(([path]) => {
        const unit = client.proxy("org.freedesktop.systemd1.Unit", path);
        const service = client.proxy("org.freedesktop.systemd1.Service", path);
        const see = () => {
            if (unit.valid)
                told({ active: unit.ActiveState, load: unit.LoadState, pid: service.valid ? service.MainPID || 0 : 0 });
        };
        unit.addEventListener("changed", see);
        service.addEventListener("changed", see);
        unit.wait(see);
        service.wait(see);
    }).catch(() => told(null));
}

export function startUnit() {
    const client = cockpit.dbus("org.freedesktop.systemd1", { bus: "system", superuser: "try" });
    return client.call(...SYSTEMD, "StartUnit", [UNIT, "replace"]).catch(error => { throw refused(error) }).finally(() => client.close());
}

// A channel keeps the rights that it was opened with: when they change, the page begins anew.
export function watchAccess(told) {
    const proxy = cockpit.dbus(null, { bus: "internal" }).proxy("cockpit.Superuser", "/superuser");
    let before = null;
    const see = () => {
        if (!proxy.valid || proxy.Current === "init" || proxy.Current === undefined)
            return;
        const may = proxy.Current !== "none";
        if (before !== null && before !== may)
            location.reload();
        before = may;
        told(may);
    };
    proxy.addEventListener("changed", see);
    proxy.wait(see);
}
