// The page: whose key it is used with, and which view the address asks for.
import { Api, Refused } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { entering } from "./entering.js";
import { finding } from "./finding.js";
import { listen } from "./keys.js";
import { go, parsed, toTenant, toThreads } from "./route.js";
import { tenantView } from "./tenant.js";
import { line } from "./text.js";
import { threadView } from "./thread.js";
import { clock, keepFresh } from "./times.js";

const main = document.getElementById("main");
const side = document.getElementById("top-side");
const AGAIN = 2000;
const VIEWS = { thread: threadView, tenant: tenantView, threads: finding };

const api = new Api();
let session = null;
let view = null;

function show() {
  const route = parsed(location.hash);
  if (session === null) {
    ask();
  } else if (view?.takes(route)) {
    view.go(route);
  } else {
    leave();
    view = VIEWS[route.view](api, route, session);
    document.body.dataset.view = route.view;
    fill(main, view.element);
    scrollTo(0, 0);
  }
}

function leave() {
  view?.leave();
  view = null;
}

function ask(fault = null) {
  leave();
  fill(side);
  document.body.dataset.view = "key";
  document.title = "Clew explorer";
  fill(main, entering(api, entered, fault));
  main.querySelector("input")?.focus();
}

function entered(opened) {
  enter(opened);
  tabs.postMessage("entered");
}

function enter(opened) {
  // What another key showed is not to be seen, or acted on, under the name of this one.
  if (session?.key !== opened.key) leave();
  session = opened;
  const button = h("button", { type: "button", class: "quiet", onclick: signOut }, "Sign out");
  const whose = h("a", { class: "whose", href: toTenant("you"), title: `The tenant, as ${opened.actor}: ${opened.scopes.join(", ")}` }, line(opened.tenant));
  fill(side, clock(), whose, button);
  show();
}

async function signOut() {
  try {
    await api.leave();
  } catch (fault) {
    // The session may have ended by itself; if nobody answers, it has not.
    if (!(fault instanceof Refused)) return announce(fault.message);
  }
  lose();
  tabs.postMessage("left");
}

function lose(fault = null) {
  session = null;
  announce("You are signed out.");
  ask(fault);
}

// Who signs out or in does so in all tabs.
const tabs = new BroadcastChannel("clew.session");
tabs.addEventListener("message", ({ data }) => {
  if (data === "left" && session !== null) lose();
  if (data === "entered") resume();
});

addEventListener("hashchange", show);
// A key that is revoked while it is used: whatever asked says so, and here another can be entered.
addEventListener("refused", (event) => {
  if (event.detail instanceof Refused && event.detail.status === 401) lose(event.detail);
});
document.getElementById("skip").addEventListener("click", () => main.focus());
document.querySelector(".brand").addEventListener("click", (event) => {
  if (location.hash === toThreads()) event.preventDefault();
});
keepFresh(document);
listen({
  "/": seek,
  j: () => view?.step(1),
  k: () => view?.step(-1),
  c: () => view?.pin?.(),
});

// To the field for words, wherever it is.
function seek() {
  if (!document.getElementById("words")) go(toThreads());
  document.getElementById("words")?.focus();
}

async function resume() {
  try {
    enter((await api.get("session")).value);
  } catch (fault) {
    const isUnknown = fault instanceof Refused && fault.status === 401;
    session = null;
    ask(isUnknown ? null : fault);
    if (!isUnknown) setTimeout(() => session === null && resume(), AGAIN);
  }
}

resume();
