// Draws the page's tables as charts.
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
/** Resolves a colour of the light or dark mode, because a canvas needs its value. */
function colour(name) {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = css(name);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
}

for (const figure of document.querySelectorAll("[data-plot]")) {
    const { names, hours, rows } = JSON.parse(figure.dataset.plot);
    const place = document.createElement("div");
    // Screen readers read the table instead.
    place.setAttribute("aria-hidden", "true");
    figure.querySelector("figcaption").after(place);
    // A stepped line ends at its last point, so one more point gives the last hour its width.
    if (hours.length > 0) {
        hours.push(hours.at(-1) + 3600);
        rows.push(rows.at(-1));
    }
    const days = hours.length > 48;
    const labels = (_, at) => at.map((seconds) => new Date(seconds * 1000).toISOString().slice(...(days ? [5, 10] : [11, 16])));
    let plot;
    const draw = () => {
        plot?.destroy();
        const [ink, line] = [colour("--ink"), colour("--line")];
        const colours = ["--link", "--good", "--bad"].map(colour);
        const axis = { stroke: ink, grid: { stroke: line }, ticks: { stroke: line } };
        const series = names.map((label, index) => ({
            label, stroke: colours[index], fill: names.length === 1 ? colours[2] : undefined, width: 2, points: { show: false },
            paths: uPlot.paths.stepped({ align: 1 }),
        }));
        const options = {
            width: figure.clientWidth, height: 220, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
            scales: { y: { range: (_, __, most) => [0, Math.max(most, 4)] } },
            axes: [{ ...axis, values: labels }, { ...axis, size: 50 }], series: [{ value: "{YYYY}-{MM}-{DD} {HH}:00" }, ...series],
        };
        plot = new uPlot(options, [hours, ...names.map((_, index) => rows.map((row) => row[index]))], place);
    };
    draw();
    new ResizeObserver(() => plot.setSize({ width: figure.clientWidth, height: 220 })).observe(figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
