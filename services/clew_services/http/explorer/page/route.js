// Where on the page one is, as the address has it: `#threads?…`, `#tenant/keys`, or `#thread/ID?at=12&from=4&tab=compare&kind=items`.

const TABS = ["state", "blame", "compare"];
const PAGES = ["you", "feed", "keys", "rejected", "retention", "holds", "status"];

/** What an address asks for. */
export function parsed(hash) {
  const [place, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const said = new URLSearchParams(query);
  if (place.startsWith("thread/")) {
    return {
      view: "thread",
      id: decoded(place.slice("thread/".length)),
      at: number(said.get("at")),
      from: number(said.get("from")),
      tab: TABS.includes(said.get("tab")) ? said.get("tab") : "state",
      actor: said.get("actor") ?? "",
      kind: said.get("kind") ?? "",
    };
  }
  if (place === "tenant" || place.startsWith("tenant/")) {
    const page = place.slice("tenant/".length);
    return { view: "tenant", page: PAGES.includes(page) ? page : "you" };
  }
  const [search, order, after, before] = ["search", "order", "after", "before"].map((name) => said.get(name) ?? "");
  const filters = [...said].filter(([name]) => !["search", "order", "after", "before"].includes(name));
  return { view: "threads", search, filters, order: ["created", "oldest"].includes(order) ? order : "updated", after, before };
}

/** The address of a thread: at which commit, compared with the state after which, and which commits are listed. */
export function toThread(id, { at = null, from = null, tab = "state", actor = "", kind = "" } = {}) {
  const said = new URLSearchParams();
  if (at !== null) said.set("at", String(at));
  if (from !== null) said.set("from", String(from));
  if (actor) said.set("actor", actor);
  if (kind) said.set("kind", kind);
  if (tab !== "state") said.set("tab", tab);
  return `#thread/${encodeURIComponent(id)}${said.size ? `?${said}` : ""}`;
}

/** A page of the tenant. */
export const toTenant = (page) => `#tenant/${page}`;

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

function number(text) {
  const said = Number(text);
  return Number.isSafeInteger(said) && said > 0 ? said : null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
