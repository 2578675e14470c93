// The key: entered once, and exchanged for a session, which all tabs of this browser have.
import { Refused } from "./api.js";
import { fill, h } from "./dom.js";
import { failure } from "./notices.js";

/** Ask for a key. `entered` is told whose session it opened; `fault` says why the last one is of no use any more. */
export function entering(api, entered, fault = null) {
  const input = h("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "key-help",
  });
  const button = h("button", { type: "submit", class: "first" }, "Open");
  const trouble = h("div", {}, fault && failure(fault));
  const form = h(
    "form",
    { class: "entering" },
    h("h1", {}, "How did this thread come to be?"),
    h("p", { class: "lead" }, "Find a thread, go back to any moment of it, see who changed what, and check that its record is whole."),
    h("label", { for: "key" }, "API key"),
    h("div", { class: "joined" }, input, button),
    h(
      "p",
      { id: "key-help", class: "fine" },
      "“clew up” prints one when it starts. It goes to this server only, and is kept nowhere: you stay signed in until the browser is closed, for 12 hours at most. To find threads takes the scope ",
      h("code", {}, "read"),
      ", to see their past ",
      h("code", {}, "audit"),
      ".",
    ),
    trouble,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = input.value.trim();
    if (!key) return;
    button.disabled = true;
    fill(trouble);
    try {
      if (!/^[\x21-\x7e]+$/.test(key)) {
        throw new Refused(401, { message: "This is no key of Clew: keys have neither spaces nor letters with accents." });
      }
      entered(await api.enter(key));
    } catch (fault) {
      fill(trouble, failure(fault));
      input.setAttribute("aria-invalid", "true");
      input.select();
    } finally {
      button.disabled = false;
    }
  });
  return form;
}
