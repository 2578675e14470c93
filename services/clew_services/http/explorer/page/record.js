// A commit as it stands on record: who asked for it, under which ids, between which hashes, and its events.
import { copying, h } from "./dom.js";
import { indented } from "./json.js";
import { block, line } from "./text.js";
import { exact } from "./times.js";

/** The record of a commit, closed at first; `toggled` is told when it is opened or closed. */
export function recordShown(commit, open, toggled) {
  const facts = [
    ["Asked by", line(commit.actor)],
    ["Known as", line(commit.by)],
    ["Reason", commit.reason_erased ? line("erased") : commit.reason && line(commit.reason)],
    ["Command", line(commit.command)],
    ["At", exact(commit.at)],
    ["Command id", line(commit.command_id, "mono")],
    ["Trace", commit.trace_id && line(commit.trace_id, "mono")],
    ["Position", h("span", { class: "mono" }, `${commit.position.shard}-${commit.position.seq}`)],
    ["Hash", [line(commit.hash, "mono"), copying(commit.hash, "the commit's hash")]],
    ["Follows", line(commit.prev ?? "none: it is the first", commit.prev ? "mono" : "")],
  ];
  const element = h(
    "details",
    { class: "record", open },
    h("summary", {}, `Commit ${commit.n} on record`),
    h("table", {}, h("tbody", {}, ...facts.filter(([, value]) => value).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value))))),
    block(indented(commit.events), "mono code"),
  );
  element.addEventListener("toggle", () => toggled(element.open));
  return element;
}
