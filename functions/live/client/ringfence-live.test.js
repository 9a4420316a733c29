import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { RingfenceLive, compareFrames } from "./ringfence-live.js";

const MINUTE = 60_000;

/** Time that passes only when told to. */
class Clock {
    now = 0;
    #timers = new Map();
    #ids = 0;
    /** What `random` says: 1 is the longest wait. */
    chance = 1;

    timers = {
        setTimeout: (run, ms) => {
            this.#timers.set(++this.#ids, { at: this.now + ms, run });
            return this.#ids;
        },
        clearTimeout: (id) => this.#timers.delete(id),
        random: () => this.chance,
    };

    get pending() {
        return this.#timers.size;
    }

    async pass(ms) {
        const end = this.now + ms;
        for (;;) {
            await settled();
            const due = [...this.#timers].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
            if (!due) break;
            this.#timers.delete(due[0]);
            this.now = due[1].at;
            due[1].run();
        }
        this.now = end;
    }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A client, what it delivered, and the sockets that it opened. */
function scene(options = {}) {
    const clock = new Clock();
    const seen = { frames: [], partials: [], states: [], resets: 0, errors: [] };
    const sockets = [];
    let tokens = 0;

    class FakeSocket {
        sent = [];
        isClosed = false;

        constructor(url, protocols) {
            Object.assign(this, { url, protocols });
            sockets.push(this);
        }

        send(text) {
            this.sent.push(JSON.parse(text));
        }

        close() {
            this.isClosed = true;
        }

        open() {
            this.onopen();
        }

        says(message) {
            this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
        }
    }

    const client = new RingfenceLive({
        url: "wss://live.example.com/live",
        token: async () => `token-${++tokens}`,
        onFrame: (frame) => seen.frames.push(Number(frame.seq)),
        onPartial: (frame) => seen.partials.push(frame.text),
        onState: (state) => seen.states.push(state),
        onReset: () => seen.resets++,
        onError: (error) => seen.errors.push(error),
        WebSocket: FakeSocket,
        timers: clock.timers,
        ...options,
    });
    open.push(client);
    return { client, clock, seen, sockets };
}

const open = [];
afterEach(() => open.splice(0).forEach((client) => client.close()));

async function connected(options) {
    const all = scene(options);
    await settled();
    all.sockets[0].open();
    return { ...all, socket: all.sockets[0] };
}

const place = (seq) => (typeof seq === "number" ? String(seq).padStart(16, "0") : seq);
const frame = (seq, type = "call.status") => ({ v: 1, seq: place(seq), type, call_id: "c", at: "2026-11-24T10:00:00Z" });
const page = (seqs, cursor, more = false) => ({ v: 1, type: "page", frames: seqs.map((seq) => frame(seq)), cursor, more });
const resume = (cursor) => ({ action: "resume", cursor });

test("connects with the token as a subprotocol and resumes from the beginning", async () => {
    const { socket, seen } = await connected();
    assert.equal(socket.url, "wss://live.example.com/live");
    assert.deepEqual(socket.protocols, ["ringfence.v1", "token-1"]);
    assert.deepEqual(socket.sent, [resume(null)]);
    assert.deepEqual(seen.states, ["connecting", "open"]);
});

test("pages follow one another until there are no more", async () => {
    const { socket, seen } = await connected();
    socket.says(page([1, 2], "a", true));
    assert.deepEqual(socket.sent, [resume(null), resume("a")]);
    socket.says(page([3], "b"));
    assert.deepEqual(socket.sent.length, 2);
    assert.deepEqual(seen.frames, [1, 2, 3]);
});

test("delivers pushes at once, and drops repeats", async () => {
    const { socket, seen } = await connected();
    socket.says(frame(7));
    socket.says(frame(5));
    socket.says(page([5, 6, 7, 8], "a"));
    socket.says(frame(8));
    assert.deepEqual(seen.frames, [7, 5, 6, 8]);
    const frames = [frame(7), { ...frame(0), seq: undefined }, frame(5)];
    assert.deepEqual(frames.sort(compareFrames).map(({ seq }) => seq), [place(5), place(7), undefined]);
});

test("remembers a bounded number of frames", async () => {
    const { socket, seen } = await connected();
    for (let seq = 0; seq <= 10_000; seq++) socket.says(frame(seq));
    seen.frames.length = 0;
    socket.says(frame(1));
    assert.deepEqual(seen.frames, []);
    socket.says(frame(0));
    assert.deepEqual(seen.frames, [0]);
});

test("delivers partials, which have no seq, to their own callback", async () => {
    const { socket, seen } = await connected();
    for (const text of ["a", "ab", "ab"]) socket.says({ ...frame(), type: "transcript.partial", text });
    assert.deepEqual(seen.partials, ["a", "ab", "ab"]);
    assert.deepEqual(seen.frames, []);
});

test("ignores unknown messages", async () => {
    const { socket, seen } = await connected();
    const unknown = ["no JSON", "null", "7", { ...frame(1), v: 2 }, { v: 1, seq: 1 }, { v: 1, type: "pong" }];
    for (const message of [...unknown, { message: "Internal server error" }, frame("1"), frame(1.5)]) socket.says(message);
    socket.says({ v: 1, type: "page", frames: [{ ...frame(1), v: 2 }], cursor: "a", more: false });
    assert.deepEqual(seen.frames, []);
    assert.deepEqual(seen.errors, []);
});

test("polls a second after connecting, and then with its cursor", async () => {
    const { socket, clock } = await connected();
    socket.says(page([], "a"));
    await clock.pass(999);
    assert.equal(socket.sent.length, 1);
    await clock.pass(1);
    assert.deepEqual(socket.sent[1], resume("a"));
    socket.says(page([1], "b"));
    await clock.pass(29_999);
    assert.equal(socket.sent.length, 2);
    await clock.pass(1);
    assert.deepEqual(socket.sent[2], resume("b"));
});

test("does not send a resume before the previous one is answered", async () => {
    const { socket, clock } = await connected();
    await clock.pass(5_000);
    assert.equal(socket.sent.length, 1);
});

test("a resume without an answer ends the connection", async () => {
    const { socket, sockets, clock, seen } = await connected();
    await clock.pass(9_999);
    socket.says(frame(1));
    assert.equal(socket.isClosed, false);
    await clock.pass(1);
    assert.equal(socket.isClosed, true);
    assert.equal(seen.states.at(-1), "waiting");
    await clock.pass(1_000);
    assert.equal(sockets.length, 2);
});

test("keeps the cursor and the delivered seqs when it reconnects", async () => {
    const { socket, sockets, clock, seen } = await connected();
    socket.says(page([1, 2], "a"));
    socket.onclose();
    await clock.pass(1_000);
    sockets[1].open();
    assert.deepEqual(sockets[1].protocols, ["ringfence.v1", "token-2"]);
    assert.deepEqual(sockets[1].sent, [resume("a")]);
    sockets[1].says(page([2, 3], "b"));
    assert.deepEqual(seen.frames, [1, 2, 3]);
    assert.deepEqual(seen.states, ["connecting", "open", "waiting", "connecting", "open"]);
});

test("reconnects with exponential backoff and jitter", async () => {
    const { sockets, clock } = scene();
    await settled();
    for (const wait of [1, 2, 4, 8, 16, 30, 30].map((seconds) => seconds * 1_000)) {
        const count = sockets.length;
        sockets.at(-1).onclose();
        await clock.pass(wait - 1);
        assert.equal(sockets.length, count, `${wait}`);
        await clock.pass(1);
        assert.equal(sockets.length, count + 1, `${wait}`);
    }
    clock.chance = 0.5;
    sockets.at(-1).onerror();
    await clock.pass(15_000);
    assert.equal(sockets.length, 9);
    sockets.at(-1).open();
    sockets.at(-1).says(page([], "a"));
    sockets.at(-1).onclose();
    await clock.pass(500);
    assert.equal(sockets.length, 10, "an answer makes it start over");
});

test("an opening times out", async () => {
    const { sockets, clock } = scene();
    await clock.pass(31_000);
    assert.equal(sockets[0].isClosed, true);
    assert.equal(sockets.length, 2);
});

test("a failed token request is reported and repeated", async () => {
    const answers = [Promise.reject(new Error("no token")), Promise.resolve("late")];
    const { sockets, clock, seen } = scene({ token: () => answers.shift() });
    await clock.pass(1_000);
    assert.equal(seen.errors[0].message, "no token");
    assert.deepEqual(sockets[0].protocols, ["ringfence.v1", "late"]);
});

test("a reset calls onReset, and its cursor is stored", async () => {
    const { socket, clock, seen } = await connected();
    socket.says(page([1], "a"));
    socket.says({ v: 1, type: "reset", cursor: "z" });
    assert.equal(seen.resets, 1);
    await clock.pass(1_000);
    assert.deepEqual(socket.sent.at(-1), resume("z"));
    socket.says(page([1], "zz"));
    assert.deepEqual(seen.frames, [1, 1], "everything is loaded anew");
});

test("an expired token is replaced", async () => {
    const { socket, sockets, clock } = await connected();
    socket.says(page([1], "a"));
    socket.says({ v: 1, type: "expired" });
    assert.equal(socket.isClosed, true);
    await clock.pass(1_000);
    sockets[1].open();
    assert.deepEqual(sockets[1].protocols, ["ringfence.v1", "token-2"]);
    assert.deepEqual(sockets[1].sent, [resume("a")]);
});

test("an error is reported, and the next poll sends a resume", async () => {
    const { socket, clock, seen } = await connected();
    const error = { v: 1, type: "error", code: "busy" };
    socket.says(error);
    assert.deepEqual(seen.errors, [error]);
    await clock.pass(1_000);
    assert.deepEqual(socket.sent, [resume(null), resume(null)]);
});

/** A connection whose polls are answered until it is time to switch. */
async function old() {
    const all = await connected({ pollSeconds: 10 * MINUTE });
    all.socket.says(page([1], "a"));
    await all.clock.pass(1_000);
    all.socket.says(page([], "b"));
    await all.clock.pass(110 * MINUTE - 1_001);
    assert.equal(all.sockets.length, 1);
    await all.clock.pass(1);
    assert.equal(all.sockets.length, 2);
    return all;
}

test("opens the next connection before the gateway ends this one", async () => {
    const { socket, sockets, seen } = await old();
    socket.says(frame(2));
    assert.equal(socket.isClosed, false);
    sockets[1].open();
    assert.equal(socket.isClosed, true);
    assert.deepEqual(sockets[1].sent, [resume("b")]);
    sockets[1].says(page([2, 3], "c"));
    assert.deepEqual(seen.frames, [1, 2, 3]);
    assert.deepEqual(seen.states, ["connecting", "open"]);
});

test("a failed switch is repeated, and the old connection stays open", async () => {
    const { socket, sockets, clock, seen } = await old();
    sockets[1].onerror();
    assert.equal(socket.isClosed, false);
    socket.says(frame(2));
    await clock.pass(1_000);
    assert.equal(sockets.length, 3);
    socket.onclose();
    assert.equal(seen.states.at(-1), "connecting");
    sockets[2].open();
    assert.deepEqual(seen.states, ["connecting", "open", "connecting", "open"]);
    assert.deepEqual(seen.frames, [1, 2]);
});

test("a callback that throws does not stop the client", async () => {
    const { socket, seen } = await connected({
        onFrame: () => {
            throw new Error("mine");
        },
    });
    socket.says(page([1, 2], "a", true));
    assert.equal(seen.errors.length, 2);
    assert.deepEqual(socket.sent.at(-1), resume("a"));
});

test("close stops everything", async () => {
    const { client, socket, sockets, clock, seen } = await connected();
    client.close();
    assert.equal(socket.isClosed, true);
    assert.equal(client.state, "closed");
    assert.equal(clock.pending, 0);
    socket.says(frame(1));
    await clock.pass(200 * MINUTE);
    assert.equal(sockets.length, 1);
    assert.deepEqual(seen.frames, []);
});

for (const moment of ["open", "waiting"]) {
    test(`close may be called in onState(${moment})`, async () => {
        const all = scene({ onState: (state) => state === moment && all.client.close() });
        await settled();
        all.sockets[0].onopen();
        all.sockets[0].onclose?.();
        await all.clock.pass(200 * MINUTE);
        assert.equal(all.client.state, "closed");
        assert.equal(all.sockets.length, 1);
        assert.equal(all.clock.pending, 0);
    });
}

test("close may be called while a token is fetched", async () => {
    const { client, clock, sockets } = scene();
    client.close();
    await clock.pass(200 * MINUTE);
    assert.equal(sockets.length, 0);
    assert.equal(clock.pending, 0);
});

test("close within a callback stops the rest of the page", async () => {
    const frames = [];
    const all = await connected({
        onFrame: ({ seq }) => {
            frames.push(Number(seq));
            all.client.close();
        },
    });
    all.socket.says(page([1, 2], "a", true));
    assert.deepEqual(frames, [1]);
    assert.equal(all.clock.pending, 0);
    assert.equal(all.socket.sent.length, 1);
});
