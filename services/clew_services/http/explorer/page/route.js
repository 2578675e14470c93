// Where on the page one is, as the address has it: `#threads?…`, or `#thread/ID?at=12&tab=blame`.

/** What an address asks for. */
export function parsed(hash) {
  const [place, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const said = new URLSearchParams(query);
  if (place.startsWith("thread/")) {
    const at = Number(said.get("at"));
    return {
      view: "thread",
      id: decoded(place.slice("thread/".length)),
      at: Number.isSafeInteger(at) && at > 0 ? at : null,
      tab: said.get("tab") === "blame" ? "blame" : "state",
    };
  }
  const [search, order, after, before] = ["search", "order", "after", "before"].map((name) => said.get(name) ?? "");
  const filters = [...said].filter(([name]) => !["search", "order", "after", "before"].includes(name));
  return { view: "threads", search, filters, order: ["created", "oldest"].includes(order) ? order : "updated", after, before };
}

export function toThread(id, { at = null, tab = "state" } = {}) {
  const said = new URLSearchParams();
  if (at !== null) said.set("at", String(at));
  if (tab !== "state") said.set("tab", tab);
  return `#thread/${encodeURIComponent(id)}${said.size ? `?${said}` : ""}`;
}

/** A list: words, filters as pairs of a name and a value, an order, and the cursor of a page. */
export function toThreads({ search = "", filters = [], order = "updated", after = "", before = "" } = {}) {
  const said = new URLSearchParams(filters);
  if (search) said.set("search", search);
  if (order !== "updated") said.set("order", order);
  if (after) said.set("after", after);
  if (before) said.set("before", before);
  return `#threads${said.size ? `?${said}` : ""}`;
}

/** Go there; `quietly` leaves no step to come back to. */
export function go(hash, { quietly = false } = {}) {
  if (hash === location.hash) return;
  history[quietly ? "replaceState" : "pushState"](null, "", hash);
  dispatchEvent(new Event("hashchange"));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
