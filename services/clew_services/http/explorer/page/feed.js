// The tenant's feed: what happens in all its threads, as it happens.
import { brokenOff } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { live, watching } from "./live.js";
import { empty, failure } from "./notices.js";
import { toThread } from "./route.js";
import { line } from "./text.js";
import { when } from "./times.js";
import { did } from "./words.js";

const PAGE = 25;
const KEPT = 500;
const OWN = "tenant"; // the id of the tenant's own history

/** The newest commits, and those that come. */
export function feedShown({ api, signal }) {
  let commits = [];
  let next = null;
  const list = h("ol", { class: "threads feed", "aria-label": "Commits, the newest first" });
  const after = h("div", { class: "after" });
  const watch = watching();
  const older = h("button", { type: "button", onclick: () => more().catch(failed) }, "Show older");
  const stream = live(api, null, {
    told: watch.told,
    took(commit) {
      if (commits.some(({ id }) => id === commit.id)) return;
      commits = [commit, ...commits].slice(0, KEPT);
      // Those that are there stay, and so does whoever is at one with the keyboard.
      list.prepend(row(commit));
      if (list.childElementCount > KEPT) list.lastElementChild.remove();
      tell();
      announce("1 new commit.");
    },
    async opened() {
      [commits, next] = [[], null];
      await more();
    },
  });
  watch.on(stream);
  signal.addEventListener("abort", () => stream.leave());
  stream.start();

  async function more() {
    const { value: page } = await api.get("events", { order: "desc", limit: PAGE, after: next }, signal);
    commits = [...commits, ...page.data];
    next = page.has_more ? page.next : null;
    draw();
  }

  function draw() {
    fill(list, ...commits.map(row));
    tell();
  }

  function tell() {
    if (!commits.length) fill(after, empty("Nothing has happened yet", "Commits appear here as they are stored. Threads begin with POST /v1/threads."));
    else fill(after, next && commits.length < KEPT && older);
  }

  const failed = (fault) => brokenOff(fault) || fill(after, failure(fault, () => more().catch(failed)));
  return h("div", {}, h("div", { class: "actions" }, watch.button), list, after);
}

function row(commit) {
  const at = h("p", { class: "fine" }, when(commit.stored_at), commit.actor && [" by ", line(commit.actor)]);
  if (!commit.events) return h("li", {}, h("p", {}, "A commit that cannot be read: ", line(commit.fault.message)), at);
  const where = commit.thread_id !== OWN
    ? h("a", { class: "id mono", href: toThread(commit.thread_id, { at: commit.n }) }, line(commit.thread_id))
    : h("span", { class: "fine" }, "The tenant’s own history");
  return h("li", {}, where, h("p", {}, line(did(commit))), at);
}
