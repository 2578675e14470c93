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
  const order = said.get("order") === "updated" ? "updated" : "created";
  return { view: "threads", search: said.get("search") ?? "", key: said.get("key") ?? "", value: said.get("value") ?? "", order };
}

export function toThread(id, { at = null, tab = "state" } = {}) {
  const said = new URLSearchParams();
  if (at !== null) said.set("at", String(at));
  if (tab !== "state") said.set("tab", tab);
  return `#thread/${encodeURIComponent(id)}${said.size ? `?${said}` : ""}`;
}

export function toThreads({ search = "", key = "", value = "", order = "created" } = {}) {
  const said = new URLSearchParams();
  if (search) said.set("search", search);
  if (key) said.set("key", key);
  if (value) said.set("value", value);
  if (order !== "created") said.set("order", order);
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
