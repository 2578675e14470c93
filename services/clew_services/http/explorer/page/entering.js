// The key: entered once, tried, and kept for as long as this tab is open.
import { Api, Refused } from "./api.js";
import { fill, h } from "./dom.js";
import { failure } from "./notices.js";

const NAME = "clew.key";

export const kept = () => sessionStorage.getItem(NAME);
export const forget = () => sessionStorage.removeItem(NAME);

/** Ask for a key. `entered` gets one that the API knows; `fault` says why the last one is of no use any more. */
export function entering(entered, fault = null) {
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
      "“clew up” prints one when it starts. It stays in this tab, and goes to this server only. To find threads takes the scope ",
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
      await tried(key);
      sessionStorage.setItem(NAME, key);
      entered(key);
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

async function tried(key) {
  if (!/^[\x21-\x7e]+$/.test(key)) {
    throw new Refused(401, { message: "This is no key of Clew: keys have neither spaces nor letters with accents." });
  }
  try {
    await new Api(key).get("threads", { limit: 1 });
  } catch (fault) {
    // A key that may not list is one all the same; what it may not do, and what is not ready, is said where it is tried.
    if (!(fault instanceof Refused) || fault.status === 401) throw fault;
  }
}
