// Times: how long ago, and exactly, in UTC.
import { h } from "./dom.js";

const STEPS = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86400, "hour", 3600],
  [86400 * 30, "day", 86400],
  [86400 * 365, "month", 86400 * 30],
  [Infinity, "year", 86400 * 365],
];
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** A time as a number of milliseconds: from Unix seconds, or as the API writes it. */
export function instant(said) {
  return typeof said === "number" ? said * 1000 : Date.parse(said);
}

/** Such as "3 minutes ago". */
export function ago(said) {
  const seconds = (instant(said) - Date.now()) / 1000;
  if (Math.abs(seconds) < 5) return "just now";
  const [, unit, size] = STEPS.find(([most]) => Math.abs(seconds) < most);
  return RELATIVE.format(Math.trunc(seconds / size), unit);
}

/** Such as "2026-11-22 22:00:00.123 UTC": as exact as what it is made of. */
export function exact(said) {
  if (typeof said === "number") return `${new Date(said * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  return `${said.replace("T", " ").replace(/Z$|\+00:00$/, "")} UTC`;
}

const NAME = "clew explorer times";
const isExact = () => sessionStorage.getItem(NAME) === "exact";
const told = (said) => (isExact() ? exact(said) : ago(said));

/** A button by which all times are told exactly, or by how long ago they are. */
export function clock() {
  const label = () => (isExact() ? "Times: exact" : "Times: relative");
  const button = h("button", { type: "button", class: "quiet" }, label());
  button.addEventListener("click", () => {
    sessionStorage.setItem(NAME, isExact() ? "relative" : "exact");
    button.textContent = label();
    renew(document);
  });
  return button;
}

/** How long ago; exactly to whoever points at it or gets there with the keyboard. */
export function when(said, className = "") {
  const iso = new Date(instant(said)).toISOString();
  return h("time", { datetime: iso, title: exact(said), class: className, "data-at": iso }, told(said));
}

/** Keep what is on the page from growing old. */
export function keepFresh(within) {
  setInterval(() => renew(within), 20000);
}

function renew(within) {
  for (const each of within.querySelectorAll("time[data-at]")) each.textContent = isExact() ? each.title : ago(each.dataset.at);
}
