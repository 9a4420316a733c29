// Opens the console's pages in a real browser. `cargo ringfence pages` starts this script against the local stack.
// For an action outside of the browser, the script writes a line "do: ..." to standard output, and `pages` answers
// with a line on standard input.

import { readFile, mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const packages = createRequire(`${process.env.PAGES_PACKAGES}/`);
const { chromium } = packages("playwright-core");
const axe = await readFile(packages.resolve("axe-core/axe.min.js"), "utf8");

const { PAGES_LINK: link, PAGES_OPERATOR_LINK: operatorLink, PAGES_CHROMIUM: executablePath, PAGES_PICTURES: pictures } = process.env;
const base = new URL(link).origin;
const TIMEOUT_MS = 30_000;
/** The sizes of a phone and of a desktop screen. */
const SIZES = { narrow: { width: 375, height: 812 }, wide: { width: 1440, height: 900 } };
/** The maximum size of all pages with their files, in bytes. */
const MAX_BYTES = 200 * 1024;

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
        check(Date.now() - began < TIMEOUT_MS, `timed out waiting for ${what}`);
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
        if (host !== base && !page.allowed?.(request)) page.errors.push(`request to another host: ${request.url()}`);
    });
    await page.goto(by);
    await page.click("button:has-text('Sign in')");
    await page.waitForURL((url) => !url.pathname.endsWith("/sign-in"));
    check(!page.url().includes("token="), "the page must remove the token from the address");
    return page;
}

