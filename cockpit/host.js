// SPDX-License-Identifier: Apache-2.0
// Where the page's facts come from: status files, their heartbeats, and the clock of the host.

import { _, cockpit, format } from "./words.js";
import { parse } from "./model.js";

export const HOST = "/run/podwatch/status.json";
export const ofUser = uid => `/run/user/${uid}/podwatch/status.json`;

// A file's tag has its modification time (cockpit-bridge: "1:INODE-MTIME-…",
// 287 writes nothing after that), which is the heartbeat.
const written = tag => Number(/^1:\d+-(\d+(?:\.\d+)?)(?:-|$)/.exec(tag || "")?.[1]) || 0;

// podwatch of a thousand containers writes 3 MB: what is much larger is of nobody who means well.
const MOST_MIB = 8;

// One status file, read again whenever it changes. `told` is called with this object.
export class StatusFile {
    constructor(path, told) {
        this.found = null;
        this.heartbeat = 0;
        this.seen = 0;
        this.file = cockpit.file(path, { max_read_size: MOST_MIB << 20 });
        this.file.watch((text, tag, error) => {
            this.found = error ? { problem: "broken", why: error.problem === "too-large" ? format(_("It is larger than $0 MiB."), MOST_MIB) : error.message || error.problem } : parse(text);
            this.heartbeat = written(tag);
            this.seen = performance.now() / 1000;
            told(this);
        });
    }

    close() {
        this.file.close();
    }

    // The seconds since the daemon last showed that it is alive; null while the host's clock is not
    // known. The page's own clock counts too: a file that does not change is no news.
    silent(hostNow) {
        if (hostNow === null || !this.heartbeat)
            return null;
        return Math.max(Math.abs(hostNow - this.heartbeat), performance.now() / 1000 - this.seen);
    }
}

// The clock of the host, which may be another than the browser's: asked for now and then.
export class Clock {
    constructor(told) {
        this.told = told;
        this.offset = null;
        this.ask();
    }

    ask() {
        const asked = Date.now();
        cockpit.spawn(["date", "+%s"], { err: "ignore" }).then(answer => {
            this.offset = Number(answer) - Math.round(asked / 1000) || 0;
            this.told();
        }, () => { /* then the state stays unknown */ });
    }

    get now() {
        return this.offset === null ? null : Date.now() / 1000 + this.offset;
    }
}

export function users() {
    return cockpit.spawn(["podwatch", "status", "--users", "--json"], { superuser: "require", err: "message" })
            // Its exit status tells of states; what it says is what counts.
            .catch((error, answer) => { if (answer) return answer; throw error })
            .then(answer => JSON.parse(answer).users);
}
