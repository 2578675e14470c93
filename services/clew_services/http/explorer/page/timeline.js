// The timeline: the commits of a thread, the newest first, knots on a line. Only those in view are on the page.
import { fill, h, settled } from "./dom.js";
import { line } from "./text.js";
import { ago, exact } from "./times.js";
import { did, sort } from "./words.js";

const ROW = 64; // pixels, as in the style
const SPARE = 6;
const LEAP = 10;

/** A list in which one commit is chosen; `chosen` is called with its number. */
export function timeline(commits, chosen) {
  const rows = h("div", { class: "rows", role: "presentation" });
  const element = h("div", {
    class: "timeline",
    role: "listbox",
    tabindex: "0",
    "aria-label": "Commits, the newest first",
  });
  element.append(rows);
  let at = 0;
  const want = settled(60, (from, to) => commits.want(from, to));

  function draw() {
    rows.style.height = `${commits.total * ROW}px`;
    const first = Math.max(0, Math.floor(element.scrollTop / ROW) - SPARE);
    const last = Math.min(commits.total - 1, Math.ceil((element.scrollTop + element.clientHeight) / ROW) + SPARE);
    const places = Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
    fill(rows, places.map(row));
    if (at) element.setAttribute("aria-activedescendant", `commit-${at}`);
    if (places.length) want(commits.total - last, commits.total - first);
  }

  function row(place) {
    const n = commits.total - place;
    const commit = commits.get(n);
    const missing = !commit && commits.isMissing(n);
    const option = h(
      "div",
      {
        class: `commit ${commit ? sort(commit) : missing ? "missing" : "unread"}`,
        role: "option",
        id: `commit-${n}`,
        "aria-selected": String(n === at),
        "aria-setsize": commits.total,
        "aria-posinset": place + 1,
        onclick: () => chosen(n, true),
      },
      h("span", { class: "knot", "aria-hidden": "true" }),
      h("span", { class: "did" }, commit ? line(did(commit)) : missing ? "Missing from the log" : "…"),
      h(
        "span",
        { class: "by" },
        h("span", { class: "mono" }, `${n}`),
        commit && h("span", { class: "who" }, line(commit.actor)),
        commit && h("span", { class: "command" }, line(commit.command)),
        commit && h("time", { datetime: commit.at, title: exact(commit.at) }, n === at ? exact(commit.at).slice(0, 19) : ago(commit.at)),
      ),
    );
    option.style.top = `${place * ROW}px`;
    return option;
  }

  function reveal() {
    const [top, seen] = [(commits.total - at) * ROW, element.clientHeight];
    const [over, under] = [element.scrollTop - top, top + ROW - element.scrollTop - seen];
    if (Math.max(over, under) > 2 * ROW) element.scrollTop = top - (seen - ROW) / 2;
    else if (over > 0) element.scrollTop = top;
    else if (under > 0) element.scrollTop = top + ROW - seen;
  }

  element.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: LEAP, PageDown: -LEAP, Home: Infinity, End: -Infinity };
    const step = steps[event.key];
    if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    chosen(Math.min(commits.total, Math.max(1, at + step)), false);
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
      rows.style.height = `${commits.total * ROW}px`;
      reveal();
      draw();
    },
    /** There are more than before: whoever looks at old ones goes on looking at them. */
    grown(by) {
      if (element.scrollTop > ROW / 2) element.scrollTop += by * ROW;
      draw();
    },
    leave: () => watcher.disconnect(),
  };
}
