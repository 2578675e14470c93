// The timeline: commits of a thread, the newest first, knots on a line. Only those in view are on the page.
import { fill, h, settled } from "./dom.js";
import { line } from "./text.js";
import { ago, exact } from "./times.js";
import { ending } from "./matches.js";
import { did, sort } from "./words.js";

const ROW = 64; // pixels, as in the style
const SPARE = 6;
const LEAP = 10;

/**
 * A list in which one commit is chosen; `chosen` is called with its number. Of `commits` it has those that `matches` lists,
 * and shows what `marks` knows of each.
 */
export function timeline(commits, matches, marks, chosen) {
  const end = h("div", { class: "ending" });
  const rows = h("div", { class: "rows", role: "presentation" });
  const element = h("div", {
    class: "timeline",
    role: "listbox",
    tabindex: "0",
    "aria-label": "Commits, the newest first",
  });
  element.append(rows, end);
  let at = 0;
  let pinned = null;
  const want = settled(60, (from, to) => commits.want(from, to));

  function draw() {
    rows.style.height = `${matches.total * ROW}px`;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW) - SPARE);
    const last = Math.min(matches.total - 1, Math.ceil((element.scrollTop + element.clientHeight) / ROW) + SPARE);
    const places = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
    fill(rows, places.map(row));
    fill(end, ending(matches));
    const chosenPlace = at ? matches.place(at) : -1;
    if (places.includes(chosenPlace) && matches.at(chosenPlace) === at) element.setAttribute("aria-activedescendant", `commit-${at}`);
    else element.removeAttribute("aria-activedescendant");
    if (!matches.filtered && places.length) want(commits.total - last, commits.total - first);
    if (last >= matches.total - SPARE) matches.more();
  }

  function row(place) {
    const [n, commit] = [matches.at(place), matches.get(place)];
    const [mark, held] = [marks.at(n), marks.heldBy(n)];
    const missing = !commit && commits.isMissing(n);
    const option = h(
      "div",
      {
        class: `commit ${commit ? sort(commit) : missing ? "missing" : "unread"} ${held.length ? "is-held" : ""} ${n === pinned ? "pinned" : ""}`,
        role: "option",
        id: `commit-${n}`,
        "aria-selected": String(n === at),
        "aria-setsize": matches.total,
        "aria-posinset": place + 1,
        onclick: () => chosen(n, true),
      },
      h("span", { class: "knot", "aria-hidden": "true" }),
      h("span", { class: "did" }, commit ? line(did(commit, matches.before(place))) : missing ? "Missing from the log" : "…"),
      h(
        "span",
        { class: "by" },
        h("span", { class: "mono" }, `${n}`),
        n === pinned && h("span", { class: "tag" }, "compared"),
        mark && h("span", { class: "tag" }, line(mark)),
        held.length > 0 && h("span", { class: "unseen" }, `held by ${held.join(", ")}`),
        commit && h("span", { class: "who" }, line(commit.actor)),
        commit && h("span", { class: "command" }, line(commit.command)),
        commit && h("time", { datetime: commit.at, title: exact(commit.at) }, n === at ? exact(commit.at).slice(0, 19) : ago(commit.at)),
      ),
    );
    option.style.top = `${place * ROW}px`;
    return option;
  }

  function reveal() {
    const [top, seen] = [matches.place(at) * ROW, element.clientHeight];
    const [over, under] = [element.scrollTop - top, top + ROW - element.scrollTop - seen];
    if (Math.max(over, under) > 2 * ROW) element.scrollTop = top - (seen - ROW) / 2;
    else if (over > 0) element.scrollTop = top;
    else if (under > 0) element.scrollTop = top + ROW - seen;
  }

  // To the one that is so many later among those that are listed.
  function go(by, step) {
    if (!matches.total) return;
    const place = matches.place(at);
    // Before one that is not listed comes the one in its place.
    const from = by < 0 && place < matches.total && matches.at(place) !== at ? place - 1 : place;
    chosen(matches.at(Math.min(matches.total - 1, Math.max(0, from - by))), step);
  }

  element.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: LEAP, PageDown: -LEAP, Home: Infinity, End: -Infinity };
    const step = steps[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(step, false);
  });
  element.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  const watcher = new ResizeObserver(() => {
    if (at) reveal();
    draw();
  });
  watcher.observe(element);

  return {
    element,
    draw,
    select(n) {
      at = n;
      rows.style.height = `${matches.total * ROW}px`;
      reveal();
      draw();
    },
    /** There are more than before: whoever looks at old ones goes on looking at them. */
    grown(by) {
      if (element.scrollTop > ROW / 2) element.scrollTop += by * ROW;
      draw();
    },
    step: (by) => go(by, true),
    pin(n) {
      pinned = n;
      draw();
    },
    leave: () => watcher.disconnect(),
  };
}
