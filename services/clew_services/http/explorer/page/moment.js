// The moment that is looked at: a slider along the thread, with its commits as knots, and a step either way.
import { fill, h, svg } from "./dom.js";
import { line } from "./text.js";
import { exact, when } from "./times.js";
import { sort } from "./words.js";

const KNOTS = 160;
const LEAP = 10;
const STEPS = { "First commit": "⇤", "Previous commit": "←", "Next commit": "→", "Latest commit": "⇥" };

/** A slider from the first commit to the last, with what `marks` has; `moved(n, done)` is called as it moves, and when it is let go, `pinned()` to compare from it. */
export function moment(commits, marks, moved, pinned) {
  let at = 0;
  const range = h("input", { id: "moment", type: "range", min: "1", max: "1", step: "1", "aria-label": "Moment in the thread’s history" });
  const knots = svg("svg", { class: "knots", "aria-hidden": "true", focusable: "false", preserveAspectRatio: "none" });
  const told = h("p", { class: "told", id: "told" });
  const pin = h("button", { type: "button", class: "quiet", onclick: pinned }, "Compare from here");
  const step = (label, to) => {
    const button = h("button", { type: "button", class: "step", "aria-label": label, title: label }, h("span", { "aria-hidden": "true" }, STEPS[label]));
    button.addEventListener("click", () => to() !== at && moved(to(), true));
    return button;
  };
  const buttons = {
    first: step("First commit", () => 1),
    back: step("Previous commit", () => Math.max(1, at - 1)),
    on: step("Next commit", () => Math.min(commits.total, at + 1)),
    last: step("Latest commit", () => commits.total),
  };
  const element = h(
    "section",
    { class: "moment", "aria-label": "Moment" },
    h("div", { class: "moment-head" }, told, pin),
    h(
      "div",
      { class: "walk" },
      h("div", { class: "steps" }, buttons.first, buttons.back),
      h("div", { class: "line" }, knots, range),
      h("div", { class: "steps" }, buttons.on, buttons.last),
    ),
  );
  range.addEventListener("input", () => moved(Number(range.value), false));
  range.addEventListener("change", () => moved(Number(range.value), false));
  range.addEventListener("keydown", (event) => {
    const step = { PageUp: LEAP, PageDown: -LEAP }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    moved(Math.min(commits.total, Math.max(1, at + step)), false);
  });

  function draw() {
    const total = commits.total;
    range.max = String(total);
    range.value = String(at);
    range.disabled = total < 2;
    buttons.first.disabled = buttons.back.disabled = at <= 1;
    buttons.on.disabled = buttons.last.disabled = at >= total;
    const commit = commits.get(at);
    range.setAttribute("aria-valuetext", commit ? `Commit ${at} of ${total}, ${exact(commit.at)}, by ${commit.actor}` : `Commit ${at} of ${total}`);
    fill(
      told,
      h("strong", {}, at === total ? "Now" : "Then"),
      h("span", {}, "after commit ", h("b", { class: "mono" }, at.toLocaleString("en")), " of ", h("span", { class: "mono" }, total.toLocaleString("en"))),
      commit && h("span", {}, when(commit.at), " ", h("span", { class: "exact mono" }, exact(commit.at))),
      commit && h("span", {}, "by ", line(commit.actor)),
    );
    string(total);
  }

  function string(total) {
    const drawn = total <= KNOTS ? total : 0;
    const place = (n) => (total < 2 ? 500 : ((n - 1) / (total - 1)) * 1000);
    knots.setAttribute("viewBox", "0 0 1000 12");
    fill(
      knots,
      svg("line", { class: "ahead", x1: 0, y1: 6, x2: 1000, y2: 6 }),
      svg("line", { class: "gone-by", x1: 0, y1: 6, x2: place(at), y2: 6 }),
      ...marks.drawn(place, total),
      ...Array.from({ length: drawn }, (_, index) => {
        const commit = commits.get(index + 1);
        const x = place(index + 1);
        return svg("line", { class: `tick ${commit ? sort(commit) : commits.isMissing(index + 1) ? "missing" : ""} ${index + 1 <= at ? "past" : ""}`, x1: x, x2: x, y1: 1, y2: 11 });
      }),
    );
  }

  return {
    element,
    draw,
    select(n) {
      at = n;
      draw();
    },
  };
}
