/**
 * Receives live frames of one org's calls over a WebSocket. It is an ES module for browsers and needs no build step.
 *
 * Pushed frames are delivered at once. The client also reads the org's log with a periodic `resume`, which contains the
 * frames that pushes missed. Every frame with a `seq` is delivered once. `docs/live-frames.schema.json` describes the
 * frames.
 */

const VERSION = 1;
const PROTOCOL = "ringfence.v1";
const FIRST_POLL_MS = 1_000;
const ANSWER_MS = 10_000;
const OPEN_MS = 30_000;
const BACKOFF_MS = { first: 1_000, most: 30_000 };
/** API Gateway closes every connection after two hours. The client opens the next one before that. */
const SWITCH_MS = 110 * 60_000;
const REMEMBERED_SEQS = 10_000;
const SEQ = /^[0-9a-f]{16}$/;

/**
 * @typedef {object} Frame
 * @property {1} v
 * @property {string} [seq] Place in the org's log: 16 hexadecimal digits. Only `transcript.partial` has none.
 * @property {string} type
 * @property {string} call_id
 * @property {string} at RFC 3339.
 */

/** @typedef {"connecting" | "open" | "waiting" | "closed"} State */

/**
 * @typedef {object} Timers
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random A number from 0 to 1, as of `Math.random`.
 */

/**
 * @typedef {object} Options
 * @property {string} url `wss://...`
 * @property {() => Promise<string>} token Gets a token. It is called before each connection.
 * @property {(frame: Frame) => void} onFrame Each frame with a `seq`, once, in any order (see `compareFrames`).
 * @property {(frame: Frame) => void} [onPartial] Each `transcript.partial`. It may be repeated or missing.
 * @property {(state: State) => void} [onState] Each change of state.
 * @property {() => void} [onReady] No later frame is missed. Load the earlier data now.
 * @property {() => void} onReset The log no longer contains this client's cursor. Load all data again.
 * @property {(error: unknown) => void} [onError] An error of `token` or a callback, or the server's `error` message.
 * @property {typeof WebSocket} [WebSocket] Required if there is no global one.
 * @property {number} [pollSeconds] Interval of `resume`, in seconds.
 * @property {Timers} [timers] For tests.
 */

/**
 * Orders frames as the log does. Frames without a `seq` come last.
 * @param {Frame} a
 * @param {Frame} b
 * @returns {number} For `Array.prototype.sort`.
 */
export function compareFrames(a, b) {
    // Any text is less than "g" if it has hexadecimal digits only.
    const [left, right] = [a.seq ?? "g", b.seq ?? "g"];
    return left === right ? 0 : left < right ? -1 : 1;
}

/** Connects on construction, and reconnects until `close` is called. */
export class RingfenceLive {
    #options;
    #timers;
    #cursor = null;
    #seen = new Set();
    #state = null;
    #attempts = 0;
    #retry = null;
    /** The open connection, and the one that replaces it when it is open. */
    #current = null;
    #next = null;

