// The tenant: who one is, what happens in it, and what its administrators and auditors see of it, each on a page of its own.
import { brokenOff } from "./api.js";
import { checkpointsShown, dueShown, holdsShown, policiesShown, rejectionsShown, statusShown } from "./affairs.js";
import { fill, h } from "./dom.js";
import { feedShown } from "./feed.js";
import { issuedShown } from "./issued.js";
import { failure, loading, lacking } from "./notices.js";
import { go, toTenant } from "./route.js";
import { tabs } from "./tabs.js";
import { line } from "./text.js";
import { when } from "./times.js";

// Of each page its name, the scopes any one of which shows it, and its parts: a title, the scopes, and what shows it.
const PAGES = {
  you: ["You", [["You", [], youShown]]],
  feed: ["Feed", [["Feed", ["audit"], feedShown]]],
  keys: ["Keys", [["Keys", ["admin"], issuedShown]]],
  rejected: ["Rejected", [["Rejected commands", ["admin"], rejectionsShown]]],
  retention: ["Retention", [["Policies", ["retention", "audit"], policiesShown], ["Due", ["retention", "audit"], dueShown]]],
  holds: ["Holds", [["Legal holds", ["hold", "audit"], holdsShown]]],
  status: ["Status", [["The deployment", ["admin", "audit"], statusShown], ["Checkpoints", ["audit"], checkpointsShown]]],
};

/** The view of the tenant that a session is of. */
export function tenantView(api, route, session) {
  const permitted = (scopes) => !scopes.length || scopes.some((scope) => session.scopes.includes(scope));
  const offered = Object.entries(PAGES).filter(([name, [, parts]]) => name === route.page || parts.some(([, scopes]) => permitted(scopes)));
  const choice = tabs(offered.map(([name, [label]]) => [name, label]), route.page, (name) => go(toTenant(name)));
  let leaving = new AbortController();
  let page = "";
  const element = h(
    "section",
    { class: "tenant", "aria-labelledby": "tenant" },
    h("a", { class: "fine", href: "#threads" }, "All threads"),
    h("h1", { id: "tenant" }, line(session.tenant)),
    choice.element,
    choice.panel,
  );

  function show(wanted) {
    leaving.abort();
    leaving = new AbortController();
    page = wanted.page;
    document.title = `${PAGES[page][0]} · Clew explorer`;
    choice.choose(page);
    fill(choice.panel, ...PAGES[page][1].map((each) => partShown(each, leaving.signal)));
  }

  function partShown([title, scopes, shown], signal) {
    const place = h("div", {}, loading(title.toLowerCase()));
    const ask = async () => {
      try {
        fill(place, await shown({ api, session, signal, renew: ask }));
      } catch (fault) {
        if (brokenOff(fault)) return;
        fill(place, failure(fault, ask, true));
        dispatchEvent(new CustomEvent("refused", { detail: fault }));
      }
    };
    if (permitted(scopes)) ask();
    else fill(place, lacking(scopes));
    return h("section", { "aria-label": title }, h("h2", {}, title), place);
  }

  show(route);
  return {
    element,
    takes: (wanted) => wanted.view === "tenant" && offered.some(([name]) => name === wanted.page),
    go: (wanted) => wanted.page !== page && show(wanted),
    step(by) {
      const links = [...choice.panel.querySelectorAll("a")];
      links[Math.min(links.length - 1, Math.max(0, links.indexOf(document.activeElement) + by))]?.focus();
    },
    leave: () => leaving.abort(),
  };
}

function youShown({ session }) {
  const facts = [
    ["Tenant", line(session.tenant)],
    ["Recorded as", line(session.actor)],
    ["Key", line(session.key, "mono")],
    ["Scopes", session.scopes.join(", ")],
    ["Session ends", ["when the browser is closed", session.expires_at && [", at the latest ", when(session.expires_at)]]],
  ];
  return h("table", {}, h("tbody", {}, ...facts.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));
}
