// The commits of a thread, by number: read a page at a time as they come into view, and kept.
import { brokenOff, path } from "./api.js";

const PAGE = 100;
const KEPT = 60; // pages

export class Commits {
  #api;
  #path;
  #thread;
  #signal;
  #pages = new Map();
  #coming = new Map();
  #missing = new Map(); // from the number of the first to that of the last
  #bases = new Map([[0, new Map()]]); // the thread's metadata before each page, as far as it was asked for

  /** `arrived` is called when more of them are there, `failed` with what went wrong. */
  constructor(api, id, signal, { arrived, failed }) {
    this.#api = api;
    this.#thread = path("threads", id);
    this.#path = path("threads", id, "events");
    this.#signal = signal;
    this.arrived = arrived;
    this.failed = failed;
    this.total = 0;
  }

  /** Ask how many there are. The newest is then there. */
  async count() {
    const { value } = await this.#api.get(this.#path, { order: "desc", limit: 1 }, this.#signal);
    this.#took(value);
    return this.total;
  }

  /** One that is there already, or nothing. */
  get(n) {
    return this.#pages.get(Math.floor((n - 1) / PAGE))?.get(n) ?? null;
  }

  /** One that came about. */
  take(commit) {
    const place = Math.floor((commit.n - 1) / PAGE);
    if (!this.#pages.has(place)) this.#pages.set(place, new Map());
    this.#pages.get(place).set(commit.n, commit);
    this.total = Math.max(this.total, commit.n);
  }

  /** Have none of them, nor those that are on their way: something of them was erased. */
  forget() {
    this.#pages = new Map();
    this.#coming = new Map();
    this.#bases = new Map([[0, new Map()]]);
  }

  /**
   * What tells the value that a key of the thread's metadata had before a commit: null if it had none, and undefined if
   * that is not known. What the commits of its page do not tell is asked for, once.
   */
  before(n) {
    const place = Math.floor((n - 1) / PAGE);
    const [first, page] = [place * PAGE + 1, this.#pages.get(place)];
    const commits = Array.from({ length: n - first }, (_, index) => page?.get(first + index));
    if (commits.includes(undefined)) return () => undefined;
    return (key) => {
      const value = lastValue(commits, key);
      if (value !== undefined) return value;
      if (!this.#bases.has(place)) this.#ask(place, first - 1);
      const base = this.#bases.get(place);
      return base && !commits.some(isErased) ? base.get(key) ?? null : undefined;
    };
  }

  // What was erased of the thread is not known, and of a deleted one nothing is answered: then nothing is said of before.
  async #ask(place, n) {
    const bases = this.#bases.set(place, null);
    const { value } = await this.#api.get(this.#thread, { as_of: n }, this.#signal).catch(() => ({ value: { erased: true } }));
    if (value.erased) return;
    bases.set(place, new Map(Object.entries(value.metadata)));
    this.arrived();
  }

  /** Whether the thread had this one, and the log has lost it. */
  isMissing(n) {
    return this.#among(n, n) > 0;
  }

  /** Have those from one number to another, and one more page at most. */
  want(from, to) {
    const first = Math.floor((Math.max(1, from) - 1) / PAGE);
    const last = Math.floor((Math.min(this.total, to) - 1) / PAGE);
    if (!this.total) return;
    for (let place = first; place <= last; place++) this.#read(place);
  }

  /** One commit, read if need be. */
  async need(n) {
    if (n < 1) return null;
    if (this.get(n) === null) await this.#read(Math.floor((n - 1) / PAGE));
    return this.get(n);
  }

  #read(place) {
    const [first, last] = [place * PAGE + 1, Math.min(this.total, (place + 1) * PAGE)];
    const expected = last - first + 1 - this.#among(first, last);
    if ((this.#pages.get(place)?.size ?? 0) >= expected) return Promise.resolve();
    const coming = this.#coming;
    if (!coming.has(place)) coming.set(place, this.#page(place).finally(() => coming.delete(place)));
    return coming.get(place);
  }

  async #page(place) {
    try {
      const [after, pages] = [place * PAGE || null, this.#pages];
      const { value } = await this.#api.get(this.#path, { order: "asc", limit: PAGE, after }, this.#signal);
      if (pages !== this.#pages) return;
      this.#make(place);
      this.#took(value);
      this.arrived();
    } catch (fault) {
      if (!brokenOff(fault)) this.failed(fault);
    }
  }

  #took(page) {
    for (const commit of page.data) this.take(commit);
    for (const { first, last } of page.missing) {
      this.#missing.set(first, last);
      this.total = Math.max(this.total, last);
    }
  }

  /** Whether the log has none of the commits. */
  get gone() {
    return this.#among(1, this.total) === this.total;
  }

  // How many from one number to another are missing.
  #among(from, to) {
    let count = 0;
    for (const [first, last] of this.#missing) count += Math.max(0, Math.min(to, last) - Math.max(from, first) + 1);
    return count;
  }

  // Of a thread with a million commits nobody looks at all of them at once.
  #make(place) {
    if (this.#pages.size < KEPT) return;
    const farthest = [...this.#pages.keys()].sort((a, b) => Math.abs(b - place) - Math.abs(a - place))[0];
    this.#pages.delete(farthest);
  }
}

/** The value that the last of some commits left a key with: null if it took it away, undefined if they do not tell. */
export function lastValue(commits, key) {
  for (const { events } of [...commits].reverse()) {
    for (const event of [...events].reverse()) {
      if (event.type === "ErasedThreadEvent") return undefined;
      const set = event.type === "MetadataUpdated" ? event.set : event.type === "ThreadCreated" ? event.metadata : {};
      if (Object.hasOwn(set ?? {}, key)) return set[key];
      if (event.type === "ThreadCreated" || (event.type === "MetadataUpdated" && event.unset?.includes(key))) return null;
    }
  }
  return undefined;
}

const isErased = ({ events }) => events.some(({ type }) => type === "ErasedThreadEvent");
