// A sign-in link has its token in the fragment, which browsers do not send, so that it is in no log.
const form = document.querySelector("form");
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
    history.replaceState(null, "", location.pathname);
    form.elements.token.value = token;
    // The form is not submitted automatically, so that a person who opens a stranger's link notices the sign-in.
    form.querySelector("button").focus();
}
