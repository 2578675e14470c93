// The state at a moment: what its commit changed, metadata, tool resources and items as they were then.
import { brokenOff, path, Refused } from "./api.js";
import { copying, fill, h } from "./dom.js";
import { indented, written } from "./json.js";
import { failure, loading } from "./notices.js";
import { isRaw, reading, setRaw } from "./reading.js";
import { block, line } from "./text.js";
import { when } from "./times.js";

const PAGE = 40;
const KEPT = 40; // moments

/** What is known of a thread at a moment. `n` null is now, which needs no audit; `again` shows what is shown anew. */
export function states(api, id, again) {
  let kept = new Map();
  let order = "desc"; // the newest first
  const read = reading(api);
  // Of a conversation all items are listed, of another thread its messages.
  const [kind, parts] = id.startsWith("conv_") ? ["conversations", "items"] : ["threads", "messages"];

  async function at(n, signal) {
    const known = kept;
    if (known.has(n)) return known.get(n);
    const found = await asked(n, signal);
    // By number, the past stays what it is, until something of it is erased.
    if (n !== null) known.set(n, found);
    if (known.size > KEPT) known.delete(known.keys().next().value);
    return found;
  }

  async function asked(n, signal) {
    const [thread, items, change] = await Promise.all([
      present(api.get(path(n === null ? kind : "threads", id), { as_of: n }, signal), n),
      present(page(n, null, signal), n),
      n === null ? null : api.get(path("threads", id, "diff"), { from: n - 1, to: n }, signal).then(({ value }) => value),
    ]);
    return { n, thread: thread?.value ?? null, items: items?.value ?? null, change };
  }

  function page(n, after, signal) {
    return api.get(path(kind, id, parts), { as_of: n, order, limit: PAGE, after }, signal);
  }

  const forget = () => (kept = new Map());
  const turn = () => {
    order = order === "desc" ? "asc" : "desc";
    forget();
    again();
  };
  return { at, page, forget, turn, again, read, isNewestFirst: () => order === "desc" };
}

// A thread that its own commit deleted is not there; that is an answer, too.
async function present(asking, n) {
  try {
    return await asking;
  } catch (fault) {
    if (n !== null && fault instanceof Refused && fault.status === 404) return null;
    throw fault;
  }
}

/** A state, as it is shown. */
export function stateShown(found, pages, signal) {
  const change = found.change ?? { metadata: [], tool_resources: [], messages: [], items: [], status: null };
  if (found.thread === null) {
    const [title, told] = isErased(found)
      ? ["Erased", "What people wrote in this thread is gone for good. Who did what, and when, stays on record."]
      : ["Deleted", "After this commit the thread is gone for its users. Its history stays: go back to see it."];
    return h("div", {}, h("div", { class: "notice" }, h("h2", {}, title), h("p", {}, told)), gone(change, pages));
  }
  return h(
    "div",
    {},
    metadataShown(found.thread, change.metadata),
    resourcesShown(found.thread.tool_resources, change.tool_resources),
    gone(change, pages),
    itemsShown(found, change, pages, signal),
  );
}

/** Whether the thread was erased by then, so that it cannot be restored. */
export const isErased = (found) => found.change?.status.after === "erased";

function metadataShown({ metadata, erased }, changes) {
  const changed = new Map(changes.map((each) => [each.key, each]));
  const keys = [...new Set([...Object.keys(metadata), ...changed.keys()])].sort();
  return h(
    "section",
    { "aria-labelledby": "metadata" },
    h("h2", { id: "metadata" }, "Metadata"),
    keys.length
      ? h("table", { class: "metadata" }, h("thead", { class: "unseen" }, h("tr", {}, h("th", {}, "Key"), h("th", {}, "Value"))), h("tbody", {}, ...keys.map((key) => pair(key, metadata[key], changed.get(key)))))
      : h("p", { class: "fine" }, erased ? "Erased." : "None."),
    keys.length > 0 && erased && h("p", { class: "fine" }, "Some was erased."),
  );
}

/** A key and its value; if it changed, what it was before. */
export function pair(key, value, change) {
  return h(
    "tr",
    { class: change ? "changed" : "" },
    h("th", { scope: "row" }, line(key)),
    h(
      "td",
      {},
      change && change.before !== null && h("del", {}, line(change.before || "(empty)")),
      value !== undefined && (change ? h("ins", {}, line(value || "(empty)")) : line(value || "(empty)")),
      value === undefined && h("span", { class: "tag" }, "removed"),
    ),
  );
}

function resourcesShown(resources, changes) {
  const lists = [
    ["code_interpreter.file_ids", resources?.code_interpreter?.file_ids ?? []],
    ["file_search.vector_store_ids", resources?.file_search?.vector_store_ids ?? []],
  ];
  const changed = new Map(changes.map((each) => [each.resource, each]));
  const told = lists.filter(([name, ids]) => ids.length || changed.has(name));
  if (!told.length) return null;
  return h(
    "section",
    { "aria-labelledby": "resources" },
    h("h2", { id: "resources" }, "Tool resources"),
    h("table", { class: "metadata" }, h("tbody", {}, ...told.map(([name, ids]) => {
      const change = changed.get(name);
      const before = change && { before: change.before.length ? change.before.join(", ") : null };
      return pair(name, ids.length ? ids.join(", ") : undefined, before);
    }))),
  );
}

