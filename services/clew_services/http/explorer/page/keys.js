// The keyboard: a key alone does what people are used to, unless they are typing.
import { h } from "./dom.js";

const KEYS = [
  ["/", "find a thread"],
  ["j", "the next one: thread, or commit"],
  ["k", "the one before"],
  ["c", "compare from the commit that is shown"],
  ["?", "show these keys"],
  ["Esc", "close them"],
];

/** Have keys work; `does` has what each does. */
export function listen(does) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, dialog")) return;
    const act = event.key === "?" ? help : does[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function help() {
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog",
    { class: "keys", "aria-labelledby": "keys" },
    h("h2", { id: "keys" }, "Keys"),
    h("table", {}, h("tbody", {}, ...KEYS.map(([key, what]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, what))))),
    h("p", { class: "fine" }, "In the slider, the timeline and the tabs the arrows, Page Up and Down, Home and End move as well."),
    close,
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
