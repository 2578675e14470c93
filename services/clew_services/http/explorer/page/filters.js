// Filters of a list of threads: as they are typed, as the address has them, as the API is asked, and as chips.
import { h } from "./dom.js";
import { toThreads } from "./route.js";
import { line } from "./text.js";

const DAY = 86400000;
const META = "meta."; // before the metadata key of which it is the value
const PAIR = /(?<!\S)(?:"([^"]+)"|([^\s"=]+))?=(?:"([^"]*)"|(\S*))(?!\S)/g;
const DATE = /^\d{4}-\d\d-\d\d$/;
const NUMBER = /^\d{1,9}$/;
const ANY = /./s;
const SHOWN = 6; // values of a facet

// What each says on its chip, what its value looks like, and the condition that it is.
const KINDS = {
  has: ["has", ANY, (key) => ({ metadata: { key, exists: true } })],
  value: ["any key", ANY, (value) => ({ metadata: { eq: value } })],
  begun: ["begun by", ANY, (actor) => ({ created_by: { eq: actor } })],
  by: ["changed last by", ANY, (actor) => ({ updated_by: { eq: actor } })],
  since: ["changed since", DATE, (day) => ({ updated: { gte: `${day}T00:00:00Z` } })],
  until: ["changed until", DATE, (day) => ({ updated: { lt: new Date(Date.parse(day) + DAY).toISOString() } })],
  least: ["items, at least", NUMBER, (number) => ({ messages: { gte: Number(number) } })],
  most: ["items, at most", NUMBER, (number) => ({ messages: { lte: Number(number) } })],
  id: ["id begins with", ANY, (prefix) => ({ id: { prefix } })],
};

/** Whether an address can have this filter. */
export function known([name, value]) {
  if (name.startsWith(META)) return name.length > META.length;
  return Object.hasOwn(KINDS, name) && KINDS[name][1].test(value) && (KINDS[name][1] !== DATE || Date.parse(value) > 0);
}

/** The condition that all of them are; nothing for none. */
export function condition(filters) {
  const all = filters.map(([name, value]) => (name.startsWith(META) ? { metadata: { key: name.slice(META.length), eq: value } } : KINDS[name][2](value)));
  return all.length ? { and: all } : undefined;
}

/** What is typed into the one field: the id of a thread; or words, and filters such as `plan=gold`. */
export function typed(text) {
  const filters = [];
  if (/^(thread|conv)_\S*\*$/.test(text)) return { search: "", filters: [["id", text.slice(0, -1)]] };
  if (/^(thread|conv)_\S+$/.test(text)) return { id: text };
  const search = text.replace(PAIR, (_, quoted, plain, quotedValue, plainValue) => {
    const [key, value] = [quoted ?? plain ?? "", quotedValue ?? plainValue];
    if (key && value) filters.push([META + key, value]);
    else if (key) filters.push(["has", key]);
    else if (value) filters.push(["value", value]);
    return " ";
  });
  return { search: search.replace(/\s+/g, " ").trim(), filters };
}

/** The filters with one more, in place of another of its name. */
export const withFilter = (filters, name, value) => [...filters.filter(([other]) => other !== name), [name, value]];

/** The filters with one fewer. */
export const withoutFilter = (filters, name, value) => filters.filter((each) => each[0] !== name || each[1] !== value);

/** The value of a filter, or nothing. */
export const valueOf = (filters, name) => filters.find(([other]) => other === name)?.[1] ?? "";

/** A link to the same list with one value of the metadata. */
export function narrower(asked, key, value, ...shown) {
  return h("a", { href: toThreads(first(asked, withFilter(asked.filters, META + key, value))) }, ...shown);
}

/** The filters that are in force, each a link to the list without it. */
export function chips(asked) {
  return asked.filters.map(([name, value]) => {
    const called = name.startsWith(META) ? name.slice(META.length) : KINDS[name][0];
    const href = toThreads(first(asked, withoutFilter(asked.filters, name, value)));
    return h("li", {}, h("a", { href, "aria-label": `Without the filter: ${called} ${value}` }, h("b", {}, line(called)), " ", line(value.slice(0, 80)), h("span", { "aria-hidden": "true" }, " ×")));
  });
}

/** The values by which a list can be made shorter, each with how many threads have it. */
export function facetsShown(asked, { facets, actors }) {
  const names = { created_by: ["begun", "Begun by"], updated_by: ["by", "Changed last by"] };
  const groups = [
    ...(actors ?? []).map((facet) => [...names[facet.key], facet]),
    ...(facets ?? []).filter(tells).map((facet) => [META + facet.key, facet.key, facet]),
  ];
  return groups.filter(([name, , facet]) => facet.values.length > 0 && !valueOf(asked.filters, name)).map(([name, title, facet]) => {
    const value = (each) => h("li", {}, h("a", { href: toThreads(first(asked, withFilter(asked.filters, name, each.value))) }, line(each.value.slice(0, 80) || "(empty)")), " ", h("span", { class: "fine" }, `${each.threads.toLocaleString("en")}${facet.exact ? "" : "+"}`));
    const [few, rest] = [facet.values.slice(0, SHOWN), facet.values.slice(SHOWN)];
    return h(
      "section",
      {},
      h("h2", {}, line(title)),
      h("ul", {}, ...few.map(value)),
      rest.length > 0 && h("details", {}, h("summary", {}, `${rest.length}${facet.more ? " and more" : " more"}`), h("ul", {}, ...rest.map(value))),
    );
  });
}

// A key that has another value in every thread is no help.
const tells = ({ values }) => values.some(({ threads }) => threads > 1);

// Of another list, the first page.
const first = ({ search, order }, filters) => ({ search, order, filters });
