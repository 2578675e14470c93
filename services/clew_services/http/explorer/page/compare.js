// Two moments of a thread side by side: what differs, by the API's word, is marked; what does not is told once.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { failure, loading } from "./notices.js";
import { toThread } from "./route.js";
import { itemShown } from "./state.js";
import { line } from "./text.js";
import { when } from "./times.js";
import { expiry } from "./words.js";

const PAGE = 40;

/** The comparison of the states after commits `first` and `last`; `other(n)` is called for another first one. */
export function comparison(api, id, pages, total, other) {
  /** What there is to tell; with more changed items and commits than `limit` the newest. */
  async function asked(first, last, signal, limit = PAGE) {
    const get = (n) => api.get(path("threads", id), { as_of: n }, signal).then(({ value }) => value, absent);
    const differs = api.get(path("threads", id, "diff"), { from: first, to: last, limit }, signal);
    const [{ value: difference }, before, after] = await Promise.all([differs, get(first), get(last)]);
    return { difference, before, after, again: (limit) => asked(first, last, signal, limit) };
  }

  function shown(found, signal) {
    const { difference, before, after } = found;
    const place = h("div", { class: "compared" });
    fill(
      place,
      heads(difference),
      sides(difference, before, after),
      items(difference, found, (more) => fill(place, ...shown(more, signal).childNodes)),
      after && unchanged(difference, signal),
      commits(difference),
    );
    return place;
  }

  function heads({ from, to }) {
    const number = h("input", { id: "from", type: "number", min: 1, max: total(), value: String(from.n), "aria-label": "Compare with the state after commit" });
    number.addEventListener("change", () => other(Math.min(total(), Math.max(1, Math.trunc(Number(number.value)) || 1))));
    return h(
      "div",
      { class: "sides heads" },
      h("p", {}, h("label", { for: "from" }, "Before: after commit"), number, from.at && when(from.at)),
      h("p", {}, h("span", { class: "label" }, "After: after commit"), h("a", { class: "mono", href: toThread(id, { at: to.n }) }, String(to.n)), to.at && when(to.at)),
    );
  }

  function sides(difference, before, after) {
    const changes = new Map(difference.metadata.map((each) => [each.key, each]));
    const keys = [...new Set([...Object.keys(before?.metadata ?? {}), ...Object.keys(after?.metadata ?? {}), ...changes.keys()])].sort();
    const rows = keys.map((key) => {
      const change = changes.get(key);
      const same = (after ?? before)?.metadata[key];
      return change ? row(line(key), change.before, change.after) : row(line(key), same, same, true);
    });
    const status = difference.status;
    const resources = difference.tool_resources.map((each) => row(line(each.resource), each.before.join(", ") || null, each.after.join(", ") || null));
    const expires = difference.expires_after;
    return h(
      "section",
      { "aria-labelledby": "sides" },
      h("h2", { id: "sides" }, "The thread"),
      difference.erased && h("p", { class: "fine" }, "Some of it was erased since: what that changed is not told here."),
      h(
        "table",
        { class: "sided" },
        h("thead", { class: "unseen" }, h("tr", {}, ...["Part", "Before", "After"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, row("It is", status.before, status.after, status.before === status.after), expires && row("It expires", term(expires.before), term(expires.after)), ...resources, ...rows),
      ),
    );
  }

  function items(difference, found, more) {
    const changes = [...difference.messages, ...difference.items];
    const left = difference.changes_left_out;
    const body = changes.slice().reverse().map((each) => {
      const how = each.change;
      const [was, is] = [each.before && itemShown(each.before, pages, { change: how, metadata: [] }, false), each.after && itemShown(each.after, pages, { ...each, before: null }, false)];
      const none = (why) => h("p", { class: "fine" }, why);
      return h("li", { class: `sides ${how}` }, h("ol", { class: "messages" }, was || h("li", { class: "none" }, none("It was not there."))), h("ol", { class: "messages" }, is || h("li", { class: "none" }, none([line(each.id, "mono id"), how === "added_and_deleted" ? " was added, and deleted again." : " is not there any more."]))));
    });
    const button = h("button", { type: "button" }, `Show more (${left.toLocaleString("en")} are left)`);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        more(await found.again(Math.min(10000, Math.max(difference.commits.length, changes.length) * 4)));
      } catch (fault) {
        if (!brokenOff(fault)) button.replaceWith(failure(fault));
      }
    });
    return h(
      "section",
      { "aria-labelledby": "differing" },
      h("h2", { id: "differing" }, "Items that differ", h("span", { class: "fine" }, ` ${(changes.length + left).toLocaleString("en")}, the newest first`)),
      changes.length ? h("ol", {}, ...body) : h("p", { class: "fine" }, "None."),
      left > 0 && button,
    );
  }

  // Those of the later moment that the difference does not name. Where it leaves some out, that cannot be told.
  function unchanged(difference, signal) {
    if (difference.changes_left_out) return null;
    const changed = new Set([...difference.messages, ...difference.items].map((each) => each.id));
    const list = h("ol", { class: "messages" });
    const end = h("div", { class: "after" });
    const element = h("details", { class: "record" }, h("summary", {}, "Items that are the same"), list, end);
    const more = async (after) => {
      fill(end, loading("items"));
      try {
        const { value } = await pages.page(difference.to.n, after, signal);
        list.append(...value.data.filter((each) => !changed.has(each.id)).map((each) => itemShown(each, pages, null, false)));
        fill(end, value.has_more ? h("button", { type: "button", onclick: () => more(value.last_id) }, "Show more") : !list.childElementCount && h("p", { class: "fine" }, "None."));
      } catch (fault) {
        if (!brokenOff(fault)) fill(end, failure(fault, () => more(after)));
      }
    };
    element.addEventListener("toggle", () => element.open && !list.childElementCount && more(null));
    return element;
  }

  function commits({ commits: all, commits_left_out: left }) {
    const told = all.slice().reverse().map((each) => h("li", {}, h("a", { class: "mono", href: toThread(id, { at: each.n }) }, `commit ${each.n}`), " by ", line(each.actor), ", ", line(each.command), " ", when(each.at), each.reason && [": ", line(each.reason)]));
    return h(
      "section",
      { "aria-labelledby": "between" },
      h("h2", { id: "between" }, "Commits in between", h("span", { class: "fine" }, ` ${(all.length + left).toLocaleString("en")}, the newest first`)),
      h("ol", { class: "between" }, ...told),
      left > 0 && h("p", { class: "fine" }, `And ${left.toLocaleString("en")} before them, on the timeline.`),
    );
  }

  return {
    asked,
    shown(found, signal) {
      const { messages, items: others, changes_left_out: left, from, to } = found.difference;
      announce(`Compared commits ${from.n} and ${to.n}: ${messages.length + others.length + left} items differ.`);
      return shown(found, signal);
    },
  };
}

// A thread that was deleted then is not there; that is an answer, too.
function absent(fault) {
  if (fault.status === 404) return null;
  throw fault;
}

const term = (expires) => (expires ? expiry(expires) : null);

function row(name, before, after, same = false) {
  const cell = (value, tag) => h("td", {}, value === null || value === undefined ? h("span", { class: "fine" }, "none") : same ? line(value || "(empty)") : h(tag, {}, line(value || "(empty)")));
  return h("tr", { class: same ? "" : "changed" }, h("th", { scope: "row" }, name), cell(before, "del"), cell(after, "ins"));
}
