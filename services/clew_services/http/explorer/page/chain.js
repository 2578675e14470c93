// The chain, checked here: each commit's stored record and contents are hashed, and compared with what the API shows.
import { brokenOff, path, Refused } from "./api.js";
import { hexadecimal, included, noteOf } from "./inclusion.js";
import { parse } from "./json.js";

const PAGE = 500;

/** Browsers hash only for pages that came over HTTPS, or from their own machine. */
export const canHash = () => globalThis.crypto?.subtle !== undefined;

/**
 * Walk a thread's history from its first commit to its last.
 *
 * What comes back tells what was found: `commits` that follow each other, whether they were `hashed` here, `broken` the
 * first that does not follow and why, `proof` what the last signed checkpoint says of the thread, and `damage` in what the
 * server itself has found the log to be another than it was.
 */
export async function walked(api, id, progress, signal) {
  const proof = await proofOf(api, id, signal);
  const found = { commits: 0, hashed: canHash(), broken: null, erased: 0, proof, damage: await api.damage(signal) };
  const gone = [];
  let previous = null;
  let after = null;
  do {
    const asked = { order: "asc", limit: PAGE, after, stored: "true" };
    const { value: page, headers } = await api.get(path("threads", id, "events"), asked, signal);
    for (const commit of page.data) {
      const n = found.commits + 1;
      const why = wrong(commit, n, id, previous) ?? (await unlike(commit, headers.get("openai-organization"), found.hashed));
      if (why !== null) {
        found.broken = { n, why };
        return found;
      }
      gone.push(...missing(commit).map((items) => ({ n, items })));
      // A request says of what came before it that it may be gone.
      for (const { items } of commit.events.filter(({ type }) => type === "ErasureRequested")) {
        for (const each of gone) each.asked ||= items === null || each.items.some((item) => items.includes(item));
      }
      if (proof.head?.n === n) proof.same = proof.head.hash === commit.hash;
      previous = commit.hash;
      found.commits = n;
    }
    if (page.missing.length) {
      found.broken = { n: page.missing[0].first, why: "it is missing from the log" };
      return found;
    }
    after = page.next;
    progress(found.commits);
  } while (after !== null);
  if (proof.head && proof.head.n > found.commits) proof.same = false;
  const lost = gone.find(({ asked }) => !asked);
  if (lost) found.broken = { n: lost.n, why: "a content of it is gone, and nobody asked to erase that" };
  found.erased = gone.length;
  return found;
}

/** The contents that a commit has lost: each by the items that it was about. */
function missing({ stored, events }) {
  const [record, ...contents] = stored.split("\n");
  const { seal, events: sealed } = parse(record);
  const items = events.map(({ item }) => (item ? [item] : []));
  return [[seal, items.flat()], ...sealed.map((each, place) => [each.seal, items[place]])].filter(([each], place) => each && !contents[place]).map(([, about]) => about);
}

function wrong(commit, n, id, previous) {
  if (commit.n !== n) return `commit ${commit.n} stands in its place`;
  if (commit.thread_id !== id) return "by its own words it belongs to another thread";
  if (commit.prev !== previous) return "it does not name the commit before it as the one that it follows";
  return null;
}

/** Why what is shown of a commit is not what is stored of it: the record by its hash, each content by its seal. */
async function unlike(commit, tenant, hashed) {
  const [line, ...contents] = commit.stored.split("\n");
  if (hashed) {
    const computed = await sha256(line);
    if (computed !== commit.hash) {
      return `its record hashes to ${computed.slice(0, 12)}…, and it is stored as ${commit.hash.slice(0, 12)}…`;
    }
  }
  const record = parse(line);
  if (contents.length !== record.events.length + 2) return "it has more or fewer contents than its record says";
  for (const [place, sealed] of [record, ...record.events].entries()) {
    const content = contents[place];
    if ((content && !sealed.seal) || (hashed && content && (await sha256(content)) !== sealed.seal)) {
      return `the content of ${place ? `its event ${place}` : "its command"} is not the one that was sealed`;
    }
  }
  const stored = {
    command_id: record.id, thread_id: record.thread, n: record.n, at: record.at, actor: record.actor, by: record.by,
    command: record.command, prev: record.prev, reason: contents[0] ? parse(contents[0]).reason : null,
    events: record.events.map((event, place) => shown(event, contents[place + 1])),
  };
  for (const [name, value] of Object.entries(stored)) {
    if (!same(value, commit[name])) return `what is shown as its ${name} is not what is stored`;
  }
  return record.tenant === tenant ? null : "it is stored as another tenant’s";
}

/** An event as the API shows it, from its record and its content; one without the content that it had was erased. */
function shown({ seal, ...event }, content) {
  if (seal && !content) {
    const { type: of, item, ordinal = null } = event;
    return item ? { type: "ErasedItemEvent", of, item, ordinal, seal } : { type: "ErasedThreadEvent", of, seal };
  }
  const { salt, ...said } = content ? parse(content) : {};
  return { ...event, ...said };
}

function same(one, other) {
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") return one === other;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => same(one[name], other[name]));
}

async function sha256(text) {
  return hexadecimal(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

async function proofOf(api, id, signal) {
  try {
    const { value } = await api.get(path("threads", id, "proof"), {}, signal);
    const checkpoint = noteOf(value.head.checkpoint);
    const leads = canHash() ? await included(value.head, checkpoint) : null;
    return { head: value.head, checkpoint, leads, same: null };
  } catch (fault) {
    if (brokenOff(fault)) throw fault;
    return { head: null, fault, missing: fault instanceof Refused && fault.status === 404 };
  }
}