    /** @param {Options} options */
    constructor(options) {
        this.#options = { WebSocket: globalThis.WebSocket, pollSeconds: 30, ...options };
        this.#timers = options.timers ?? {
            setTimeout: (run, ms) => setTimeout(run, ms),
            clearTimeout: (timer) => clearTimeout(timer),
            random: Math.random,
        };
        this.#connect();
    }

    /** @returns {State} */
    get state() {
        return this.#state;
    }

    /** Closes the connections for good. */
    close() {
        this.#timers.clearTimeout(this.#retry);
        this.#setState("closed");
        for (const connection of [this.#current, this.#next]) this.#drop(connection);
        this.#current = this.#next = null;
    }

    /** Opens a connection. A current one is closed when the new one is open. */
    async #connect() {
        const connection = { socket: null, timers: {} };
        this.#next = connection;
        if (!this.#current) this.#setState("connecting");
        if (connection !== this.#next) return;
        this.#after(connection, "answer", OPEN_MS, () => this.#lost(connection));
        try {
            const token = await this.#options.token();
            // The connection was dropped while the token was fetched.
            if (connection !== this.#next) return;
            connection.socket = new this.#options.WebSocket(this.#options.url, [PROTOCOL, token]);
        } catch (error) {
            this.#report(error);
            return this.#lost(connection);
        }
        connection.socket.onopen = () => this.#opened(connection);
        connection.socket.onmessage = (event) => this.#received(connection, event.data);
        connection.socket.onclose = () => this.#lost(connection);
        connection.socket.onerror = () => this.#lost(connection);
    }

    #opened(connection) {
        const previous = this.#current;
        [this.#current, this.#next] = [connection, null];
        this.#drop(previous);
        this.#clear(connection, "answer");
        this.#setState("open");
        if (connection !== this.#current) return;
        this.#after(connection, "switch", SWITCH_MS, () => this.#connect());
        this.#resume(connection);
        // Reads frames that were pushed before the server had stored this connection.
        this.#after(connection, "poll", FIRST_POLL_MS, () => this.#poll(connection));
    }

    #poll(connection) {
        if (!connection.timers.answer) this.#resume(connection);
        this.#after(connection, "poll", this.#options.pollSeconds * 1_000, () => this.#poll(connection));
    }

    #resume(connection) {
        this.#after(connection, "answer", ANSWER_MS, () => this.#lost(connection));
        connection.socket.send(JSON.stringify({ action: "resume", cursor: this.#cursor }));
    }

    #received(connection, data) {
        let message;
        try {
            message = JSON.parse(data);
        } catch {
            return;
        }
        if (message?.v !== VERSION || typeof message.type !== "string") return;
        switch (message.type) {
            case "page":
                return this.#page(connection, message);
            case "reset":
                this.#clear(connection, "answer");
                this.#cursor = message.cursor;
                // It may be another log, in which a seq belongs to another frame.
                this.#seen.clear();
                return this.#call(this.#options.onReset);
            case "expired":
                return this.#lost(connection);
            case "error":
                // An error answers the resume. The next poll sends another one.
                this.#clear(connection, "answer");
                return this.#report(message);
            case "pong":
                return;
            default:
                return this.#deliver(message);
        }
    }

    #page(connection, page) {
        this.#clear(connection, "answer");
        // Not when the connection opens, so that the backoff also covers a server that accepts connections only.
        this.#attempts = 0;
        const isFirst = this.#cursor === null;
        page.frames.forEach((frame) => this.#deliver(frame));
        this.#cursor = page.cursor;
        if (isFirst) this.#call(this.#options.onReady);
        if (page.more && connection === this.#current) this.#resume(connection);
    }

    #deliver(frame) {
        if (frame?.v !== VERSION || this.#state === "closed") return;
        if (frame.type === "transcript.partial") return this.#call(this.#options.onPartial, frame);
        if (!SEQ.test(frame.seq) || this.#seen.has(frame.seq)) return;
        this.#seen.add(frame.seq);
        // A set iterates in the order of insertion, so its first value is the oldest.
        if (this.#seen.size > REMEMBERED_SEQS) this.#seen.delete(this.#seen.values().next().value);
        this.#call(this.#options.onFrame, frame);
    }

    /** Drops a failed connection, and schedules the next one with backoff. */
    #lost(connection) {
        if (connection !== this.#current && connection !== this.#next) return;
        if (connection === this.#current) this.#current = null;
        else this.#next = null;
        this.#drop(connection);
        if (!this.#current) this.#setState(this.#next ? "connecting" : "waiting");
        // The replacement is being opened, or a callback has called `close`.
        if (this.#next || this.#state === "closed") return;
        const most = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#attempts++);
        this.#timers.clearTimeout(this.#retry);
        this.#retry = this.#timers.setTimeout(() => this.#connect(), this.#timers.random() * most);
    }

    #drop(connection) {
        if (!connection) return;
        for (const name of Object.keys(connection.timers)) this.#clear(connection, name);
        const { socket } = connection;
        if (!socket) return;
        socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
        socket.close();
    }

    #after(connection, name, ms, run) {
        this.#clear(connection, name);
        connection.timers[name] = this.#timers.setTimeout(() => {
            connection.timers[name] = undefined;
            run();
        }, ms);
    }

    #clear(connection, name) {
        if (connection.timers[name] !== undefined) this.#timers.clearTimeout(connection.timers[name]);
        connection.timers[name] = undefined;
    }

    #setState(state) {
        if (state === this.#state || this.#state === "closed") return;
        this.#state = state;
        this.#call(this.#options.onState, state);
    }

    /** Calls a callback, and reports an exception that it throws. */
    #call(callback, ...values) {
        try {
            callback?.(...values);
        } catch (error) {
            this.#report(error);
        }
    }

    #report(error) {
        this.#options.onError?.(error);
    }
}
