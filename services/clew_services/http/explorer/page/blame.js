// Who changed what: for each key and item, with what it says, the commit that last set it, and who took away what is gone.
import { brokenOff, path } from "./api.js";
import { fill, h } from "./dom.js";
import { failure, loading } from "./notices.js";
import { toThread } from "./route.js";
import { line } from "./text.js";
import { when } from "./times.js";
import { expiry, item } from "./words.js";

const PAGE = 50;

/** Ask who set each part, as of a commit; of the items the newest. */
export async function asked(api, id, n, signal, limit = PAGE) {
  return (await api.get(path("threads", id, "blame"), { as_of: n, limit }, signal)).value;
}

/** The answer, as it is shown. What items say is read from their `commits`; `more(limit)` asks for more of the items. */
export function blameShown(blame, commits, more) {
  const origin = (by) => originShown(blame.thread_id, by);
  return h(
    "div",
    {},
    h("section", {}, h("h2", {}, "The thread"), h("table", { class: "blame" }, h("tbody", {}, fact("created", null, origin(blame.created)), blame.expires_after && fact("expires", blame.expires_after.value ? expiry(blame.expires_after.value) : "never", origin(blame.expires_after.by)), blame.deleted && fact("deleted", null, origin(blame.deleted))))),
    blame.erased && h("p", { class: "fine" }, "Some of what was set was erased, and is not named here."),
    part("Metadata", [
      ...blame.metadata.map((each) => fact(line(each.key), line(each.value), origin(each.by))),
      ...blame.removed.map((each) => removed(each, origin)),
    ]),
    blame.tool_resources.length > 0 &&
      part("Tool resources", blame.tool_resources.map((each) => fact(line(each.resource), line(each.value.join(", ") || "none"), origin(each.by)))),
    messages(blame, commits, origin, more),
  );
}

function part(title, rows) {
  return h("section", {}, h("h2", {}, title), rows.length ? h("table", { class: "blame" }, h("tbody", {}, ...rows)) : h("p", { class: "fine" }, "Nothing was ever set."));
}

function fact(name, value, ...origins) {
  return h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value), h("td", { class: "origin" }, ...origins));
}

function removed(each, origin) {
  return h(
    "tr",
    { class: "changed" },
    h("th", { scope: "row" }, line(each.key)),
    h("td", {}, h("del", {}, line(each.value || "(empty)")), " ", h("span", { class: "tag" }, "removed")),
    h("td", { class: "origin" }, h("p", {}, "removed by ", origin(each.by)), h("p", {}, "set by ", origin(each.set_by))),
  );
}

function messages(blame, commits, origin, more) {
  const body = h("tbody", {});
  const end = h("div", { class: "after" });
  const add = ({ messages: all, left_out: left }) => {
    const known = body.querySelectorAll(".item").length;
    body.append(...[...all].reverse().slice(known).flatMap((each) => message(each, commits, origin)));
    fill(end, left > 0 && h("button", { type: "button", onclick: () => next(all.length * 4) }, `Show more (${left.toLocaleString("en")} are left)`));
  };
  const next = async (limit) => {
    fill(end, loading("items"));
    try {
      add(await more(limit));
    } catch (fault) {
      if (!brokenOff(fault)) fill(end, failure(fault, () => next(limit)));
    }
  };
  add(blame);
  return h("section", {}, h("h2", {}, "Messages and other items", h("span", { class: "fine" }, " newest first")), blame.messages.length ? h("table", { class: "blame" }, body) : h("p", { class: "fine" }, "There never was one."), end);
}

// What an item says is what the commit said that added or last replaced it.
function said(each, commits) {
  const place = h("span", { class: "quote" }, "…");
  const by = each.replaced ?? each.added;
  commits.need(by.n).then((commit) => {
    const event = commit?.events.findLast(({ type, item: id }) => id === each.id && ["ItemAdded", "ItemReplaced", "ErasedItemEvent"].includes(type));
    if (event?.type === "ErasedItemEvent") fill(place, h("span", { class: "fine" }, "What it said was erased."));
    else fill(place, event ? line(item(event)) : h("span", { class: "fine" }, by.command === "ForkThread" ? "It is of the thread that this was forked from." : "What it said is not to be had."));
  });
  return place;
}

function message(each, commits, origin) {
  const name = h("span", { class: "mono id" }, line(each.id));
  const doing = [h("p", {}, "added by ", origin(each.added))];
  if (each.replaced) doing.push(h("p", {}, "replaced by ", origin(each.replaced)));
  if (![each.added, each.replaced, each.deleted].some((by) => by?.n === each.changed.n)) doing.push(h("p", {}, "changed by ", origin(each.changed)));
  if (each.deleted) doing.push(h("p", {}, "deleted by ", origin(each.deleted)));
  return [
    h("tr", { class: `item ${each.deleted ? "changed" : ""}` }, h("th", { scope: "row" }, name), h("td", {}, said(each, commits), each.deleted && [" ", h("span", { class: "tag" }, "deleted")]), h("td", { class: "origin" }, ...doing)),
    ...each.metadata.map((key) => fact(h("span", { class: "within" }, line(key.key)), line(key.value), origin(key.by))),
    ...each.removed.map((key) => removed(key, origin)),
  ];
}

function originShown(id, by) {
  return h("span", {}, line(by.actor), by.reason && [" (", line(by.reason), ")"], " in ", h("a", { href: toThread(id, { at: by.n }), class: "mono" }, `commit ${by.n}`), " ", when(by.at));
}
