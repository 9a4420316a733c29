// A ready link carries its token behind the #, which browsers send to nobody: into no log, and to no server on the way.
const form = document.querySelector("form");
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
    history.replaceState(null, "", location.pathname);
    form.elements.token.value = token;
    // Whoever was sent somebody else's link should see that he is about to sign in by it.
    form.querySelector("button").focus();
}
