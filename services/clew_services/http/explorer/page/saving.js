// Taking a thread's history home: as a pack, which can be asked and checked without a server, or as a report.
import { brokenOff, path } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { failure } from "./notices.js";

const FORMATS = { html: "a page to print", csv: "a table (CSV)", json: "JSON" };

/** Controls that download, and a place for what goes wrong. The report shows the state at each of `moments()`. */
export function saving(api, id, signal, moments) {
  const place = h("div", {});
  const button = (what, part, ending, parameters = () => ({})) => {
    const element = h("button", { type: "button", onclick: save }, `Download ${what}`);

    async function save() {
      element.disabled = true;
      fill(place);
      try {
        const { blob, headers } = await api.bytes(path("threads", id, part), parameters(), signal);
        const named = /filename="?([\w.-]+)"?/.exec(headers.get("content-disposition") ?? "");
        give(blob, named?.[1] ?? `${id}.${ending}`);
        announce(`The ${what} was downloaded.`);
      } catch (fault) {
        if (!brokenOff(fault)) fill(place, failure(fault, save));
      } finally {
        element.disabled = false;
      }
    }

    return element;
  };
  const format = h("select", { "aria-label": "The report is" }, ...Object.entries(FORMATS).map(([value, label]) => h("option", { value }, label)));
  const report = h("span", { class: "joined" }, button("report", "report", "html", () => ({ as_of: moments(), format: format.value })), format);
  return { controls: [report, button("pack", "export", "clew.tar.zst")], element: place };
}

function give(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
