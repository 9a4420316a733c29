// On a narrow screen the rows of a list are blocks, and some screen readers then see no table unless it says that it is one.
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TH: "columnheader", TD: "cell" };

// Of the whole page first, and of each piece that is loaded later.
document.addEventListener("htmx:load", ({ detail: { elt } }) => {
    const loaded = [elt, ...elt.querySelectorAll("*")];
    for (const each of loaded) {
        if (ROLES[each.tagName] && each.closest("table.list")) each.setAttribute("role", ROLES[each.tagName]);
    }
});
