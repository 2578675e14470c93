// The commits that the timeline lists: all of a thread, or those of an actor and of a kind of change, read backward as far as one looks.
import { brokenOff, path } from "./api.js";
import { lastValue } from "./commits.js";
import { h } from "./dom.js";
import { KINDS } from "./words.js";

const PAGE = 100;

/** What is listed of `commits`. Places count from the newest, which is 0. */
export class Matches {
  #api;
  #path;
  #signal;
  #commits;
  #wanted = { actor: "", kind: "" };
  #found = []; // the newest first
  #next = null;
  #reading = null;

  constructor(api, id, commits, signal, { arrived, failed }) {
    this.#api = api;
    this.#path = path("threads", id, "events");
    this.#commits = commits;
    this.#signal = signal;
    this.arrived = arrived;
    this.failed = failed;
  }

  get filtered() {
    return this.#wanted.actor !== "" || this.#wanted.kind !== "";
  }

  /** How many there are, as far as was looked. */
  get total() {
    return this.filtered ? this.#found.length : this.#commits.total;
  }

  /** How far down the thread was looked: 0 if all of it was. */
  get left() {
    return this.filtered && this.#next !== null ? this.#next.n : 0;
  }

  /** List those of an actor, who may end in `*`, and of a kind; empty is all. */
  choose({ actor, kind }) {
    if (actor === this.#wanted.actor && kind === this.#wanted.kind) return;
    this.#wanted = { actor, kind: Object.hasOwn(KINDS, kind) ? kind : "" };
    this.forget();
  }

  /** Look anew: something was erased. */
  forget() {
    this.#reading?.abort();
    this.#reading = null;
    this.#found = [];
    this.#next = { n: this.#commits.total, after: null };
    this.more();
  }

  at(place) {
    return this.filtered ? this.#found[place].n : this.#commits.total - place;
  }

  /** Where a commit is, or would be. */
  place(n) {
    if (!this.filtered) return this.#commits.total - n;
    const place = this.#found.findIndex((each) => each.n <= n);
    return place < 0 ? this.#found.length : place;
  }

  get(place) {
    return this.filtered ? this.#found[place] : this.#commits.get(this.at(place));
  }

  /** What metadata was before the commit at a place. Of one kind alone, those before it tell. */
  before(place) {
    if (!this.filtered) return this.#commits.before(this.at(place));
    if (this.#wanted.actor || this.#wanted.kind !== "metadata") return () => undefined;
    return (key) => lastValue(this.#found.slice(place + 1).reverse(), key);
  }

  /** One that came about; whether it is listed. */
  take(commit) {
    if (!this.filtered) return true;
    const { actor, kind } = this.#wanted;
    const by = actor === "" || (actor.endsWith("*") ? commit.actor.startsWith(actor.slice(0, -1)) : commit.actor === actor);
    const matches = by && (kind === "" || commit.events.some(({ type, of }) => KINDS[kind][1].includes(of ?? type)));
    if (matches && commit.n > (this.#found[0]?.n ?? 0)) this.#found.unshift(commit);
    return matches;
  }

  /** Look further back, if there is more. */
  async more() {
    if (!this.filtered || this.#next === null || this.#reading) return;
    const mine = (this.#reading = new AbortController());
    try {
      const { actor, kind } = this.#wanted;
      const asked = { order: "desc", limit: PAGE, after: this.#next.after, actor, type: kind && KINDS[kind][1].join(",") };
      const { value } = await this.#api.get(this.#path, asked, AbortSignal.any([this.#signal, mine.signal]));
      if (mine.signal.aborted) return;
      this.#found.push(...value.data);
      this.#next = value.next && { n: Number(value.next.split("-")[0]), after: value.next };
      this.#reading = null;
      this.arrived();
    } catch (fault) {
      if (this.#reading === mine) this.#reading = null;
      if (!brokenOff(fault)) this.failed(fault);
    }
  }
}

/**
 * A form that chooses by whom and of which kind commits are, and goes to a time; `chosen` gets actor and kind, `sought` a
 * time in UTC.
 */
export function choosing({ actor, kind }, chosen, sought) {
  const who = h("input", { id: "by-actor", type: "search", autocomplete: "off", spellcheck: "false", maxlength: 128, placeholder: "By anybody", value: actor });
  const what = h("select", { id: "by-kind" }, h("option", { value: "" }, "All changes"), ...Object.entries(KINDS).map(([name, [label]]) => h("option", { value: name }, label)));
  const time = h("input", { id: "to-time", type: "datetime-local", step: 1 });
  const field = (label, control, ...more) => h("div", { class: "field" }, h("label", { class: "unseen", for: control.id }, label), control, ...more);
  const submit = (act) => (event) => {
    event.preventDefault();
    act();
  };
  const choose = () => chosen({ actor: who.value.trim(), kind: what.value });
  const go = () => time.value && sought(`${time.value.length === 16 ? `${time.value}:00` : time.value}Z`);
  const element = h(
    "div",
    { class: "choosing" },
    h("h2", {}, "Timeline"),
    h("form", { "aria-label": "A time", onsubmit: submit(go) }, field("Time, in UTC", time), h("button", { type: "submit" }, "Go (UTC)")),
    h("form", { "aria-label": "Which commits are listed", onsubmit: submit(choose) }, field("By", who), field("What changed", what), h("button", { class: "unseen", type: "submit", tabindex: -1 }, "List them")),
  );
  who.addEventListener("change", choose);
  what.addEventListener("change", choose);
  what.value = kind;
  return {
    element,
    say(wanted) {
      [who.value, what.value] = [wanted.actor, wanted.kind];
    },
  };
}

/** What the end of the timeline says where not all is listed. */
export function ending(matches) {
  if (!matches.filtered) return null;
  if (matches.left) return h("p", { class: "loading", role: "status" }, `Looking before commit ${matches.left.toLocaleString("en")} …`);
  return matches.total ? null : h("p", { class: "fine" }, "No commit is like that.");
}
