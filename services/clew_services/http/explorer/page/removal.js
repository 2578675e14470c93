// What keeps a thread and what removes it: legal holds, policies, when it expires, and what was erased of it.
import { brokenOff, path } from "./api.js";
import { fill, h } from "./dom.js";
import { failure } from "./notices.js";
import { ordersFor, rule } from "./orders.js";
import { toThread } from "./route.js";
import { block, line } from "./text.js";
import { when } from "./times.js";
import { expiry } from "./words.js";

const TYPES = "HoldPlaced,HoldReleased,ErasureRequested,ErasureCompleted";
const PAGE = 1000;

/** What a thread's history says of that; `total` tells how long it is, and `erased` is called when more is to be erased. */
export function removal(api, id, signal, total, erased) {
  const commits = new Map();
  let read = 0;
  let reading = null;

  /** Read what has come since. */
  const renew = () => (reading ??= renewed().finally(() => (reading = null)));

  async function renewed() {
    const [from, had] = [read, of("ErasureRequested").length];
    let after = read || null;
    while (read < total()) {
      const end = total();
      const { value } = await api.get(path("threads", id, "events"), { type: TYPES, limit: PAGE, after }, signal);
      for (const each of value.data) commits.set(each.n, each);
      after = value.next;
      if (after === null) read = after = end;
    }
    if (from && of("ErasureRequested").length > had) erased();
  }

  function of(...types) {
    const events = [...commits.values()].sort((one, other) => one.n - other.n).flatMap((by) => by.events.map((event) => ({ by, event })));
    return events.filter(({ event }) => types.includes(event.type));
  }

  /** The holds that there were after a commit, and all erasures that were asked for by now. */
  async function at(n) {
    await renew();
    const holds = new Map();
    for (const { by, event } of of("HoldPlaced", "HoldReleased").filter(({ by }) => by.n <= n)) {
      if (event.type === "HoldPlaced") holds.set(event.hold, by);
      else holds.delete(event.hold);
    }
    const completed = new Map(of("ErasureCompleted").map((each) => [each.event.erasure, each]));
    const erasures = of("ErasureRequested").map((each) => ({ ...each, completed: completed.get(each.event.erasure) }));
    return { holds, erasures: erasures.filter(({ by, event, completed }) => event.items === null || by.n >= n || completed?.by.n === n) };
  }

  /** Each hold that there ever was: from which commit, and to which. */
  function holds() {
    const told = [];
    for (const { by, event } of of("HoldPlaced", "HoldReleased")) {
      const placed = told.find((each) => each.hold === event.hold && each.last === null);
      if (event.type === "HoldPlaced") placed ?? told.push({ n: by.n, kind: "hold", hold: event.hold, text: `held by ${event.hold}`, last: null });
      else if (placed) placed.last = by.n;
    }
    return told;
  }

  /** Each erasure that was asked for. */
  const asked = () => of("ErasureRequested").map(({ by, event }) => ({ n: by.n, kind: "erasure", text: event.items ? "items erased" : "the thread erased" }));

  /** What of a thread was erased since, or is by this very commit. */
  function erasuresShown({ erasures }, signal) {
    if (!erasures.length) return null;
    return h("section", { "aria-labelledby": "erasures" }, h("h2", { id: "erasures" }, "Erased"), ...erasures.map((each) => erasureShown(each, signal)));
  }

  function erasureShown({ by, event, completed }, signal) {
    const place = h("div", {});
    const open = async () => {
      try {
        fill(place, block((await api.get(path("erasures", event.erasure), {}, signal)).value.signed.note, "mono code"));
      } catch (fault) {
        if (!brokenOff(fault)) fill(place, failure(fault, open));
      }
    };
    return h(
      "div",
      {},
      h("p", {}, event.items ? ["What was in ", line(event.items.join(", "), "mono id")] : "What people wrote in this thread", " was erased. Asked for by ", origin(by), event.code && [", ", line(event.code)], "."),
      completed
        ? h("p", {}, "The certificate has the SHA-256 ", line(completed.event.certificate, "mono id"), ". ", h("button", { type: "button", class: "quiet", onclick: open }, "Show the certificate"))
        : h("p", {}, "Nobody reads it any more. There is no certificate yet: it is being erased from every disk."),
      place,
    );
  }

  /** What keeps the thread, and what removes it when; of `orders`, those of the tenant that cover it now. */
  function retentionShown(thread, holds = new Map(), orders = []) {
    const rows = [...holds].map(([hold, by]) => row("Legal hold", line(hold), ["placed by ", origin(by)]));
    const standing = orders.filter(({ event }) => event.hold).map((each) => row("Legal hold", line(each.event.hold), ["standing, placed by ", order(each)]));
    rows.push(...standing);
    const held = rows.length > 0 && "not while it is held";
    if (thread?.expires_at) rows.push(row("Expires", [when(thread.expires_at), ", ", expiry(thread.expires_after)], held));
    rows.push(...orders.filter(({ event }) => event.name).map((each) => row("Policy", [line(each.event.name), ": ", rule(each.event)], ["set by ", order(each)])));
    return rows.length > 0 && h("section", { "aria-labelledby": "retention" }, h("h2", { id: "retention" }, "Retention"), h("table", { class: "blame" }, h("tbody", {}, ...rows)));
  }

  /** The same as it is now, as soon as the tenant's orders are known. */
  function retentionNow(thread, holds, signal) {
    const place = h("div", {}, retentionShown(thread, holds));
    const ask = () =>
      ordersFor(api, id, thread, signal).then(
        (orders) => fill(place, retentionShown(thread, holds, orders)),
        (fault) => brokenOff(fault) || fill(place, retentionShown(thread, holds), failure(fault, ask)),
      );
    ask();
    return place;
  }

  const order = ({ by, sure }) => [line(by.actor), ` in commit ${by.n} of the tenant’s history `, when(by.at), !sure && ", if it matches its filter"];
  const row = (name, value, note) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value), h("td", { class: "origin" }, note));
  const origin = (by) => h("span", {}, line(by.actor), " in ", h("a", { href: toThread(id, { at: by.n }), class: "mono" }, `commit ${by.n}`), " ", when(by.at));

  return { at, renew, holds, erasures: asked, erasuresShown, retentionShown, retentionNow };
}
