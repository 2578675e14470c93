// Having a deleted thread there again, as it was.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { failure } from "./notices.js";

/** A button that restores the thread, and a place for what goes wrong; `restored` is told when it is there again. */
export function restoration(api, id, signal, restored) {
  const place = h("div", {});
  const button = h("button", { type: "button", onclick: restore }, "Restore the thread");

  async function restore() {
    button.disabled = true;
    fill(place);
    try {
      await api.post(path("threads", id, "restore"), signal);
      announce("The thread was restored.");
      await restored();
    } catch (fault) {
      if (!brokenOff(fault)) fill(place, failure(fault, restore));
    } finally {
      button.disabled = false;
    }
  }

  return h("div", {}, button, place);
}
