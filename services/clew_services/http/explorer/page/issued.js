// The tenant's API keys: issued, shown once, and revoked.
import { columns } from "./affairs.js";
import { brokenOff, path } from "./api.js";
import { announce, copying, fill, h } from "./dom.js";
import { empty, failure } from "./notices.js";
import { line } from "./text.js";
import { when } from "./times.js";

const SCOPES = {
  read: "threads as they are",
  write: "change threads",
  audit: "the past, the feed, proofs",
  erase: "erase for ever",
  hold: "legal holds",
  retention: "policies of retention",
  admin: "keys and rejected commands",
};

/** A form for a new key, and all keys there are. */
export async function issuedShown({ api, session, signal }) {
  const list = h("div", {});
  const shown = h("div", { role: "status" });
  const trouble = h("div", {});
  const name = h("input", { id: "key-name", autocomplete: "off", spellcheck: "false", required: true, maxlength: 64, pattern: "[A-Za-z0-9][A-Za-z0-9._@\\-]*", title: "Letters, digits, '.', '_', '@' and '-', beginning with a letter or digit" });
  const scopes = Object.entries(SCOPES).map(([scope, what]) => [scope, h("input", { type: "checkbox", id: `scope-${scope}`, checked: scope === "read" }), what]);
  const make = h("button", { type: "submit", class: "first" }, "Create the key");
  const form = h(
    "form",
    { class: "issuing" },
    h("label", { for: "key-name" }, "Who uses the new key, for the record"),
    name,
    h("fieldset", {}, h("legend", {}, "What it may do"), ...scopes.map(([scope, box, what]) => h("label", { for: box.id }, box, h("code", {}, scope), ` ${what}`))),
    make,
  );
  form.addEventListener("submit", create);

  async function create(event) {
    event.preventDefault();
    make.disabled = true;
    fill(trouble);
    try {
      const chosen = scopes.filter(([, box]) => box.checked).map(([scope]) => scope);
      const made = await api.post("keys", signal, { name: name.value.trim(), scopes: chosen });
      fill(shown, keyShown(made));
      form.reset();
      await renew();
    } catch (fault) {
      if (!brokenOff(fault)) fill(trouble, failure(fault));
    } finally {
      make.disabled = false;
    }
  }

  async function renew() {
    const { value } = await api.get("keys", {}, signal);
    const rows = value.data.map((key) => [[line(key.name), h("div", { class: "mono fine" }, line(key.id))], key.scopes.join(", "), ageOf(key), h("div", {}, fate(key))]);
    fill(list, rows.length ? columns("Keys", ["Name", "Scopes", "Used", "Revoked"], rows) : empty("There is no key", "Create one above."));
  }

  function fate(key) {
    if (key.revoked_at !== null) return ["revoked ", when(key.revoked_at)];
    if (key.configured) return "in the servers’ configuration";
    const place = h("div", {});
    const ask = () => {
      const keep = h("button", { type: "button", onclick: () => (offer(), place.firstChild.focus()) }, "Keep it");
      fill(place, h("p", {}, key.id === session.key ? "This is your own: you are signed out. " : "", "Who uses it is shut out at once, for ever."), h("div", { class: "actions" }, keep, h("button", { type: "button", class: "first", onclick: () => revoke(key, place) }, "Revoke for ever")));
      keep.focus();
    };
    const offer = () => fill(place, h("button", { type: "button", "aria-label": `Revoke the key ${key.name}`, onclick: ask }, "Revoke"));
    offer();
    return place;
  }

  async function revoke(key, place) {
    try {
      await api.delete(path("keys", key.id), signal);
      announce(`The key ${key.name} is revoked.`);
      await renew();
      name.focus();
    } catch (fault) {
      if (brokenOff(fault)) return;
      fill(place, failure(fault, () => revoke(key, place)));
      dispatchEvent(new CustomEvent("refused", { detail: fault }));
    }
  }

  await renew();
  return h("div", {}, form, trouble, shown, list);
}

function keyShown({ key, name }) {
  return h(
    "div",
    { class: "notice good" },
    h("h2", {}, "The key of ", line(name)),
    h("p", {}, h("code", { class: "new-key" }, key), " ", copying(key, "the key")),
    h("p", {}, "It is shown this once: hand it over now. Clew keeps only what it is recognized by."),
  );
}

function ageOf({ created_at: created, last_used_at: used }) {
  if (created === null) return h("span", { class: "fine" }, "not recorded");
  return [h("div", {}, "created ", when(created)), h("div", { class: "fine" }, used === null ? "never used" : ["used ", when(used)])];
}
