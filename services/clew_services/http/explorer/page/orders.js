// What the tenant has ordered for its threads, policies of retention and standing legal holds: those that cover one.
import { brokenOff, Refused } from "./api.js";
import { span } from "./words.js";

const PAGE = 1000;

/**
 * The orders in force that cover a thread as it is now, each with the commit of the tenant's own history that it is by.
 *
 * Whether the thread matches a filter is asked of the index. Where that cannot tell, as of a deleted thread, whose
 * `thread` is null, the order comes back with `sure` false.
 */
export async function ordersFor(api, id, thread, signal) {
  const orders = [...(await inForce(api, signal)).values()].filter(({ event }) => thread !== null || event.hold);
  const told = await Promise.all(orders.map(async (order) => ({ ...order, matches: await matches(api, id, thread, order.event.where, signal) })));
  return told.filter(({ matches }) => matches !== false).map(({ by, event, matches }) => ({ by, event, sure: matches === true }));
}

/** Such as "deleted 90 days after it was created, erased 30 days later". */
export function rule({ after_days: days, since, then, erase_after_days: more }) {
  const done = `${then === "erase" ? "erased" : "deleted"} ${span(days)} after it ${{ created: "was created", changed: "last changed", original: "was created at its source" }[since]}`;
  return more ? `${done}, erased ${span(more)} later` : done;
}

async function inForce(api, signal) {
  const orders = new Map();
  const take = { RetentionSet: "name", StandingHoldPlaced: "hold" };
  const drop = { RetentionRemoved: "name", StandingHoldReleased: "hold" };
  for (let after = undefined; after !== null; ) {
    const page = await ownHistory(api, after, signal);
    for (const by of page.data) {
      for (const event of by.events) {
        const name = take[event.type] ?? drop[event.type];
        if (event.type in take) orders.set(`${name} ${event[name]}`, { by, event });
        else if (name) orders.delete(`${name} ${event[name]}`);
      }
    }
    after = page.next;
  }
  return orders;
}

async function ownHistory(api, after, signal) {
  try {
    return (await api.get("history", { limit: PAGE, after }, signal)).value;
  } catch (fault) {
    // Nothing was ever ordered.
    if (fault instanceof Refused && fault.status === 404) return { data: [], next: null };
    throw fault;
  }
}

async function matches(api, id, thread, where, signal) {
  if (!where) return true;
  if (thread === null) return null;
  const itself = { id: { prefix: id }, created: { gte: thread.created_at, lt: thread.created_at + 1 } };
  try {
    const query = `{"where":{"and":[${JSON.stringify(itself)},${where}]},"limit":100}`;
    return (await api.get("threads", { query }, signal)).value.data.some((each) => each.id === id);
  } catch (fault) {
    if (brokenOff(fault)) throw fault;
    return null;
  }
}
