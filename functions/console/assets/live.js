// The live page: a card for each call in progress, updated from frames.
import { RingfenceLive } from "./ringfence-live.js";

const root = document.getElementById("live");
const state = document.getElementById("state");
const cards = document.getElementById("calls");
const template = document.getElementById("call");
const number = document.getElementById("count");
const LINES = 50;
/** An ended call stays on the page for this time. */
const RETAINED_MS = 10 * 60_000;
/** The order of the statuses. Frames arrive in any order, and an older status does not replace a newer one. */
const RANK = { scheduled: 10, queued: 20, ringing: 30, "in-progress": 40, forwarding: 50, ended: 100 };

function card(callId, at) {
    const known = document.getElementById(`call-${callId}`);
    if (known) return known;
    const made = template.content.firstElementChild.cloneNode(true);
    made.id = `call-${callId}`;
    const link = made.querySelector("a");
    link.textContent = callId;
    link.href = `${root.dataset.calls}/${encodeURIComponent(callId)}`;
    made.dataset.since = at;
    cards.prepend(made);
    count();
    return made;
}

function addLine(frame, isPartial) {
    const lines = card(frame.call_id, frame.at).querySelector(".lines");
    const partial = lines.querySelector(`[data-partial="${CSS.escape(frame.speaker)}"]`);
    const line = partial ?? lines.appendChild(document.createElement("li"));
    line.replaceChildren(Object.assign(document.createElement("span"), { className: "who", textContent: frame.speaker }), frame.text);
    if (isPartial) line.dataset.partial = frame.speaker;
    else delete line.dataset.partial;
    while (lines.children.length > LINES) lines.firstElementChild.remove();
    lines.scrollTop = lines.scrollHeight;
}

function setStatus(frame, status) {
    const shown = card(frame.call_id, frame.at);
    const line = shown.querySelector(".status");
    if ((RANK[status] ?? 0) < (RANK[line.textContent] ?? 0)) return;
    line.textContent = status;
    if (status === "ended") shown.dataset.over = frame.at;
    count();
    if (frame.customer_number) shown.querySelector(".number").textContent = frame.customer_number;
}

function show(frame) {
    if (frame.type === "call.status") setStatus(frame, frame.status);
    if (frame.type === "call.ended" || frame.type === "call.report") setStatus(frame, "ended");
    if (frame.type === "transcript.final") addLine(frame, false);
}

async function token() {
    const answer = await fetch(root.dataset.token, { method: "POST" });
    // The session has expired.
    if (answer.status === 401) location.assign("/console/sign-in");
    if (!answer.ok) throw new Error(`the console refused a token: ${answer.status}`);
    return (await answer.json()).token;
}

/** The cards that the server rendered. No frame has changes of their calls before the first answer to a resume. */
const rendered = [...cards.children].map(({ id }) => id);

/** Fetches the page again, for changes between its rendering and the first answer. Later changes arrive as frames. */
async function catchUp() {
    const answer = await fetch(location.href);
    if (!answer.ok) throw new Error(`the console refused the page: ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const fresh of [...page.getElementById("calls").children].reverse()) {
        const frame = { call_id: fresh.id.slice("call-".length), at: fresh.dataset.since };
        if (document.getElementById(fresh.id)) setStatus(frame, fresh.querySelector(".status").textContent);
        else cards.prepend(document.adoptNode(fresh));
    }
    const isWhole = page.getElementById("more-calls").textContent === "";
    const over = rendered.filter((id) => isWhole && document.getElementById(id) && !page.getElementById(id));
    for (const id of over) setStatus({ call_id: id.slice("call-".length), at: new Date().toISOString() }, "ended");
    count();
}

/** Shows the number of calls in progress. */
function count() {
    number.textContent = cards.querySelectorAll("li[data-since]:not([data-over])").length;
}

/** Updates the duration of each call, and removes calls that ended a while ago. */
function age() {
    for (const each of cards.querySelectorAll("li[data-since]")) {
        const until = each.dataset.over ? Date.parse(each.dataset.over) : Date.now();
        const seconds = Math.max(0, Math.round((until - Date.parse(each.dataset.since)) / 1000));
        each.querySelector(".age").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
        if (each.dataset.over && Date.now() - Date.parse(each.dataset.over) > RETAINED_MS) each.remove();
    }
}
age();
setInterval(age, 1000);

const words = { connecting: "connecting", open: "live", waiting: "connection lost, reconnecting", closed: "closed" };
new RingfenceLive({
    url: root.dataset.url,
    token,
    onFrame: show,
    onPartial: (frame) => addLine(frame, true),
    onReady: () => catchUp().catch((error) => console.warn(error)),
    onState: (now) => { state.textContent = words[now] ?? now; },
    onReset: () => location.reload(),
    onError: (error) => console.warn(error),
});
