// What others wrote, shown as it is: whole, within its own direction, and with signs that would deceive made visible.
import { h } from "./dom.js";

const FIRST = 4000;
const MORE = 50000;
/**
 * Controls, signs that turn or hide what stands beside them, fillers, and tags, which spell out a text that nobody sees.
 * Joiners and variation selectors stay, as letters and emoji are made with them, unless they follow one another.
 */
export const DECEIVING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e00ff}\u{e01f0}-\u{e0fff}]|(?<=[\u200c\u200d])[\u200c\u200d]|(?<=[\ufe00-\ufe0f\u{e0100}-\u{e01ef}])[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

/** A short text on one line. Signs that nobody sees are named by their code. */
export function line(text, className = "") {
  return h("bdi", { class: `said ${className}`, dir: "auto" }, ...shown(String(text).replace(/[\n\t]/g, " ")));
}

/** The beginning of a text, on one line. */
export function beginning(text, most = 140) {
  const whole = Array.from(String(text).slice(0, most * 2));
  return whole.length > most || text.length > most * 2 ? `${whole.slice(0, most).join("")}…` : String(text);
}

/** A text of any length, as long lines and all; of a great one the beginning, and a way to the rest. */
export function block(text, className = "") {
  // Code has a frame that scrolls: by the keyboard, too.
  const body = h("div", { class: `prose ${className}`, dir: "auto", tabindex: className.includes("code") ? 0 : null });
  let end = 0;
  const go = (most) => {
    const next = whole(text, Math.min(text.length, end + most));
    body.append(...shown(text.slice(end, next)));
    end = next;
  };
  go(FIRST);
  if (end === text.length) return body;
  const left = () => `Show more (${(text.length - end).toLocaleString("en")} characters are left)`;
  const button = h("button", { type: "button", class: "quiet" }, left());
  button.addEventListener("click", () => {
    go(MORE);
    if (end === text.length) button.remove();
    else button.textContent = left();
  });
  return h("div", {}, body, button);
}

// Never between the two halves of one sign.
function whole(text, end) {
  const code = text.charCodeAt(end - 1);
  return end < text.length && code >= 0xd800 && code <= 0xdbff ? end - 1 : end;
}

function shown(text) {
  const parts = [];
  let last = 0;
  for (const found of text.matchAll(DECEIVING)) {
    if (parts.length > 400) break;
    parts.push(text.slice(last, found.index), sign(found[0]));
    last = found.index + found[0].length;
  }
  parts.push(text.slice(last).replace(DECEIVING, "\ufffd"));
  return parts.map((part) => (typeof part === "string" ? document.createTextNode(part) : part));
}

function sign(character) {
  const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return h("span", { class: "sign", title: "A sign that is not seen, by its code" }, `U+${code}`);
}
