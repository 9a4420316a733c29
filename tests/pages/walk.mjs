// Walks the console in a real browser, as a person would: `cargo ringfence pages` starts it against the local stack, and does outside of the
// browser what it is asked for by a line on standard output ("do: ..."), answered by a line on standard input.

import { readFile, mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const packages = createRequire(`${process.env.PAGES_PACKAGES}/`);
const { chromium } = packages("playwright-core");
const axe = await readFile(packages.resolve("axe-core/axe.min.js"), "utf8");

const { PAGES_LINK: link, PAGES_OPERATOR_LINK: operatorLink, PAGES_CHROMIUM: executablePath, PAGES_PICTURES: pictures } = process.env;
const base = new URL(link).origin;
const PATIENCE = 30_000;
/** A telephone, and a desk. */
const SIZES = { narrow: { width: 375, height: 812 }, wide: { width: 1440, height: 900 } };
/** All that a page may load, together. */
const MOST_BYTES = 200 * 1024;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(what) {
    console.log(`do: ${what}`);
    return JSON.parse((await answers.next()).value);
}

function check(isTrue, what) {
    if (!isTrue) throw new Error(what);
}

async function until(condition, what) {
    const began = Date.now();
    while (!(await condition())) {
        check(Date.now() - began < PATIENCE, `waited too long for ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 250));
    }
}

const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
await mkdir(pictures, { recursive: true });

async function signedIn(by) {
    const context = await browser.newContext({ viewport: SIZES.wide });
    const page = await context.newPage();
    page.errors = [];
    page.on("pageerror", (error) => page.errors.push(String(error)));
    page.on("console", (message) => {
        if (message.type() === "error") page.errors.push(message.text());
    });
    page.on("request", (request) => {
        const host = new URL(request.url()).origin;
        if (host !== base && !page.allowed?.(request)) page.errors.push(`asks another host: ${request.url()}`);
    });
    await page.goto(by);
    await page.click("button:has-text('Sign in')");
    await page.waitForURL((url) => !url.pathname.endsWith("/sign-in"));
    check(!page.url().includes("token="), "the token stays in the address");
    return page;
}

/** Nothing serious for who cannot see or point, no scrolling to the side, a picture of each size in both lights. */
async function inspect(page, name) {
    for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        for (const colorScheme of ["light", "dark"]) {
            await page.emulateMedia({ colorScheme });
            // Inside the page's own policy: as a script of the browser's, not of the page's.
            const found = await page.evaluate(`${axe}; axe.run({ resultTypes: ["violations"] })`);
            const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
            const said = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`).join("\n");
            check(serious.length === 0, `${name}, ${size}, ${colorScheme}: ${said}`);
            const [content, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
            check(content <= room, `${name} is ${content} wide where ${room} are there`);
            await page.screenshot({ path: `${pictures}/${name}-${size}-${colorScheme}.png`, fullPage: true });
        }
    }
    await page.setViewportSize(SIZES.wide);
    check(page.errors.length === 0, `${name}: ${page.errors.join("; ")}`);
    console.log(`  ok    ${name}`);
}

// Whatever goes wrong, what the browser complained about says more.
process.on("uncaughtException", async (error) => {
    console.error(error);
    for (const context of browser.contexts()) {
        for (const open of context.pages()) {
            console.error(open.url(), open.errors ?? []);
            await open.screenshot({ path: `${pictures}/failed.png` }).catch(() => {});
        }
    }
    process.exit(1);
});

const page = await signedIn(link);
const org = new URL(page.url()).pathname.split("/")[2];
const path = (rest) => `${base}/console/${org}/${rest}`;

// What happens now: a call comes in, and its words move over the screen.
await page.waitForSelector("#state:has-text('live')");
const sent = await ask("send a call");
await page.waitForSelector(`#call-${CSS_escape(sent.call)} .lines li`, { timeout: PATIENCE });
await until(async () => (await page.locator(`#call-${CSS_escape(sent.call)} .lines li`).count()) > 2, "what is said");
await until(async () => (await page.textContent(`#call-${CSS_escape(sent.call)} .status`)) === "ended", "the end of the call");
// Whoever opens the page now sees the calls that are not over, and not this one.
await page.reload();
await page.waitForSelector("#state:has-text('live')");
check((await page.locator(`#call-${CSS_escape(sent.call)}`).count()) === 0, "a call that is over is not on a new page");
const second = await ask("send a call");
await page.waitForSelector(`#call-${CSS_escape(second.call)} .lines li`, { timeout: PATIENCE });
await inspect(page, "live");

// What begins after the page was made and before it is connected is on it all the same.
let begun;
await page.route("**/live/token", async (route) => {
    begun ??= await ask("begin a call");
    await route.continue();
});
await page.reload();
await page.waitForSelector("#state:has-text('live')");
await page.waitForSelector(`#call-${CSS_escape(begun.call)}`, { timeout: PATIENCE });
await page.unroute("**/live/token");

// The call is found by its id and by its number; its page has its words, and plays its recording.
await page.goto(path("calls"));
await inspect(page, "calls");
await page.fill("input[name=call_id]", sent.call);
await page.click("text=Search");
await page.click(`a:has-text("${sent.call}")`);
await page.waitForSelector("h2:has-text('Transcript')");
check((await page.locator(".turns .who").count()) >= 4, "the transcript is there");
await until(async () => {
    await page.reload();
    return (await page.locator("audio").count()) === 1;
}, "the recording");
await inspect(page, "call");
page.allowed = (request) => request.resourceType() === "media";
await page.evaluate(() => document.querySelector("audio").load());
await page.evaluate(() => document.querySelector("audio").play());
await until(() => page.evaluate(() => document.querySelector("audio").duration > 0.5), "the player to know how long it lasts");

// An event fails for good; it is found, looked at, sent back and resolved.
const broken = await ask("break");
await page.goto(path("failures"));
await until(async () => {
    await page.reload();
    return (await page.locator("table").first().textContent()).includes("RF2001");
}, "the failure");
await inspect(page, "failures");
await page.click(`a[href$="${encodeURIComponent(broken.event)}"]`);
await page.waitForSelector("h2:has-text('Attempts')");
check((await page.textContent("pre")).includes("hidden"), "what may be personal is hidden");
await inspect(page, "failure");
await page.click("text=Show what is hidden");
await page.waitForSelector("pre:not(:has-text('hidden'))");
await page.click("a:has-text('RF2001')");
await page.waitForSelector("h2:has-text('Resolution')");
await inspect(page, "code");
await ask("mend");
await page.goto(path(`failures/one?event_id=${encodeURIComponent(broken.event)}`));
await page.click("text=Try it again");
await page.waitForSelector("[role=status]");
await until(async () => {
    await page.goto(path(`failures/one?event_id=${encodeURIComponent(broken.event)}`));
    return (await page.textContent("dl")).includes("resolved");
}, "the failure to be resolved");

// How it all went: counted, drawn, and in words.
await ask("count");
await page.goto(path("numbers"));
await page.waitForSelector("[data-plot] canvas");
check((await page.textContent("main")).match(/[1-9]\d* calls, of which [1-9]/), "calls are counted");
await page.selectOption("select[name=period]", "day");
await page.click("text=Show");
await page.waitForURL((url) => url.searchParams.get("period") === "day");
await page.waitForSelector("[data-plot] canvas");
await page.click("summary");
await inspect(page, "numbers");

// Who did all that.
await page.goto(path("audit"));
const audited = await page.textContent("table");
for (const action of ["recording.play", "failure.unmask", "event.redrive"]) check(audited.includes(action), `${action} is audited`);
await inspect(page, "audit");

// What a page weighs, all of it.
const heavy = await browser.newContext();
await heavy.addCookies(await page.context().cookies());
const fresh = await heavy.newPage();
// What is kept by the browser is loaded once.
const bodies = new Map();
fresh.on("response", (response) => {
    if (!bodies.has(response.url())) bodies.set(response.url(), response.body().then((body) => body.length, () => 0));
});
for (const each of ["live", "calls", "failures", "numbers", "audit"]) {
    await fresh.goto(path(each), { waitUntil: "networkidle" });
    // Before the next page takes them away.
    await Promise.all(bodies.values());
}
const bytes = (await Promise.all(bodies.values())).reduce((sum, each) => sum + each, 0);
check(bytes > 50_000 && bytes < MOST_BYTES, `the pages weigh ${bytes} bytes`);
console.log(`  ok    five pages with all that they load: ${Math.round(bytes / 1024)} KB`);

// By keyboard alone: the first stop leads past the navigation.
await page.goto(path("calls"));
await page.keyboard.press("Tab");
check((await page.evaluate(() => document.activeElement.textContent)) === "Skip to the content", "the first stop is the way to the content");

// Signed out there is nothing left; an operator sees all orgs.
await page.click("text=Sign out");
await page.goto(path("calls"));
check(page.url().endsWith("/console/sign-in"), "whoever is signed out is led to the way in");
await inspect(page, "sign-in");
const operator = await signedIn(operatorLink);
await operator.waitForSelector("h1:has-text('Orgs')");
check((await operator.textContent("main")).includes("transcript-dead-letters"), "how much waits in queues is shown");
await inspect(operator, "orgs");

await browser.close();
process.exit(0);

/** An id in a selector may begin with a digit. */
function CSS_escape(text) {
    return text.replace(/[^a-zA-Z0-9_-]/g, (character) => `\\${character}`);
}
