// Taking a thread's history home: as a pack that can be checked without a server, or else as JSON.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { failure } from "./notices.js";

const EXPORT = "/v1/threads/{thread_id}/export";
const PAGE = 500;

/** A button that downloads, and a place for what goes wrong. */
export function saving(api, id, signal) {
  const place = h("div", {});
  const button = h("button", { type: "button" }, "Download history");
  let packs = false;
  // Which of them there is, is said in the description of the API.
  offered(signal).then((is) => {
    packs = is;
    if (is) button.textContent = "Download pack";
  }, () => null);
  button.addEventListener("click", save);

  async function save() {
    button.disabled = true;
    fill(place);
    const label = button.textContent;
    try {
      if (packs) await pack();
      else await plain((n) => (button.textContent = `${n.toLocaleString("en")} commits …`));
      announce("The history was downloaded.");
    } catch (fault) {
      if (!brokenOff(fault)) fill(place, failure(fault, save));
    } finally {
      button.disabled = false;
      button.textContent = label;
    }
  }

  async function pack() {
    const { blob, headers } = await api.bytes(path("threads", id, "export"), {}, signal);
    const named = /filename="?([\w.-]+)"?/.exec(headers.get("content-disposition") ?? "");
    give(blob, named?.[1] ?? `${id}.clew`);
  }

  async function plain(progress) {
    const pages = [];
    let after = null;
    let commits = 0;
    do {
      const { value } = await api.get(path("threads", id, "events"), { order: "asc", limit: PAGE, after }, signal);
      pages.push(...value.data.map((commit) => `${JSON.stringify(commit)}\n`));
      commits += value.data.length;
      progress(commits);
      after = value.next;
    } while (after !== null);
    give(new Blob(pages, { type: "application/x-ndjson" }), `${id}.ndjson`);
  }

  return { button, element: place };
}

async function offered(signal) {
  const answer = await fetch(new URL("openapi.json", new URL(".", location.href)), { signal, credentials: "omit" });
  return EXPORT in (await answer.json()).paths;
}

function give(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
