// The page: whose key it is used with, and which view the address asks for.
import { Api, Refused } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { entering, forget, kept } from "./entering.js";
import { finding } from "./finding.js";
import { listen } from "./keys.js";
import { go, parsed, toThreads } from "./route.js";
import { threadView } from "./thread.js";
import { clock, keepFresh } from "./times.js";

const main = document.getElementById("main");
const side = document.getElementById("top-side");
let api = null;
let view = null;

function show() {
  const route = parsed(location.hash);
  if (api === null) {
    ask();
  } else if (view?.takes(route)) {
    view.go(route);
  } else {
    leave();
    view = (route.view === "thread" ? threadView : finding)(api, route);
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
  fill(main, entering(enter, fault));
  main.querySelector("input")?.focus();
}

function enter(key) {
  api = new Api(key);
  const button = h("button", { type: "button", class: "quiet", onclick: () => lose() }, "Forget key");
  fill(side, clock(), button);
  show();
}

function lose(fault = null) {
  forget();
  api = null;
  announce("The key was forgotten.");
  ask(fault);
}

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
});

// To the field for words, wherever it is.
function seek() {
  if (!document.getElementById("words")) go(toThreads());
  document.getElementById("words")?.focus();
}

const key = kept();
if (key) enter(key);
else ask();