// Items that this commit took away stand in no list any more.
function gone(change, pages) {
  const taken = [...change.messages, ...change.items].filter((each) => each.change === "deleted" && each.before);
  if (!taken.length) return null;
  const most = 20;
  return h(
    "section",
    { "aria-labelledby": "taken" },
    h("h2", { id: "taken" }, change.status?.after === "deleted" ? "Items that went with it" : "Deleted by this commit"),
    h("ol", { class: "messages" }, ...taken.slice(0, most).map((each) => itemShown(each.before, pages, { change: "deleted" }))),
    taken.length > most && h("p", { class: "fine" }, `And ${(taken.length - most).toLocaleString("en")} more: the commit before has them.`),
  );
}

function itemsShown(found, change, pages, signal) {
  const list = h("ol", { class: "messages" });
  const after = h("div", { class: "after" });
  const changes = new Map([...change.messages, ...change.items].map((each) => [each.id, each]));
  const add = (page) => {
    list.append(...page.data.map((item) => itemShown(item, pages, changes.get(item.id))));
    fill(after, page.has_more && h("button", { type: "button", onclick: () => more(page.last_id) }, pages.isNewestFirst() ? "Show earlier ones" : "Show later ones"));
  };
  const more = async (cursor) => {
    fill(after, loading("items"));
    try {
      add((await pages.page(found.n, cursor, signal)).value);
    } catch (fault) {
      if (!brokenOff(fault)) fill(after, failure(fault, () => more(cursor)));
    }
  };
  const page = found.items ?? { data: [], has_more: false };
  const listed = new Set(page.data.map((each) => each.id));
  // What the list leaves out is shown where it changed.
  list.append(...change.items.filter((each) => each.after && !listed.has(each.id)).map((each) => itemShown(each.after, pages, each)));
  add(page);
  return h(
    "section",
    { "aria-labelledby": "items" },
    h("h2", { id: "items" }, "Messages and other items"),
    h("div", { class: "switches" }, ...switches(pages)),
    list.childElementCount ? list : h("p", { class: "fine" }, "None."),
    after,
  );
}

// In which order, and whether as it was given.
function switches(pages) {
  const order = h("button", { type: "button", class: "quiet", onclick: () => pages.turn() }, pages.isNewestFirst() ? "Newest first" : "Oldest first");
  const raw = h("button", { type: "button", class: "quiet", "aria-pressed": String(isRaw()) }, "Raw");
  raw.addEventListener("click", () => {
    setRaw(!isRaw());
    pages.again();
  });
  return [order, raw];
}

const TOLD = { added: "new", changed: "changed", deleted: "deleted" };

/** An item, and how it `change`d; `named` is whether it can be found by its id. */
export function itemShown(item, pages, change = null, named = true) {
  const [said, before] = [contents(item), change?.change === "changed" && change.before ? contents(change.before) : null];
  const shown = (each, { as, shown: raw, erased }) => (erased ? [] : pages.read.place(each, as, raw));
  const replaced = before !== null && before.as !== said.as;
  const metadata = said.role ? Object.entries(item.metadata ?? {}) : [];
  const keys = new Map((change?.metadata ?? []).map((each) => [each.key, each]));
  const removed = [...keys.values()].filter((each) => each.after === null);
  return h(
    "li",
    { class: `message ${said.erased ? "erased" : ROLES.includes(said.role) ? said.role : ""} ${change ? `is-${change.change}` : ""}`, id: named && `item-${item.id}` },
    h(
      "p",
      { class: "by" },
      h("span", { class: "role" }, said.erased ? "erased" : line(said.role ?? item.type)),
      change && h("span", { class: "tag" }, TOLD[change.change] ?? change.change),
      item.created_at && item.object === "thread.message" && when(item.created_at),
      h("span", { class: "mono id" }, line(item.id)),
      !said.erased && copying(said.text, `what ${item.id} says`),
    ),
    said.erased && h("p", { class: "fine" }, "Who said it, and what, was erased."),
    replaced ? [h("del", {}, shown(change.before, before)), h("ins", {}, shown(item, said))] : shown(item, said),
    metadata.length + removed.length > 0 &&
      h("table", { class: "metadata" }, h("tbody", {}, ...metadata.map(([key, value]) => pair(key, String(value), change?.change === "changed" ? keys.get(key) : undefined)), ...(change?.change === "changed" ? removed.map((each) => pair(each.key, undefined, each)) : []))),
  );
}

const ROLES = ["user", "assistant", "system", "developer"];

/** By whom an item is, if it is a message; what it says, and the same as one text. */
function contents(item) {
  const { type = "message", role, content, attachments, erased } = item;
  if (erased === true && item.type === undefined && (content ?? []).length === 0) return { erased, as: "", shown: () => [] };
  const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
  if (type !== "message" || !Array.isArray(parts)) {
    const as = indented(item);
    return { as, text: as, shown: () => [block(as, "mono code")] };
  }
  const files = Array.isArray(attachments) && attachments.length > 0 && h("p", { class: "fine" }, "Attached: ", ...attachments.map((each) => h("code", {}, line(each?.file_id))));
  const text = parts.map((each) => each?.text?.value ?? each?.text ?? indented(each)).join("\n\n");
  return { role, text, as: written([role, parts, attachments ?? []]), shown: () => [...parts.map(part), files] };
}

function part(each) {
  const text = each?.text?.value ?? each?.text;
  if (typeof text === "string") return block(text);
  const where = each?.type === "image_url" ? each.image_url?.url : each?.image_file?.file_id;
  // Told, and never fetched: nothing outside learns that somebody looks.
  if (typeof where === "string") return h("p", { class: "fine" }, each.type === "image_url" ? "Image at " : "Image ", h("code", {}, line(where)));
  return block(indented(each), "mono code");
}
