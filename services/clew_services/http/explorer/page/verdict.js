// Whether the record is whole: what was checked here, what the server says, and what neither of them can tell.
import { brokenOff } from "./api.js";
import { canHash, walked } from "./chain.js";
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
      announce(place.querySelector("h2").textContent);
    } catch (fault) {
      if (!brokenOff(fault)) fill(place, failure(fault, check));
    } finally {
      button.disabled = false;
    }
  }

  return { button, element: place, close: () => fill(place) };
}

function shown(found, close) {
  const { broken, proof } = found;
  const bad = broken !== null || proof.same === false || proof.leads === false;
  const items = [];
  if (broken) {
    items.push(["bad", `Commit ${broken.n} does not fit: ${broken.why}. The ${broken.n - 1} before it do.`]);
    items.push(["open", "Either the record was altered, or a version of Clew with other fields wrote it: “clew verify” says which."]);
  } else {
    items.push(["good", `${found.commits.toLocaleString("en")} commits, numbered without a gap, each naming the hash of the one before it.`]);
  }
  if (!broken && found.hashed) items.push(["good", "Each hash was computed here, from the commit’s bytes as the API shows them."]);
  if (!canHash()) items.push(["open", "Hashes were not computed: browsers do that for pages over HTTPS or from this machine only. They are the server’s word."]);
  items.push(...(proof.head ? checkpoint(proof) : [without(proof)]));
  items.push(["open", "Not told by this: what was cut off the end since the last checkpoint, and whether this server shows all that it has. For that, “clew verify --against” a checkpoint that is kept elsewhere."]);
  return h(
    "section",
    { class: `notice ${bad ? "bad" : "good"}`, "aria-labelledby": "verdict" },
    h("h2", { id: "verdict" }, bad ? "The record does not verify" : "The chain verifies"),
    h("ul", { class: "checks" }, ...items.map(([how, ...what]) => h("li", { class: how }, h("span", { class: "unseen" }, { good: "Holds: ", bad: "Does not hold: ", open: "Not checked: " }[how]), ...what))),
    h("button", { type: "button", class: "quiet", onclick: close }, "Close"),
  );
}

function checkpoint(proof) {
  const { head, checkpoint: signed } = proof;
  const items = [];
  if (proof.same) items.push(["good", `Commit ${head.n} is the head that signed checkpoint ${signed.number} has, made `, when(signed.at), "."]);
  else if (proof.same === false) items.push(["bad", `Checkpoint ${signed.number} has another commit ${head.n} as the thread’s head.`]);
  if (proof.leads) items.push(["good", "That head was found here under the checkpoint’s root."]);
  else if (proof.leads === false) items.push(["bad", "The proof’s path does not lead to the checkpoint’s root."]);
  items.push(["open", "The checkpoint’s signature was not checked: “clew checkpoint check” does, with the operator’s public key."]);
  return items;
}

function without(proof) {
  return proof.missing
    ? ["open", "No signed checkpoint has this thread yet; one is made every few minutes, where it is switched on."]
    : ["open", "The server gave no proof: ", line(proof.fault.message)];
}
