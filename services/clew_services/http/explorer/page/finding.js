// Finding a thread: what changed last, what is like a filter, that in which something was said, or one by its id.
import { brokenOff } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { chips, condition, facetsShown, known, narrower, typed, valueOf, withFilter, withoutFilter } from "./filters.js";
import { empty, failure, loading } from "./notices.js";
import { go, toThread, toThreads } from "./route.js";
import { beginning, line } from "./text.js";
import { when } from "./times.js";

const PAGE = 25;
const CHIPS = 4;
const FACETS = 6;
const TITLE = document.querySelector('meta[name="clew-title-key"]')?.content ?? "";
const ORDERS = { updated: ["updated", "desc", "Changed last"], created: ["created", "desc", "Created last"], oldest: ["created", "asc", "Created first"] };

/** The view of threads. */
export function finding(api, route) {
  let leaving = new AbortController();
  let asked = null;
  const list = h("ol", { class: "threads", "aria-label": "Threads" });
  const chosen = h("ul", { class: "chips chosen", "aria-label": "Filters" });
  const counted = h("span", { class: "fine" });
  const hint = h("p", { class: "fine" });
  const after = h("div", { class: "after" });
  const narrowing = h("div", { class: "facets" });
  const form = asking((wanted) => go(wanted.id ? toThread(wanted.id) : toThreads({ order: asked.order, search: wanted.search, filters: wanted.filters.reduce((all, each) => withFilter(all, ...each), asked.filters) })));
  const bounds = bounding((filters) => go(toThreads({ ...asked, filters, after: "", before: "" })));
  const order = h("select", { id: "order", "aria-label": "Order" }, ...Object.entries(ORDERS).map(([name, [, , label]]) => h("option", { value: name }, label)));
  order.addEventListener("change", () => go(toThreads({ ...asked, order: order.value, after: "", before: "" })));
  const aside = h("details", { class: "narrowing", open: matchMedia("(min-width: 1100px)").matches }, h("summary", {}, "Narrow down"), narrowing, bounds.element);
  const element = h(
    "section",
    { class: "finding", "aria-labelledby": "finding" },
    h("h1", { id: "finding" }, "Threads"),
    form.element,
    h("div", { class: "found" }, h("div", { class: "above" }, chosen, counted, h("button", { type: "button", class: "quiet", onclick: () => load() }, "Refresh"), order), aside, h("div", { class: "listed" }, hint, list, after)),
  );

  async function load() {
    leaving.abort();
    const { signal } = (leaving = new AbortController());
    document.title = "Threads · Clew explorer";
    form.say(asked);
    bounds.say(asked.filters);
    order.value = asked.order;
    order.hidden = asked.search !== "";
    fill(chosen, ...chips(asked));
    chosen.hidden = asked.filters.length === 0;
    fill(hint);
    if (!list.childElementCount) fill(after, loading("threads"));
    list.setAttribute("aria-busy", "true");
    try {
      const { value: page } = await ask({ first_text: true, count: true, actors: true, ...ordered(asked) }, { limit: PAGE, after: asked.after, before: asked.before }, signal);
      const { threads, exact } = page.count;
      fill(list, ...page.data.map((thread) => row(asked, thread)));
      fill(counted, `${exact ? "" : "At least "}${count(threads, "thread")}`);
      fill(after, pages(page));
      fill(narrowing, ...facetsShown(asked, page));
      announce(`${count(page.data.length, "thread")} of ${threads.toLocaleString("en")} ${page.data.length === 1 ? "is" : "are"} shown.`);
      // What the page has is shown before what may make it shorter.
      await Promise.all([facets(page, signal), values(signal)]);
    } catch (fault) {
      if (brokenOff(fault)) return;
      fill(list);
      fill(counted);
      fill(after, failure(fault, fault.code === "invalid_cursor" ? () => go(toThreads({ ...asked, after: "", before: "" })) : load, true));
      dispatchEvent(new CustomEvent("refused", { detail: fault }));
    } finally {
      if (!signal.aborted) list.removeAttribute("aria-busy");
    }
  }

  function ask(query, parameters, signal) {
    const whole = { kind: null, where: condition(asked.filters), ...(asked.search && { search: asked.search }), ...query };
    return api.get("threads", { ...parameters, query: JSON.stringify(whole) }, signal);
  }

  async function facets(page, signal) {
    const often = new Map();
    for (const key of page.data.flatMap(({ metadata }) => Object.keys(metadata))) often.set(key, (often.get(key) ?? 0) + 1);
    const keys = [...often.keys()].filter((key) => key !== TITLE).sort((one, other) => often.get(other) - often.get(one)).slice(0, FACETS);
    if (!keys.length) return;
    const { value } = await ask({ facets: keys }, { limit: 1 }, signal);
    fill(narrowing, ...facetsShown(asked, { ...page, facets: value.facets }));
  }

  // Words that are said nowhere may be a value.
  async function values(signal) {
    const { search } = asked;
    if (!search || asked.after || asked.before || valueOf(asked.filters, "value")) return;
    const filters = withFilter(asked.filters, "value", search);
    const { value } = await ask({ search: undefined, where: condition(filters), count: true }, { limit: 1 }, signal);
    if (value.count.threads) fill(hint, h("a", { href: toThreads({ ...asked, search: "", filters }) }, count(value.count.threads, "thread")), ` ${value.count.threads === 1 ? "has" : "have"} “`, line(search), "” as a value of the metadata.");
  }

  function pages(page) {
    if (!page.data.length) return nothing();
    const link = (where, label) => h("li", {}, where ? h("a", { href: toThreads({ ...asked, after: "", before: "", ...where }) }, label) : h("span", { class: "fine" }, label));
    if (!page.previous && !page.next) return h("p", { class: "fine" }, "These are all.");
    return h("nav", { "aria-label": "Pages" }, h("ul", {}, link(page.previous && {}, "First page"), link(page.previous && { before: page.previous }, "Previous page"), link(page.next && { after: page.next }, "Next page")));
  }

  function nothing() {
    if (asked.after || asked.before) return [empty("Nothing is left here", "The threads of this page have moved or gone."), h("p", {}, h("a", { href: toThreads({ ...asked, after: "", before: "" }) }, "To the first page"))];
    if (!asked.search && !asked.filters.length) {
      return [empty("There are no threads yet", "As soon as a program creates one, it is here. To make one by hand:"), h("p", {}, h("code", {}, 'clew thread create -m title="My first thread"'))];
    }
    const advice = asked.search
      ? "Words must all stand in one message or other item of a thread. A star finds all words that begin so: refund*"
      : "A value must be the whole value. Deleted threads are in no list: open one by its id.";
    const without = asked.filters.map(([name, value]) => h("li", {}, h("a", { href: toThreads({ ...asked, filters: withoutFilter(asked.filters, name, value) }) }, "Without ", line(value))));
    return [empty("No thread is like that", advice), h("ul", { class: "ways" }, ...without, asked.search && asked.filters.length > 0 && h("li", {}, h("a", { href: toThreads({ ...asked, search: "" }) }, "Without the words")), h("li", {}, h("a", { href: toThreads({ order: asked.order }) }, "All threads")))];
  }

  function show(wanted) {
    const turned = asked !== null && (wanted.after !== asked.after || wanted.before !== asked.before);
    asked = { ...wanted, filters: wanted.filters.filter(known) };
    load();
    if (turned) scrollTo(0, 0);
  }

  show(route);
  return {
    element,
    takes: (wanted) => wanted.view === "threads",
    go: show,
    step(by) {
      const links = [...list.querySelectorAll("a.id")];
      const place = links.indexOf(document.activeElement) + by;
      links[Math.min(links.length - 1, Math.max(0, place))]?.focus();
    },
    leave: () => leaving.abort(),
  };
}