/** Checks accessibility and horizontal overflow, and takes a screenshot, in each size and colour scheme. */
async function inspect(page, name) {
    for (const [size, viewport] of Object.entries(SIZES)) {
        await page.setViewportSize(viewport);
        for (const colorScheme of ["light", "dark"]) {
            await page.emulateMedia({ colorScheme });
            // Playwright evaluates the script itself, so the page's Content-Security-Policy does not block it.
            const found = await page.evaluate(`${axe}; axe.run({ resultTypes: ["violations"] })`);
            const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
            const said = serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 3).join(" ")}`).join("\n");
            check(serious.length === 0, `${name}, ${size}, ${colorScheme}: ${said}`);
            const [content, room] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
            check(content <= room, `${name} is ${content} pixels wide in a viewport of ${room}`);
            await page.screenshot({ path: `${pictures}/${name}-${size}-${colorScheme}.png`, fullPage: true });
        }
    }
    await page.setViewportSize(SIZES.wide);
    check(page.errors.length === 0, `${name}: ${page.errors.join("; ")}`);
    console.log(`  ok    ${name}`);
}

// After any failure, print the browser's errors and take a screenshot.
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

// Live page: a new call appears, with its conversation.
await page.waitForSelector("#state:has-text('live')");
const sent = await ask("send a call");
await page.waitForSelector(`#call-${CSS_escape(sent.call)} .lines li`, { timeout: TIMEOUT_MS });
await until(async () => (await page.locator(`#call-${CSS_escape(sent.call)} .lines li`).count()) > 2, "the conversation");
await until(async () => (await page.textContent(`#call-${CSS_escape(sent.call)} .status`)) === "ended", "the end of the call");
// A page that is opened now does not show the ended call.
await page.reload();
await page.waitForSelector("#state:has-text('live')");
check((await page.locator(`#call-${CSS_escape(sent.call)}`).count()) === 0, "a new page must not show an ended call");
const second = await ask("send a call");
await page.waitForSelector(`#call-${CSS_escape(second.call)} .lines li`, { timeout: TIMEOUT_MS });
await inspect(page, "live");

// A call that begins after the page is rendered and before it is connected appears as well.
let begun;
await page.route("**/live/token", async (route) => {
    begun ??= await ask("begin a call");
    await route.continue();
});
await page.reload();
await page.waitForSelector("#state:has-text('live')");
await page.waitForSelector(`#call-${CSS_escape(begun.call)}`, { timeout: TIMEOUT_MS });
await page.unroute("**/live/token");

// The call is found by its id. Its page shows the transcript and plays the recording.
await page.goto(path("calls"));
await inspect(page, "calls");
await page.fill("input[name=call_id]", sent.call);
await page.click("text=Search");
await page.click(`a:has-text("${sent.call}")`);
await page.waitForSelector("h2:has-text('Transcript')");
check((await page.locator(".turns .who").count()) >= 4, "the page must show the transcript");
await until(async () => {
    await page.reload();
    return (await page.locator("audio").count()) === 1;
}, "the recording");
await inspect(page, "call");
page.allowed = (request) => request.resourceType() === "media";
await page.evaluate(() => document.querySelector("audio").load());
await page.evaluate(() => document.querySelector("audio").play());
await until(() => page.evaluate(() => document.querySelector("audio").duration > 0.5), "the duration of the recording");

// An event becomes a dead letter. It is found, unmasked, redriven and resolved.
const broken = await ask("break");
await page.goto(path("failures"));
await until(async () => {
    await page.reload();
    return (await page.locator("table").first().textContent()).includes("RF2001");
}, "the failure");
await inspect(page, "failures");
await page.click(`a[href$="${encodeURIComponent(broken.event)}"]`);
await page.waitForSelector("h2:has-text('Attempts')");
check((await page.textContent("pre")).includes("hidden"), "the event must be masked");
await inspect(page, "failure");
await page.click("button:has-text('Unmask this event')");
await page.waitForSelector("pre:not(:has-text('hidden'))");
await page.click("a:has-text('RF2001')");
await page.waitForSelector("h2:has-text('Resolution')");
await inspect(page, "code");
await ask("fix");
await page.goto(path(`failures/one?event_id=${encodeURIComponent(broken.event)}`));
await page.click("button:has-text('Redrive this event')");
await page.waitForSelector("[role=status]");
await until(async () => {
    await page.goto(path(`failures/one?event_id=${encodeURIComponent(broken.event)}`));
    return (await page.textContent("dl")).includes("resolved");
}, "the failure to be resolved");

// Numbers page: counts, charts and tables.
await ask("count");
await page.goto(path("numbers"));
await page.waitForSelector("[data-plot] canvas");
check((await page.textContent("main")).match(/[1-9]\d* calls, of which [1-9]/), "the page must count calls");
await page.selectOption("select[name=period]", "day");
await page.click("text=Show");
await page.waitForURL((url) => url.searchParams.get("period") === "day");
await page.waitForSelector("[data-plot] canvas");
await page.click("summary");
await inspect(page, "numbers");

// Audit page: the actions above.
await page.goto(path("audit"));
const audited = await page.textContent("table");
for (const action of ["recording.play", "failure.unmask", "event.redrive"]) check(audited.includes(action), `the audit log must contain ${action}`);
await inspect(page, "audit");

// Total size of the pages and their files.
const heavy = await browser.newContext();
await heavy.addCookies(await page.context().cookies());
const fresh = await heavy.newPage();
// A file that the browser caches is counted once.
const bodies = new Map();
fresh.on("response", (response) => {
    if (!bodies.has(response.url())) bodies.set(response.url(), response.body().then((body) => body.length, () => 0));
});
for (const each of ["live", "calls", "failures", "numbers", "audit"]) {
    await fresh.goto(path(each), { waitUntil: "networkidle" });
    // The bodies are not available after the next navigation.
    await Promise.all(bodies.values());
}
const bytes = (await Promise.all(bodies.values())).reduce((sum, each) => sum + each, 0);
check(bytes > 50_000 && bytes < MAX_BYTES, `the pages have ${bytes} bytes`);
console.log(`  ok    five pages with their files: ${Math.round(bytes / 1024)} KB`);

// Keyboard: the first tab stop is the link that skips the navigation.
await page.goto(path("calls"));
await page.keyboard.press("Tab");
check((await page.evaluate(() => document.activeElement.textContent)) === "Skip to the content", "the first tab stop must skip to the content");

// Without a session the sign-in page opens. An operator sees all orgs.
await page.click("text=Sign out");
await page.goto(path("calls"));
check(page.url().endsWith("/console/sign-in"), "a page without a session must redirect to the sign-in page");
await inspect(page, "sign-in");
const operator = await signedIn(operatorLink);
await operator.waitForSelector("h1:has-text('Orgs')");
check((await operator.textContent("main")).includes("transcript-dead-letters"), "the page must show the depth of the queues");
await inspect(operator, "orgs");

await browser.close();
process.exit(0);

/** Escapes an id for a selector. */
function CSS_escape(text) {
    return text.replace(/[^a-zA-Z0-9_-]/g, (character) => `\\${character}`);
}
