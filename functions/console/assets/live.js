// The page of what happens now: a card for each call that is not over, filled by frames.
import { RingfenceLive } from "./ringfence-live.js";

const root = document.getElementById("live");
const state = document.getElementById("state");
const cards = document.getElementById("calls");
const template = document.getElementById("call");
const number = document.getElementById("count");
const LINES = 50;
/** A call that is over stays on the page as long. */
const KEPT_MS = 10 * 60_000;
/** How far a call has come: frames come in any order, and none takes a call back. */
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

function say(frame, isPartial) {
    const lines = card(frame.call_id, frame.at).querySelector(".lines");
    const partial = lines.querySelector(`[data-partial="${CSS.escape(frame.speaker)}"]`);
    const line = partial ?? lines.appendChild(document.createElement("li"));
    line.replaceChildren(Object.assign(document.createElement("span"), { className: "who", textContent: frame.speaker }), frame.text);
    if (isPartial) line.dataset.partial = frame.speaker;
    else delete line.dataset.partial;
    while (lines.children.length > LINES) lines.firstElementChild.remove();
    lines.scrollTop = lines.scrollHeight;
}

function reach(frame, status) {
    const shown = card(frame.call_id, frame.at);
    const line = shown.querySelector(".status");
    if ((RANK[status] ?? 0) < (RANK[line.textContent] ?? 0)) return;
    line.textContent = status;
    if (status === "ended") shown.dataset.over = frame.at;
    count();
    if (frame.customer_number) shown.querySelector(".number").textContent = frame.customer_number;
}

function show(frame) {
    if (frame.type === "call.status") reach(frame, frame.status);
    if (frame.type === "call.ended" || frame.type === "call.report") reach(frame, "ended");
    if (frame.type === "transcript.final") say(frame, false);
}

async function token() {
    const answer = await fetch(root.dataset.token, { method: "POST" });
    // The session is over.
    if (answer.status === 401) location.assign("/console/sign-in");
    if (!answer.ok) throw new Error(`a token was refused: ${answer.status}`);
    return (await answer.json()).token;
}

/** The cards that came with the page. What became of their calls before the first answer is in no frame. */
const rendered = [...cards.children].map(({ id }) => id);

/** From now on nothing is missed: what has happened since the page was made is taken from a new one. */
async function catchUp() {
    const answer = await fetch(location.href);
    if (!answer.ok) throw new Error(`the page was refused: ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const fresh of [...page.getElementById("calls").children].reverse()) {
        const frame = { call_id: fresh.id.slice("call-".length), at: fresh.dataset.since };
        if (document.getElementById(fresh.id)) reach(frame, fresh.querySelector(".status").textContent);
        else cards.prepend(document.adoptNode(fresh));
    }
    const isWhole = page.getElementById("more-calls").textContent === "";
    const over = rendered.filter((id) => isWhole && document.getElementById(id) && !page.getElementById(id));
    for (const id of over) reach({ call_id: id.slice("call-".length), at: new Date().toISOString() }, "ended");
    count();
}

/** How many are not over. */
function count() {
    number.textContent = cards.querySelectorAll("li[data-since]:not([data-over])").length;
}

/** How long each has lasted, and what is over for long goes. */
function age() {
    for (const each of cards.querySelectorAll("li[data-since]")) {
        const until = each.dataset.over ? Date.parse(each.dataset.over) : Date.now();
        const seconds = Math.max(0, Math.round((until - Date.parse(each.dataset.since)) / 1000));
        each.querySelector(".age").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
        if (each.dataset.over && Date.now() - Date.parse(each.dataset.over) > KEPT_MS) each.remove();
    }
}
age();
setInterval(age, 1000);

const words = { connecting: "connecting", open: "live", waiting: "connection lost, trying again", closed: "closed" };
new RingfenceLive({
    url: root.dataset.url,
    token,
    onFrame: show,
    onPartial: (frame) => say(frame, true),
    onReady: () => catchUp().catch((error) => console.warn(error)),
    onState: (now) => { state.textContent = words[now] ?? now; },
    onReset: () => location.reload(),
    onError: (error) => console.warn(error),
});
