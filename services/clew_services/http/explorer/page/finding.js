// Finding a thread: the newest, those with some metadata, those in which something was said, or one by its id.
import { brokenOff } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { empty, failure, loading } from "./notices.js";
import { go, toThread, toThreads } from "./route.js";
import { line } from "./text.js";
import { when } from "./times.js";

const PAGE = 25;
const CHIPS = 4;

/** The view of threads. */
export function finding(api, route) {
  let leaving = new AbortController();
  let asked = route;
  const list = h("ol", { class: "threads", "aria-label": "Threads" });
  const after = h("div", { class: "after" });
  const form = asking(route, (wanted) => go(wanted.id ? toThread(wanted.id) : toThreads(wanted)));
  const element = h(
    "section",
    { class: "finding", "aria-labelledby": "finding" },
    h("h1", { id: "finding" }, "Threads"),
    form.element,
    list,
    after,
  );

  async function more(cursor, signal) {
    fill(after, loading("threads"));
    try {
      const { value } = await api.get("threads", { ...question(asked), limit: PAGE, after: cursor }, signal);
      list.append(...value.data.map(row));
      fill(after, ending(value, signal));
      announce(`${list.childElementCount} threads are shown.`);
    } catch (fault) {
      if (brokenOff(fault)) return;
      fill(after, failure(fault, () => more(cursor, signal)));
      dispatchEvent(new CustomEvent("refused", { detail: fault }));
    }
  }

  function ending(page, signal) {
    if (page.next) return h("button", { type: "button", onclick: () => more(page.next, signal) }, "Show more threads");
    if (list.childElementCount) return h("p", { class: "fine" }, "These are all.");
    return asked.search || asked.key
      ? empty("No thread is like that", "Words must all stand in one message or other item of a thread, and a metadata value must be the whole value.")
      : empty("There are no threads yet", "As soon as a program creates one, it is here: load the page again.");
  }

  function load() {
    leaving.abort();
    leaving = new AbortController();
    document.title = "Threads · Clew explorer";
    fill(list);
    more(null, leaving.signal);
  }

  load();
  return {
    element,
    takes: (wanted) => wanted.view === "threads",
    go(wanted) {
      asked = wanted;
      form.say(wanted);
      load();
    },
    step(by) {
      const links = [...list.querySelectorAll("a.id")];
      const place = links.indexOf(document.activeElement) + by;
      links[Math.min(links.length - 1, Math.max(0, place))]?.focus();
    },
    leave: () => leaving.abort(),
  };
}

function asking(route, ask) {
  const input = (id, hint) => h("input", { id, type: "text", autocomplete: "off", spellcheck: "false", placeholder: hint });
  const words = h("input", { id: "words", type: "search", autocomplete: "off", placeholder: "refund policy, or thread_…" });
  const key = input("meta-key", "any");
  const value = input("meta-value", "any");
  const order = h(
    "select",
    { id: "order" },
    h("option", { value: "created" }, "Created last"),
    h("option", { value: "updated" }, "Changed last"),
  );
  const field = (label, control) => h("div", { class: "field" }, h("label", { for: control.id }, label), control);
  const element = h(
    "form",
    { class: "asking", role: "search" },
    field("Words, or a thread’s id", words),
    field("Metadata key", key),
    field("Its value", value),
    field("Order", order),
    h("button", { type: "submit", class: "first" }, "Find"),
  );
  const said = () => ({ search: words.value.trim(), key: key.value.trim(), value: value.value, order: order.value });
  const submit = () => {
    const wanted = said();
    ask(/^(thread|conv)_\S+$/.test(wanted.search) ? { id: wanted.search } : wanted);
  };
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  order.addEventListener("change", submit);
  const say = (wanted) => {
    [words.value, key.value, value.value, order.value] = [wanted.search, wanted.key, wanted.value, wanted.order];
  };
  say(route);
  return { element, say };
}

function question({ search, key, value, order }) {
  // A search is ordered by where its words were said last, unless another order is asked for.
  const question = {};
  const query = { kind: null }; // threads, and conversations
  if (search) question.search = search;
  if (order === "updated" || !search) question.order_by = order;
  if (key || value) {
    const test = value ? { eq: value } : { exists: true };
    query.where = { metadata: key ? { key, ...test } : test };
  }
  question.query = JSON.stringify(query);
  return question;
}

function row(thread) {
  const metadata = Object.entries(thread.metadata);
  const left = metadata.length - CHIPS;
  return h(
    "li",
    {},
    h("a", { class: "mono id", href: toThread(thread.id) }, line(thread.id)),
    h(
      "p",
      { class: "fine" },
      count(thread.version, "commit"),
      " · ",
      count(thread.message_count, "item"),
      " · changed ",
      when(thread.updated_at),
      " by ",
      line(thread.updated_by),
    ),
    metadata.length > 0 &&
      h(
        "ul",
        { class: "chips", "aria-label": "Metadata" },
        ...metadata.slice(0, CHIPS).map(([key, value]) => h("li", {}, h("b", {}, line(key)), " ", line(value.slice(0, 80)))),
        left > 0 && h("li", { class: "rest" }, `${left} more`),
      ),
    thread.excerpt && excerpt(thread.excerpt),
  );
}

function excerpt({ role, pieces }) {
  return h(
    "p",
    { class: "excerpt" },
    h("span", { class: "role" }, role),
    " ",
    ...pieces.map((piece) => (piece.match ? h("mark", {}, line(piece.text)) : line(piece.text))),
  );
}

export const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