// The one field: words, an id, or values.
function asking(ask) {
  const words = h("input", { id: "words", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "refund policy, plan=gold, or thread_…", "aria-describedby": "words-help" });
  const element = h(
    "form",
    { class: "asking", role: "search" },
    h("div", { class: "field" }, h("label", { for: "words" }, "Words, values, or a thread’s id"), words),
    h("button", { type: "submit", class: "first" }, "Find"),
    h("p", { id: "words-help", class: "fine" }, h("code", {}, "plan=gold"), " is a value, ", h("code", {}, "plan="), " any value of a key, ", h("code", {}, "=gold"), " a value of any key, ", h("code", {}, "refund*"), " the beginning of a word."),
  );
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(typed(words.value.trim()));
  });
  return { element, say: ({ search }) => (words.value = search) };
}

// When threads changed last, and how many items they have.
function bounding(ask) {
  const input = (name, label, type) => [name, h("input", { id: `filter-${name}`, type, "aria-label": label, ...(type === "number" && { min: "0", max: "999999999", step: "1" }) })];
  const inputs = new Map([input("since", "Changed since", "date"), input("until", "Changed until", "date"), input("least", "Items, at least", "number"), input("most", "Items, at most", "number")]);
  const element = h(
    "form",
    { class: "bounds" },
    h("h2", {}, "Changed, from and until (UTC)"),
    h("div", { class: "pair dates" }, inputs.get("since"), inputs.get("until")),
    h("h2", {}, "Items, at least and at most"),
    h("div", { class: "pair" }, inputs.get("least"), inputs.get("most")),
    h("button", { type: "submit" }, "Apply"),
  );
  let filters = [];
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const others = filters.filter(([name]) => !inputs.has(name));
    ask([...others, ...[...inputs].filter(([, { value }]) => value).map(([name, { value }]) => [name, value])]);
  });
  const say = (wanted) => {
    filters = wanted;
    for (const [name, field] of inputs) field.value = valueOf(wanted, name);
  };
  return { element, say };
}

