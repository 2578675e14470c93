// What is shown where there is nothing to show: loading, empty, and errors, each with what to do next.
import { Refused, Silent } from "./api.js";
import { h } from "./dom.js";
import { line } from "./text.js";

/** That something is on its way. */
export function loading(what) {
  return h("p", { class: "loading", role: "status" }, `Loading ${what} …`);
}

/** That there is nothing, and what to do about it. */
export function empty(title, advice) {
  return h("div", { class: "notice" }, h("h2", {}, title), h("p", {}, advice));
}

/** That the log has no commit of a thread of which something else is known. */
export function gone() {
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    h("h2", {}, "The history of this thread is gone"),
    h("p", {}, "The log has no commit of it, and Clew never removes any. Keep everything as it is; what was done is named by"),
    h("p", {}, h("code", {}, "clew verify --all")),
  );
}

/** That the key has none of the scopes, any one of which would do. */
export function lacking(scopes) {
  const advice = "Ask whoever runs Clew for a key that has it, and sign in with that.";
  return empty(`This takes the scope ${scopes.map((scope) => `“${scope}”`).join(" or ")}`, advice);
}

const EVERY = 3000; // milliseconds

/** What went wrong, and what to do; `again` tries once more, `byItself` too where that may help: it only reads. */
export function failure(fault, again = null, byItself = false) {
  const { title, advice, command } = explained(fault);
  const itself = again && byItself && (fault instanceof Silent || fault.status === 503);
  const element = h(
    "div",
    { class: "notice bad", role: "alert" },
    h("h2", {}, title),
    h("p", {}, line(fault.message)),
    h("p", {}, advice, itself && " It is tried again by itself."),
    command && h("p", {}, h("code", {}, command)),
    again && h("button", { type: "button", onclick: again }, "Try again"),
  );
  if (itself) retry(element, again);
  return element;
}

// For as long as it stands on the page, and somebody looks.
function retry(element, again) {
  const timer = setInterval(() => {
    if (element.isConnected && document.hidden) return;
    clearInterval(timer);
    if (element.isConnected) again();
  }, EVERY);
}

/** The same in words. */
export function explained(fault) {
  if (fault instanceof Silent) {
    return { title: "No answer", advice: "See whether Clew runs and the network is there." };
  }
  if (!(fault instanceof Refused)) {
    return { title: "The explorer failed", advice: "This is a fault of the page. Load it again, and tell who runs it." };
  }
  if (fault.status === 401) {
    return { title: "The key is not accepted", advice: "Enter another. “clew keys list” names those that there are." };
  }
  if (fault.scope) {
    return {
      title: `The key lacks the scope “${fault.scope}”`,
      advice: "Ask whoever runs Clew for a key that has it. They make one with",
      command: `clew keys create --name explorer --scope read --scope ${fault.scope}`,
    };
  }
  if (fault.status === 404) return { title: "Not there", advice: "Check the id. A key sees the threads of its tenant only." };
  if (fault.status === 409) return { title: "That cannot be done", advice: "Nothing was changed." };
  if (fault.status === 429) return { title: "Too many requests", advice: "Wait for a moment, then try again." };
  if (fault.status === 503) return { title: "Clew is not ready", advice: "Try again in a moment; /readyz says what is wrong." };
  if (fault.status >= 500) return { title: "The server failed", advice: "Its log says why. Nothing was changed by looking." };
  return { title: "That cannot be asked", advice: "Change what was asked for, and try again." };
}
