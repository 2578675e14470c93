// Whether the record is whole, in three verdicts: on this thread, on the log it is in, and what neither of them tells.
import { brokenOff } from "./api.js";
import { walked } from "./chain.js";
import { announce, fill, h } from "./dom.js";
import { failure } from "./notices.js";
import { line } from "./text.js";
import { when } from "./times.js";

/** A button that checks, and a place for what was found. */
export function verdict(api, id, commits, signal) {
  const place = h("div", { class: "verdict", "aria-live": "polite" });
  const button = h("button", { type: "button" }, "Verify the chain");
  button.addEventListener("click", check);

  async function check() {
    button.disabled = true;
    const told = h("p", { class: "loading" }, "Checking …");
    fill(place, told);
    try {
      const found = await walked(api, id, (n) => (told.textContent = `Checked ${n.toLocaleString("en")} of ${commits.total.toLocaleString("en")} commits …`), signal);
      fill(place, shown(found, () => fill(place)));
      announce([...place.querySelectorAll("h2")].map((each) => each.textContent).join(". "));
    } catch (fault) {
      if (!brokenOff(fault)) fill(place, failure(fault, check));
    } finally {
      button.disabled = false;
    }
  }

  return { button, element: place, close: () => fill(place) };
}

// What the server says where the log is not what it signed.
const CHANGED = new Set(["history_changed", "log_cut_off", "removed", "checkpoint_changed", "unreadable_checkpoint"]);
const SIGN = { good: "Holds: ", bad: "Does not hold: ", open: "Not checked: " };

function shown(found, close) {
  const { proof } = found;
  return h(
    "div",
    { class: "verdicts" },
    ofThread(found, proof),
    ofLog(found, proof),
    ofRest(proof),
    h("button", { type: "button", class: "quiet", onclick: close }, "Close"),
  );
}

/** One verdict: `how` is good, bad or open; each item says how it is, and what. */
function one(id, what, how, title, items) {
  return h(
    "section",
    { class: `notice ${how}`, "aria-labelledby": id },
    h("h2", { id }, h("span", { class: "about" }, `${what}: `), title),
    h("ul", { class: "checks" }, ...items.map(([sign, ...said]) => h("li", { class: sign }, h("span", { class: "unseen" }, SIGN[sign]), ...said))),
  );
}

function ofThread({ broken, commits, hashed, erased }, { head, checkpoint, same }) {
  const items = [];
  if (broken) {
    items.push(["bad", `Commit ${broken.n} does not fit: ${broken.why}. The ${broken.n - 1} before it do.`]);
    items.push(["open", "Either the record was altered, or a version of Clew with other fields wrote it: “clew verify” says which."]);
  } else {
    items.push(["good", `${commits.toLocaleString("en")} commits, numbered without a gap, each naming the hash of the one before it.`]);
    if (erased) items.push(["good", `${erased.toLocaleString("en")} contents were erased, each asked for by a later commit. Their records are whole; “clew verify” looks at the certificates.`]);
    if (hashed) items.push(["good", "Each hash was computed here, from the commit’s bytes as the API shows them."]);
    else items.push(["open", "Hashes were not computed: browsers do that for pages over HTTPS or from this machine only. They are the server’s word."]);
    if (same) items.push(["good", `Commit ${head.n} is the head that signed checkpoint ${checkpoint.number} has, made `, when(checkpoint.at), "."]);
    else if (same === false) items.push(["bad", `Checkpoint ${checkpoint.number} has another commit ${head.n} as the thread’s head.`]);
  }
  if (broken || same === false) return one("verdict-thread", "This thread", "bad", "The record does not verify", items);
  return one("verdict-thread", "This thread", hashed ? "good" : "open", hashed ? "The chain verifies" : "The chain verifies, by the server’s word", items);
}

function ofLog({ damage }, { head, checkpoint, leads, missing, fault }) {
  const items = [];
  if (head && leads) items.push(["good", `The thread’s head was found here under the root that checkpoint ${checkpoint.number} has for its shard.`]);
  if (leads === false) items.push(["bad", "The proof’s path does not lead to the checkpoint’s root."]);
  if (fault && CHANGED.has(fault.code)) items.push(["bad", "The server gives no proof any more: ", line(fault.message)]);
  if (damage) items.push(["bad", line(damage)]);
  if (items.some(([sign]) => sign === "bad")) return one("verdict-log", "The log it is in", "bad", "The log is not what was signed", items);
  if (items.length) return one("verdict-log", "The log it is in", "good", "The log is what was signed, as far as this thread tells", items);
  if (missing) items.push(["open", "No signed checkpoint has this thread yet; one is made every few minutes, where it is switched on."]);
  else if (fault) items.push(["open", "The server gave no proof: ", line(fault.message)]);
  else items.push(["open", "The way to the checkpoint’s root was not computed: browsers do that for pages over HTTPS or from this machine only."]);
  return one("verdict-log", "The log it is in", "open", "The log was not checked", items);
}

function ofRest({ head }) {
  const items = [];
  if (head) items.push(["open", "The checkpoint’s signature: “clew checkpoint check” does, with the operator’s public key."]);
  items.push(["open", "What was cut off the end since the last checkpoint, and whether this server shows all that it has: for that, “clew verify --against” a checkpoint that is kept elsewhere."]);
  return one("verdict-rest", "Not checked", "open", "What this does not tell", items);
}
