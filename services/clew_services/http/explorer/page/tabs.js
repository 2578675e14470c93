// Tabs, and the panel below them: arrows move between tabs, as everywhere.
import { h } from "./dom.js";

export function tabs(names, first, chosen) {
  const buttons = names.map(([name, label]) => {
    const button = h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", "data-name": name }, label);
    button.addEventListener("click", () => pick(name));
    return button;
  });
  const element = h("div", { class: "tabs", role: "tablist", "aria-label": "What is shown" }, ...buttons);
  const panel = h("div", { class: "panel", role: "tabpanel", id: "panel", tabindex: "0" });
  let current = "";

  function choose(name) {
    current = name;
    for (const button of buttons) {
      const is = button.dataset.name === name;
      button.setAttribute("aria-selected", String(is));
      button.tabIndex = is ? 0 : -1;
      if (is) panel.setAttribute("aria-labelledby", button.id);
    }
  }

  function pick(name) {
    if (name === current) return;
    choose(name);
    chosen(name);
  }

  element.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const place = buttons.findIndex((button) => button.dataset.name === current);
    const next = buttons[(place + step + buttons.length) % buttons.length];
    next.focus();
    pick(next.dataset.name);
  });
  choose(first);
  return { element, panel, choose };
}
