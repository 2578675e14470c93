// Taking a thread's history home: as a pack, which can be asked and checked without a server.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { failure } from "./notices.js";

/** A button that downloads, and a place for what goes wrong. */
export function saving(api, id, signal) {
  const place = h("div", {});
  const button = h("button", { type: "button" }, "Download pack");
  button.addEventListener("click", save);

  async function save() {
    button.disabled = true;
    fill(place);
    try {
      const { blob, headers } = await api.bytes(path("threads", id, "export"), {}, signal);
      const named = /filename="?([\w.-]+)"?/.exec(headers.get("content-disposition") ?? "");
      give(blob, named?.[1] ?? `${id}.clew.tar.zst`);
      announce("The pack was downloaded.");
    } catch (fault) {
      if (!brokenOff(fault)) fill(place, failure(fault, save));
    } finally {
      button.disabled = false;
    }
  }

  return { button, element: place };
}

function give(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
