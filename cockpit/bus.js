// SPDX-License-Identifier: Apache-2.0
// podwatch on the bus, podwatch.service, and whether there is administrative access.

import { value } from "./model.js";
import { _, cockpit, clean } from "./words.js";

const PATH = "/org/podwatch1";
const INTERFACE = "org.podwatch1.Manager";
const PROPERTIES = "org.freedesktop.DBus.Properties";
const UNIT = "podwatch.service";
const AGAIN_S = 10;
const SYSTEMD = ["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
const ASKS = ["org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", "org.freedesktop.DBus.Error.AccessDenied", "org.podwatch1.Error.NotAllowed"];

function refused(error) {
    const text = ASKS.includes(error.name) ? _("Needs administrative access.") : clean(error.message || error.problem || error);
    return new Error(text);
}

export class Bus {
    // `changed` is called whenever a property has changed, or nobody answers any more; `incident` when
    // one began or ended, or may have.
    constructor({ changed, incident }) {
        this.changed = changed;
        this.incident = incident;
        this.client = null;
        this.isServed = false;
        this.pausedUntil = 0;
    }

    // Opened only while podwatch runs: Cockpit starts a service that is asked for, and whoever stopped
    // podwatch did not want it started by a page that somebody looks at.
    follow(isRunning) {
        this.isRunning = isRunning;
        if (isRunning && !this.client)
            this.open();
        else if (!isRunning && this.client)
            this.close();
    }

    open() {
        const client = this.client = cockpit.dbus("org.podwatch1", { superuser: "try" });
        const end = () => {
            if (client === this.client)
                this.close();
        };
        const take = found => {
            if (client !== this.client)
                return;
            if ("PausedUntil" in found)
                this.pausedUntil = Number(value(found.PausedUntil)) || 0;
            this.changed();
        };
        // Not by a proxy of Cockpit's: it gives way where a property and a method have one name.
        client.subscribe({ path: PATH, interface: INTERFACE }, () => this.incident());
        client.subscribe({ path: PATH, interface: PROPERTIES, member: "PropertiesChanged" }, (path, name, signal, [, found]) => take(found));
        client.addEventListener("owner", (event, owner) => {
            if (!owner)
                end();
        });
        client.addEventListener("close", end);
        client.call(PATH, PROPERTIES, "GetAll", [INTERFACE]).then(([found]) => {
            this.isServed = client === this.client;
            take(found);
            this.incident();
        }, end);
    }

    close() {
        const client = this.client;
        this.client = null;
        this.isServed = false;
        this.pausedUntil = 0;
        client.close();
        setTimeout(() => this.follow(this.isRunning), AGAIN_S * 1000);
        this.incident();
        this.changed();
    }

    async call(method, values, types) {
        if (!this.client)
            throw new Error(_("podwatch does not answer on the bus."));
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
    remove(isDry) { return this.call("RemoveLeftovers", [isDry], "b").then(([said]) => said) }
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

// systemd answers once the job is queued: what comes of it is told by a signal, maybe before the answer.
export async function startUnit() {
    const client = cockpit.dbus("org.freedesktop.systemd1", { bus: "system", superuser: "try" });
    const [manager, face] = SYSTEMD;
    const ended = new Map();
    let heard = () => { /* nobody waits yet */ };
    client.subscribe({ path: manager, interface: face, member: "JobRemoved" }, (path, name, signal, [, job, , result]) => {
        ended.set(job, result);
        heard();
    });
    try {
        await client.call(manager, face, "Subscribe", []).catch(() => { /* the bridge's connection is subscribed already */ });
        const [job] = await client.call(manager, face, "StartUnit", [UNIT, "replace"]);
        await new Promise((done, failed) => {
            heard = () => ended.has(job) && done();
            client.addEventListener("close", (event, why) => failed(new Error(why?.message || why?.problem || _("podwatch did not start."))));
            heard();
        });
        if (ended.get(job) === "done")
            return;
        const [unit] = await client.call(manager, face, "LoadUnit", [UNIT]);
        const [result] = await client.call(unit, PROPERTIES, "Get", ["org.freedesktop.systemd1.Service", "Result"]);
        const why = String(value(result));
        throw new Error(`${_("podwatch did not start.")} ${UNIT}: ${why === "success" ? ended.get(job) : why}`);
    } catch (error) {
        throw refused(error);
    } finally {
        client.close();
    }
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
