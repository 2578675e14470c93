// What threads say, to be read: rendered by the API, or raw. Elements are made of the trees that it answers, and of nothing else.
import { h } from "./dom.js";
import { written } from "./json.js";

const TAGS = new Set(["a", "blockquote", "br", "code", "details", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "span", "strong", "summary", "table", "tbody", "td", "th", "thead", "tr", "ul"]);
const LINK = /^(https?|mailto):/i;
const CLASS = /^[a-z][a-z0-9]*$/;
const LONGEST = 20000; // characters; longer texts are shown as they are
const AT_ONCE = 50;
const KEPT = 400; // items
const NAME = "clew explorer raw";

/** What shows items of one thread. */
export function reading(api) {
  const trees = new Map(); // by the item's JSON
  let waiting = [];

  /** A place with an item as it is, until it is there rendered. */
  function place(item, as, raw) {
    const said = written(item);
    const element = h("div", { class: "read" }, raw());
    if (isRaw() || as.length > LONGEST) return element;
    if (trees.has(said)) return show(element, trees.get(said));
    if (!waiting.length) setTimeout(ask);
    waiting.push([element, said]);
    return element;
  }

  async function ask() {
    const asked = waiting.splice(0);
    for (let first = 0; first < asked.length; first += AT_ONCE) {
      const some = asked.slice(first, first + AT_ONCE);
      const items = [...new Set(some.map(([, said]) => said))];
      try {
        const { data } = await api.render(items);
        items.forEach((said, index) => trees.set(said, data[index]));
      } catch {
        continue; // What cannot be rendered is shown as it is.
      }
      for (const [element, said] of some) show(element, trees.get(said));
    }
    while (trees.size > KEPT) trees.delete(trees.keys().next().value);
  }

  return { place };
}

/** Whether items are shown as they are. */
export const isRaw = () => sessionStorage.getItem(NAME) === "yes";

/** Show items as they are from now on, or rendered. */
export function setRaw(raw) {
  if (raw) sessionStorage.setItem(NAME, "yes");
  else sessionStorage.removeItem(NAME);
}

function show(element, tree) {
  element.replaceChildren(h("div", { class: "prose rendered", dir: "auto" }, ...tree.map(made)));
  return element;
}

function made(node) {
  if (typeof node === "string") return node;
  const children = (node.children ?? []).map(made);
  if (!TAGS.has(node.tag)) return children;
  const href = node.tag === "a" && LINK.test(node.href ?? "") ? node.href : null;
  const link = href && { href, title: href, rel: "noopener noreferrer nofollow", target: "_blank" };
  const classes = CLASS.test(node.style ?? "") ? node.style : null;
  const scrolls = node.tag === "pre" || node.tag === "table";
  return h(node.tag, { tabindex: scrolls ? 0 : null, class: classes, open: node.opened, start: node.start, ...link }, ...children);
}
