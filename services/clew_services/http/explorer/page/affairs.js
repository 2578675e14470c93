// What there is of a tenant besides its threads: rejected commands, rules and holds, the deployment and its checkpoints.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { count } from "./finding.js";
import { written } from "./json.js";
import { empty, failure } from "./notices.js";
import { rule } from "./orders.js";
import { toThread } from "./route.js";
import { block, line } from "./text.js";
import { when } from "./times.js";

const PAGE = 50;

/** A table with a head. */
export function columns(label, names, rows) {
  const row = (cells) => h("tr", { role: "row" }, ...cells.map((cell, index) => h("td", { role: "cell", "data-name": names[index] }, cell)));
  // Their roles are said because on a narrow screen they are shown below one another.
  return h(
    "table",
    { class: "columned", role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...names.map((name) => h("th", { scope: "col", role: "columnheader" }, name)))),
    h("tbody", { role: "rowgroup" }, ...rows.map(row)),
  );
}

/** Rows a page at a time. `ask` answers a page from a cursor, `next` names the one behind it, `shown` shows all rows. */
async function paged(ask, next, shown) {
  let [rows, cursor] = [[], null];
  const [list, after] = [h("div", {}), h("div", { class: "after" })];
  const further = () => more().catch((fault) => brokenOff(fault) || fill(after, failure(fault, further)));
  const button = h("button", { type: "button", onclick: further }, "Show more");

  async function more() {
    const page = await ask(cursor);
    rows = [...rows, ...page.data];
    cursor = page.has_more ? next(page) : null;
    fill(list, shown(rows));
    fill(after, cursor !== null && button);
  }

  await more();
  return h("div", {}, list, after);
}

/** Commands that were left in the inbox and could not be carried out. */
export function rejectionsShown({ api, signal, renew }) {
  const nothing = empty("Nothing was rejected", "Commands that are left in the inbox and cannot be carried out are kept here, each with its reason, and can be tried again. Nothing has to be done.");
  const ask = async (after) => (await api.get("rejections", { limit: PAGE, after }, signal)).value;
  return paged(ask, (page) => page.next, (rows) => (rows.length ? columns("Rejected commands, the oldest first", ["Command", "Reason", "Once more"], rows.map(row)) : nothing));

  function row(each) {
    const body = each.body && h("details", { class: "record" }, h("summary", {}, each.shortened ? "How its body begins" : "Its body"), block(each.body, "mono code"));
    return [
      [h("div", {}, line(each.command)), h("div", { class: "fine" }, `${each.number} · `, when(each.at)), each.command_id && h("div", { class: "mono fine" }, line(each.command_id))],
      [line(each.error.message), body],
      each.final ? [h("span", { class: "fine" }, line(each.final))] : retry(each),
    ];
  }

  function retry({ number }) {
    const place = h("div", {});
    const button = h("button", { type: "button", "aria-label": `Retry the command ${number}`, onclick: again }, "Retry");

    async function again() {
      button.disabled = true;
      try {
        await api.post(path("rejections", number, "retry"), signal);
        announce(`The command ${number} is in the inbox again.`);
        document.getElementById("panel")?.focus();
        await renew();
      } catch (fault) {
        if (brokenOff(fault)) return;
        button.disabled = false;
        fill(place, failure(fault));
        dispatchEvent(new CustomEvent("refused", { detail: fault }));
      }
    }

    return h("div", {}, button, place);
  }
}

/** The rules by which threads are deleted and erased. */
export async function policiesShown({ api, signal }) {
  const { value } = await api.get("retention", {}, signal);
  if (!value.data.length) return empty("No policy of retention", "Threads are kept until they are deleted or expire by themselves. A policy is set with POST /v1/retention or “clew retention set”.");
  return columns("Policies of retention", ["Policy", "What becomes of a thread", "Which threads"], value.data.map((each) => [line(each.name), rule(each), matching(each.where)]));
}

