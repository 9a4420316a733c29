// On a narrow screen the rows of a list are blocks. Some screen readers then need roles to recognise the table.
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TH: "columnheader", TD: "cell" };

// htmx sends this event for the whole page, and for each part that it loads later.
document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    const loaded = [elt, ...elt.querySelectorAll("*")];
    for (const each of loaded) {
        if (ROLES[each.tagName] && each.closest("table.list")) each.setAttribute("role", ROLES[each.tagName]);
    }
});