function ordered({ search, order }) {
  if (search) return {}; // by where its words were said last
  const [order_by, direction] = ORDERS[order];
  return { order_by, order: direction };
}

/** What a thread is called: its title, or nothing. */
export const titleOf = ({ metadata }) => (TITLE && Object.hasOwn(metadata, TITLE) && metadata[TITLE].trim()) || null;

function row(asked, thread) {
  const title = titleOf(thread);
  const said = thread.first_text;
  const first = said && beginning(said.text.trim().replace(/\s+/g, " "), 160);
  const metadata = Object.entries(thread.metadata).filter(([key]) => key !== TITLE || !title);
  const left = metadata.length - CHIPS;
  const name = title ? line(beginning(title, 160)) : first ? line(first) : h("span", { class: "fine" }, thread.forked_from ? "A fork" : thread.message_count ? "No text" : "Empty");
  return h(
    "li",
    {},
    h("a", { class: "id", href: toThread(thread.id) }, h("span", { class: "title" }, name), " ", h("span", { class: "mono fine" }, line(thread.id))),
    title && first && h("p", { class: "first" }, h("span", { class: "fine" }, line(said.role)), " ", line(first)),
    h(
      "p",
      { class: "fine" },
      count(thread.version, "commit"),
      " · ",
      count(thread.message_count, "item"),
      " · begun by ",
      line(thread.created_by),
      " · changed ",
      when(thread.updated_at),
      " by ",
      line(thread.updated_by),
    ),
    metadata.length > 0 &&
      h(
        "ul",
        { class: "chips", "aria-label": "Metadata" },
        ...metadata.slice(0, CHIPS).map(([key, value]) => h("li", {}, narrower(asked, key, value, h("b", {}, line(key)), " ", line(value.slice(0, 80) || "(empty)")))),
        left > 0 && h("li", { class: "rest" }, `${left} more`),
      ),
    thread.excerpt && excerpt(thread.excerpt),
  );
}

function excerpt({ role, pieces }) {
  return h(
    "p",
    { class: "excerpt" },
    h("span", { class: "role" }, line(role)),
    " ",
    ...pieces.map((piece) => (piece.match ? h("mark", {}, line(piece.text)) : line(piece.text))),
  );
}

export const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
