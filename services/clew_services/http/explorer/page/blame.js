// Who changed what: for each key and item the commit that last set it, and who took away what is gone.
import { path } from "./api.js";
import { h } from "./dom.js";
import { toThread } from "./route.js";
import { line } from "./text.js";
import { when } from "./times.js";
import { expiry } from "./words.js";

const PAGE = 50;

/** Ask who set each part, as of a commit. */
export async function asked(api, id, n, signal) {
  return (await api.get(path("threads", id, "blame"), { as_of: n }, signal)).value;
}

/** The answer, as it is shown. */
export function blameShown(blame) {
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
    messages(blame.messages, origin),
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

function messages(all, origin) {
  const body = h("tbody", {});
  const button = h("button", { type: "button" }, "Show more");
  let shown = 0;
  const newest = [...all].reverse();
  const more = () => {
    body.append(...newest.slice(shown, shown + PAGE).flatMap((each) => message(each, origin)));
    shown += PAGE;
    button.hidden = shown >= newest.length;
  };
  button.addEventListener("click", more);
  more();
  return h("section", {}, h("h2", {}, "Messages and other items", h("span", { class: "fine" }, " newest first")), all.length ? h("table", { class: "blame" }, body) : h("p", { class: "fine" }, "There never was one."), button);
}

function message(each, origin) {
  const name = h("span", { class: "mono id" }, line(each.id));
  const doing = [h("p", {}, "added by ", origin(each.added))];
  if (each.replaced) doing.push(h("p", {}, "replaced by ", origin(each.replaced)));
  if (![each.added, each.replaced, each.deleted].some((by) => by?.n === each.changed.n)) doing.push(h("p", {}, "changed by ", origin(each.changed)));
  if (each.deleted) doing.push(h("p", {}, "deleted by ", origin(each.deleted)));
  return [
    h("tr", { class: each.deleted ? "changed" : "" }, h("th", { scope: "row" }, name), h("td", {}, each.deleted && h("span", { class: "tag" }, "deleted")), h("td", { class: "origin" }, ...doing)),
    ...each.metadata.map((key) => fact(h("span", { class: "within" }, line(key.key)), line(key.value), origin(key.by))),
    ...each.removed.map((key) => removed(key, origin)),
  ];
}

function originShown(id, by) {
  return h("span", {}, line(by.actor), by.reason && ` (${by.reason})`, " in ", h("a", { href: toThread(id, { at: by.n }), class: "mono" }, `commit ${by.n}`), " ", when(by.at));
}