/** What those rules remove as soon as nothing keeps it. */
export function dueShown({ api, signal }) {
  const nothing = empty("Nothing is due", "Threads appear here when a policy, or their own expiry, is about to remove them.");
  const ask = async (after) => (await api.get("due", { limit: PAGE, after }, signal)).value;
  const row = (each) => [thread(each), [each.action, " since ", when(each.due_at)], each.policy ? line(each.policy) : "its own expiry", each.holds.length ? ["kept by ", line(each.holds.join(", "))] : "nothing"];
  return paged(ask, (page) => page.next, (rows) => (rows.length ? columns("Threads that are due", ["Thread", "To be done", "By", "What keeps it"], rows.map(row)) : nothing));
}

/** Legal holds: those on all that matches, and those on single threads. */
export function holdsShown({ api, signal }) {
  let standing = [];
  const nothing = empty("No legal holds", "While a thread has one, nothing of it is erased. Place one with “clew hold place”, or POST /v1/threads/{thread_id}/holds.");
  const ask = async (after) => {
    const { value } = await api.get("holds", { limit: PAGE, after }, signal);
    if (after === null) standing = value.standing;
    return value;
  };
  return paged(ask, (page) => page.last_id, (rows) => {
    if (!rows.length && !standing.length) return nothing;
    const all = [...standing.map((each) => [line(each.id), matching(each.where)]), ...rows.map((each) => [line(each.holds.join(", ")), thread(each)])];
    return columns("Legal holds", ["Hold", "On"], all);
  });
}

/** How the deployment is, which all tenants have together. */
export async function statusShown({ api, signal }) {
  const { value: status } = await api.get("status", {}, signal);
  const { proof, integrity, index, checkpoint, clock, trouble } = status.derived ?? {};
  const facts = [
    ["Clew", [line(status.version), " on NATS ", line(status.nats_server), ", ", count(status.replicas, "replica")]],
    ["Log", [count(status.threads, "thread"), ", ", count(status.commits, "commit"), " of all tenants"]],
    ["Views", [status.behind ? `${count(status.behind, "commit")} behind` : "up to date", status.parked > 0 && `, ${count(status.parked, "thread")} parked`]],
    ["Inbox", [count(status.inbox, "command"), " waiting, ", `${status.rejected.toLocaleString("en")} rejected`]],
    ["The log is what it was", integrity && [integrity.verdict === null ? "yes" : line(integrity.verdict), integrity.since && [", checked ", when(integrity.since)]]],
    ["Views agree with the log", proof && [proof.drift ? `no: ${count(proof.drift, "thread")}` : "yes", proof.since && [", checked ", when(proof.since)]]],
    ["Index", index && (index.ready ? (index.behind ? `${count(index.behind, "commit")} behind` : "up to date") : "not ready")],
    ["Last checkpoint", checkpoint && [`${checkpoint.number}, `, when(checkpoint.at)]],
    ["Clock", clock && `${clock} seconds ahead of NATS`],
    ["Not known", trouble?.length > 0 && line(trouble.join("; "))],
  ];
  return h("table", {}, h("tbody", {}, ...facts.filter(([, value]) => value).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));
}

/** The log's signed checkpoints. */
export function checkpointsShown({ api, signal }) {
  const nothing = empty("No checkpoint yet", "A checkpoint signs what the log is at one moment. “clew checkpoint make” signs the first.");
  const ask = async (after) => (await api.get("checkpoints", { limit: PAGE, after }, signal)).value;
  const total = (each, what) => each.shards.reduce((sum, shard) => sum + shard[what], 0);
  const note = (each) => h("details", { class: "record" }, h("summary", {}, `Checkpoint ${each.number} as it was signed`), block(each.note, "mono code"));
  const row = (each) => [[h("div", {}, `${each.number}`), h("div", { class: "fine" }, when(each.at))], [count(total(each, "commits"), "commit"), " of ", count(total(each, "threads"), "thread")], [h("div", {}, "by ", line(each.keys.join(", "), "mono")), note(each)]];
  return paged(ask, (page) => page.data.at(-1).number, (rows) => (rows.length ? columns("Checkpoints, the newest first", ["Checkpoint", "Of", "Signed"], rows.map(row)) : nothing));
}

const thread = ({ id, deleted }) => [h("a", { class: "mono", href: toThread(id) }, line(id)), deleted && h("span", { class: "fine" }, " deleted")];
const matching = (where) => (where === null ? "all threads" : h("code", {}, line(written(where))));
