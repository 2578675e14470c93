// What a commit did, in a few words. An event without words of its own is called by its name.
import { beginning } from "./text.js";

const NAMED = 3;

/** The kinds of changes by which commits are chosen: their names, and their events. */
export const KINDS = {
  items: ["Messages and items", ["ItemAdded", "ItemReplaced", "ItemMetadataUpdated", "ItemDeleted", "ItemsCleared"]],
  metadata: ["Metadata", ["ThreadCreated", "MetadataUpdated"]],
  settings: ["Tools and expiry", ["ToolResourcesUpdated", "ExpiryUpdated"]],
  deletions: ["Deleted, restored", ["ItemDeleted", "ItemsCleared", "ThreadDeleted", "ThreadRestored"]],
  holds: ["Legal holds", ["HoldPlaced", "HoldReleased"]],
  erasures: ["Erasures", ["ErasureRequested", "ErasureCompleted"]],
};

/**
 * Such as "plan: free → gold, removed trial: yes".
 *
 * `before` tells what a key of the thread's metadata was before: null if it was not there, undefined if that is not known.
 */
export function did(commit, before = () => undefined) {
  const said = commit.events.map((each) => event(each, before));
  const counted = said.length > 2 ? [...said.slice(0, 2), `${said.length - 2} more`] : said;
  return counted.join(" · ") || commit.command;
}

/** What sort of change it was: what its knot on the thread looks like. */
export function sort(commit) {
  const types = commit.events.map((each) => each.type);
  if (types.some((type) => type.includes("Hold"))) return "held";
  if (types.some((type) => type.endsWith("Deleted") || type === "ErasureRequested")) return "gone";
  if (types.some((type) => type.endsWith("Created"))) return "begun";
  return types.some((type) => type.endsWith("Added")) ? "added" : "changed";
}

function event(each, before) {
  switch (each.type) {
    case "ThreadCreated": {
      const { forked_from: from, imported, metadata = {} } = each;
      const how = from ? `forked from ${from.thread} at commit ${from.n}` : imported ? `imported from ${imported.source}` : "created";
      return Object.keys(metadata).length ? `${how} with ${some(Object.entries(metadata).map(([key, value]) => valued(key, value)))}` : how;
    }
    case "MetadataUpdated":
      return difference(each, before);
    case "ToolResourcesUpdated":
      return "changed tool resources";
    case "ExpiryUpdated":
      return each.expires_after ? `expires ${expiry(each.expires_after)}` : "does not expire any more";
    case "ItemAdded":
      return item(each);
    case "ItemReplaced":
      return `replaced: ${item(each)}`;
    case "ItemMetadataUpdated":
      return `${one(each.item)}: ${difference(each)}`;
    case "ItemDeleted":
      return `deleted ${one(each.item)}`;
    case "ThreadDeleted":
      return "deleted the thread";
    case "HoldPlaced":
    case "HoldReleased":
    case "StandingHoldPlaced":
    case "StandingHoldReleased":
      return `${named(String(each.type))}: ${each.hold}`;
    case "RetentionSet":
    case "RetentionRemoved":
      return `${named(String(each.type))}: ${each.name}`;
    case "ErasureRequested":
      return `asked to erase ${each.items ? one(each.items[0]) : "the thread"}`;
    case "ErasureCompleted":
      return "erased";
    case "ErasedThreadEvent":
    case "ErasedItemEvent":
      return `${named(String(each.of))} (erased)`;
    default:
      return named(String(each.type));
  }
}

/** Such as "30 days after it was last active". */
export function expiry({ anchor, days }) {
  return `${span(days)} after it was ${anchor === "created_at" ? "created" : "last active"}`;
}

/** Such as "30 days". */
export function span(days) {
  return `${days.toLocaleString("en")} ${days === 1 ? "day" : "days"}`;
}

/** "ThreadRestored" is "thread restored". */
function named(type) {
  return type.replace(/(?<=[a-z0-9])[A-Z]/g, " $&").toLowerCase();
}

function difference({ set = {}, unset = [] }, before = () => undefined) {
  return some([
    ...Object.entries(set).map(([key, value]) => (before(key) == null ? `set ${valued(key, value)}` : `${valued(key, before(key))} → ${short(value)}`)),
    ...unset.map((key) => `removed ${before(key) == null ? short(key) : valued(key, before(key))}`),
  ]);
}

const short = (text) => beginning(text, 40) || "(empty)";
const valued = (key, value) => `${short(key)}: ${short(value)}`;

function some(parts) {
  const named = parts.slice(0, NAMED).join(", ");
  return parts.length > NAMED ? `${named} and ${parts.length - NAMED} more` : named;
}

/** An item, as far as its id tells. */
function one(id) {
  return /^msg_/.test(id) ? "a message" : "an item";
}

/** By whom an item is, and how it begins; or what sort of item it is, where it is no message. */
export function item({ message, body }) {
  const said = message ?? body ?? {};
  const type = String(said.type ?? "message").replace(/_/g, " ");
  const texts = typeof said.content === "string" ? said.content : Array.isArray(said.content) && said.content.map(text).join(" ");
  if (type !== "message" || typeof texts !== "string") return beginning(type, 60);
  return `${beginning(String(said.role), 40)}: “${beginning(texts, 120)}”`;
}

function text(part) {
  return typeof part?.text === "string" ? part.text : `[${String(part?.type ?? "part").replace(/_/g, " ")}]`;
}
