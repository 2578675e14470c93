// The chain, checked here: each commit's stored bytes are put together again from what the API shows, and hashed.
import { brokenOff, path, Refused } from "./api.js";
import { hexadecimal, included, noteOf } from "./inclusion.js";
import { compact, elements, members } from "./spans.js";

const PAGE = 500;
const NULL = "null";

/** Browsers hash only for pages that came over HTTPS, or from their own machine. */
export const canHash = () => globalThis.crypto?.subtle !== undefined;

/**
 * Walk a thread's history from its first commit to its last.
 *
 * What comes back tells what was found: `commits` that follow each other, whether they were `hashed` here, `broken` the
 * first that does not follow and why, and `proof` what the last signed checkpoint says of the thread.
 */
export async function walked(api, id, progress, signal) {
  const proof = await proofOf(api, id, signal);
  const found = { commits: 0, hashed: canHash(), broken: null, proof };
  const encoder = new TextEncoder();
  let previous = NULL;
  let after = null;
  do {
    const { text, headers } = await api.get(path("threads", id, "events"), { order: "asc", limit: PAGE, after }, signal);
    const page = members(compact(text));
    for (const written of elements(page.get("data"))) {
      const commit = members(written);
      const n = found.commits + 1;
      const hash = commit.get("hash");
      found.broken = wrong(commit, n, id, previous);
      if (found.broken === null && found.hashed) {
        const bytes = encoder.encode(body(commit, headers.get("openai-organization")));
        const computed = hexadecimal(await crypto.subtle.digest("SHA-256", bytes));
        if (JSON.stringify(computed) !== hash) {
          found.broken = { n, why: `what is shown of it hashes to ${computed.slice(0, 12)}…, and it is stored as ${hash.slice(1, 13)}…` };
        }
      }
      if (found.broken !== null) return found;
      if (proof.head?.n === n) proof.same = JSON.stringify(proof.head.hash) === hash;
      previous = hash;
      found.commits = n;
    }
    const missing = JSON.parse(page.get("missing"));
    if (missing.length) {
      found.broken = { n: missing[0].first, why: "it is missing from the log" };
      return found;
    }
    after = JSON.parse(page.get("next"));
    progress(found.commits);
  } while (after !== null);
  if (proof.head && proof.head.n > found.commits) proof.same = false;
  return found;
}

function wrong(commit, n, id, previous) {
  if (commit.get("n") !== String(n)) return { n, why: `commit ${commit.get("n")} stands in its place` };
  if (commit.get("thread_id") !== JSON.stringify(id)) return { n, why: "by its own words it belongs to another thread" };
  if (commit.get("prev") !== previous) return { n, why: "it does not name the commit before it as the one that it follows" };
  return null;
}

// The fields of a stored commit, in their order; see the stored format.
function body(commit, tenant) {
  const fields = [
    ["v", "1"],
    ["id", commit.get("command_id")],
    ["tenant", JSON.stringify(tenant)],
    ["thread", commit.get("thread_id")],
    ...["n", "at", "actor", "command", "digest", "prev", "events"].map((name) => [name, commit.get(name)]),
  ];
  return `{${fields.map(([name, value]) => `"${name}":${value}`).join(",")}}`;
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
