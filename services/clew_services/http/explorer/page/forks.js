// Where a thread comes from, what was forked from it, and forking it at the commit that is shown.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { failure } from "./notices.js";
import { go, toThread } from "./route.js";
import { line } from "./text.js";
import { when } from "./times.js";

const DEEP = 20; // ancestors
const PAGE = 20;

/** The tree that a thread stands in, and a button that forks it as of commit `n`. */
export function forksShown(api, id, thread, n, signal) {
  const [above, below, place] = [h("p", {}), h("div", {}), h("div", {})];
  const button = h("button", { type: "button", class: "quiet", onclick: fork }, `Fork at commit ${n}`);

  async function fork() {
    button.disabled = true;
    fill(place);
    try {
      const made = await api.post(path("threads", id, "fork"), signal, { at: n });
      announce("The thread was forked.");
      go(toThread(made.id));
    } catch (fault) {
      if (!brokenOff(fault)) fill(place, failure(fault, fork));
    } finally {
      button.disabled = false;
    }
  }

  async function ancestors() {
    const steps = [];
    for (let from = thread.forked_from; from && steps.length < DEEP; ) {
      steps.push(steps.length ? ", which was forked from " : "Forked from ", at(from.thread, from.n));
      fill(above, ...steps, ".");
      from = await api.get(path("threads", from.thread), { as_of: from.n }, signal).then(({ value }) => value.forked_from, () => null);
    }
  }

  async function forks(after = null) {
    try {
      const { value } = await api.get(path("threads", id, "forks"), { limit: PAGE, after, order: "asc" }, signal);
      const rows = value.data.map((each) => h("li", {}, at(each.id, null), ` at commit ${each.forked_from.n}, `, when(each.created_at)));
      const more = value.next && h("button", { type: "button", class: "quiet", onclick: () => forks(value.next) }, "More forks");
      if (rows.length || after) fill(below, h("ul", { class: "forks" }, ...rows), more);
    } catch (fault) {
      if (!brokenOff(fault)) fill(below, failure(fault, () => forks(after)));
    }
  }

  ancestors();
  forks();
  return h("section", { "aria-labelledby": "forks" }, h("h2", { id: "forks" }, "Forks"), above, below, button, place);
}

const at = (id, n) => h("a", { href: toThread(id, { at: n }), class: "mono" }, line(id), n !== null && ` at commit ${n}`);
