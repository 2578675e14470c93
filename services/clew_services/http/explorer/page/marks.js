// What stands out in a thread's history: legal holds and how long they lasted, erasures, and forks.
import { brokenOff, path } from "./api.js";
import { fill, h, svg } from "./dom.js";
import { toThread } from "./route.js";
import { line } from "./text.js";

const MOST = 100; // forks
const SHOWN = 12;

/** The marks of a thread, of which `leaves` knows holds and erasures; `changed` is called when there are others. */
export function marks(api, id, leaves, signal, changed) {
  const element = h("ul", { class: "marks", "aria-label": "What stands out" });
  let all = []; // each with the commit `n` that it is at, `kind`, `text`, and of a hold `last`, the commit that released it
  let forks = [];

  async function renew() {
    try {
      const [{ value }] = await Promise.all([api.get(path("threads", id, "forks"), { limit: MOST, order: "asc" }, signal), leaves.renew()]);
      forks = value.data;
      draw();
    } catch (fault) {
      // They are an addition: what is missing of them is asked for again with the next commit.
      if (!brokenOff(fault)) return;
    }
  }

  function draw() {
    const told = [...leaves.holds(), ...leaves.erasures(), ...forks.map((each) => ({ n: each.forked_from.n, kind: "fork", text: `forked as ${each.id}` }))];
    if (JSON.stringify(told) === JSON.stringify(all)) return;
    all = told.sort((one, other) => one.n - other.n);
    const items = all.slice(0, SHOWN).map(({ n, kind, text, last }) => h("li", { class: kind }, line(text), " ", at(n), last && [" to ", at(last)]));
    fill(element, ...items, all.length > SHOWN && h("li", { class: "fine" }, `${all.length - SHOWN} more are on the timeline`));
    changed();
  }

  const at = (n) => h("a", { class: "mono", href: toThread(id, { at: n }) }, `commit ${n}`);
  return {
    element,
    renew,
    draw,
    /** What a commit is marked with, if it is, beyond what it did itself. */
    at: (n) => all.filter((each) => each.n === n && each.kind === "fork").map(({ text }) => text).join(", "),
    /** The holds that were in force after a commit. */
    heldBy: (n) => all.filter((each) => each.kind === "hold" && each.n <= n && n < (each.last ?? Infinity)).map(({ hold }) => hold),
    /** The marks as parts of a drawing, where `place` says how far along it a commit is. */
    drawn: (place, total) =>
      all.map(({ n, kind, last }) => {
        if (kind === "hold") return svg("line", { class: "hold", x1: place(n), x2: place(last ?? total), y1: -5, y2: -5 });
        return svg("line", { class: kind, x1: place(n), x2: place(n), y1: -8, y2: -1 });
      }),
  };
}
