// The state at a moment: what its commit changed, metadata, tool resources and messages as they were then.
import { brokenOff, path, Refused } from "./api.js";
import { fill, h } from "./dom.js";
import { failure, loading } from "./notices.js";
import { block, line } from "./text.js";
import { when } from "./times.js";

const PAGE = 40;
const KEPT = 40; // moments

/** What is known of a thread at a moment. `n` null is now, which needs no audit. */
export function states(api, id) {
  let kept = new Map();

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
    const [thread, messages, change] = await Promise.all([
      present(api.get(path("threads", id), { as_of: n }, signal), n),
      present(page(n, null, signal), n),
      n === null ? null : api.get(path("threads", id, "diff"), { from: n - 1, to: n }, signal).then(({ value }) => value),
    ]);
    return { n, thread: thread?.value ?? null, messages: messages?.value ?? null, change };
  }

  function page(n, after, signal) {
    return api.get(path("threads", id, "messages"), { as_of: n, order: "desc", limit: PAGE, after }, signal);
  }

  return { at, page, forget: () => (kept = new Map()) };
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
  const change = found.change ?? { metadata: [], tool_resources: [], messages: [], status: null };
  const messages = new Map(change.messages.map((each) => [each.id, each]));
  if (found.thread === null) {
    const [title, told] = isErased(found)
      ? ["Erased", "What people wrote in this thread is gone for good. Who did what, and when, stays on record."]
      : ["Deleted", "After this commit the thread is gone for its users. Its history stays: go back to see it."];
    return h("div", {}, h("div", { class: "notice" }, h("h2", {}, title), h("p", {}, told)), gone(change));
  }
  return h(
    "div",
    {},
    metadataShown(found.thread, change.metadata),
    resourcesShown(found.thread.tool_resources, change.tool_resources),
    gone(change),
    messagesShown(found, messages, pages, signal),
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

// Messages that this commit took away stand in no list any more.
function gone(change) {
  const taken = change.messages.filter((each) => each.change === "deleted" && each.before !== null);
  if (!taken.length) return null;
  const most = 20;
  return h(
    "section",
    { "aria-labelledby": "taken" },
    h("h2", { id: "taken" }, change.status?.after === "deleted" ? "Messages that went with it" : "Deleted by this commit"),
    h("ol", { class: "messages" }, ...taken.slice(0, most).map((each) => messageShown(each.before, { change: "deleted", metadata: [] }))),
    taken.length > most && h("p", { class: "fine" }, `And ${(taken.length - most).toLocaleString("en")} more: the commit before has them.`),
  );
}

function messagesShown(found, changes, pages, signal) {
  const list = h("ol", { class: "messages" });
  const after = h("div", { class: "after" });
  const add = (page) => {
    list.append(...page.data.map((message) => messageShown(message, changes.get(message.id))));
    fill(after, page.has_more && h("button", { type: "button", onclick: () => more(page.last_id) }, "Show earlier messages"));
  };
  const more = async (cursor) => {
    fill(after, loading("messages"));
    try {
      add((await pages.page(found.n, cursor, signal)).value);
    } catch (fault) {
      if (!brokenOff(fault)) fill(after, failure(fault, () => more(cursor)));
    }
  };
  add(found.messages ?? { data: [], has_more: false });
  return h(
    "section",
    { "aria-labelledby": "messages" },
    h("h2", { id: "messages" }, "Messages", h("span", { class: "fine" }, " newest first")),
    list.childElementCount ? list : h("p", { class: "fine" }, "None."),
    after,
  );
}

const TOLD = { added: "new", changed: "changed", deleted: "deleted" };

function messageShown(message, change = null) {
  const metadata = Object.entries(message.metadata);
  const removed = (change?.metadata ?? []).filter((each) => each.after === null);
  const before = new Map((change?.metadata ?? []).map((each) => [each.key, each]));
  return h(
    "li",
    { class: `message ${message.erased ? "erased" : message.role} ${change ? `is-${change.change}` : ""}`, id: message.id },
    h(
      "p",
      { class: "by" },
      h("span", { class: "role" }, message.erased ? "erased" : message.role),
      change && h("span", { class: "tag" }, TOLD[change.change] ?? change.change),
      when(message.created_at),
      h("span", { class: "mono id" }, line(message.id)),
    ),
    message.erased && h("p", { class: "fine" }, "Who said it, and what, was erased."),
    ...message.content.map(part),
    message.attachments?.length > 0 && h("p", { class: "fine" }, "Attached: ", ...message.attachments.map((each) => h("code", {}, line(each.file_id)))),
    metadata.length + removed.length > 0 &&
      h("table", { class: "metadata" }, h("tbody", {}, ...metadata.map(([key, value]) => pair(key, value, change?.change === "changed" ? before.get(key) : undefined)), ...(change?.change === "changed" ? removed.map((each) => pair(each.key, undefined, each)) : []))),
  );
}

function part(each) {
  if (each.type === "text") return block(each.text.value);
  const where = each.type === "image_url" ? each.image_url.url : each.image_file?.file_id ?? "";
  // Told, and never fetched: nothing outside learns that somebody looks.
  return h("p", { class: "fine" }, each.type === "image_url" ? "Image at " : "Image ", h("code", {}, line(where)));
}
