// What a commit did, in a few words. An event without words of its own is called by its name.
import { beginning } from "./text.js";

const NAMED = 3;

/** Such as "set plan, removed trial". */
export function did(commit) {
  const said = commit.events.map(event);
  const counted = said.length > 2 ? [...said.slice(0, 2), `${said.length - 2} more`] : said;
  return counted.join(" · ") || commit.command;
}

/** What sort of change it was: what its knot on the thread looks like. */
export function sort(commit) {
  const types = commit.events.map((each) => each.type);
  if (types.some((type) => type.endsWith("Deleted") || type === "ErasureRequested")) return "gone";
  if (types.some((type) => type.endsWith("Created"))) return "begun";
  return types.some((type) => type.endsWith("Added")) ? "added" : "changed";
}

function event(each) {
  switch (each.type) {
    case "ThreadCreated": {
      const keys = Object.keys(each.metadata ?? {});
      const how = each.imported ? `imported from ${each.imported.source}` : "created";
      return keys.length ? `${how} with ${some(keys)}` : how;
    }
    case "MetadataUpdated":
      return difference(each);
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

function difference({ set = {}, unset = [] }) {
  const said = [];
  if (Object.keys(set).length) said.push(`set ${some(Object.keys(set))}`);
  if (unset.length) said.push(`removed ${some(unset)}`);
  return said.join(", ");
}

function some(keys) {
  const named = keys.slice(0, NAMED).map((key) => beginning(key, 40));
  return keys.length > NAMED ? `${named.join(", ")} and ${keys.length - NAMED} more` : named.join(", ");
}

/** An item, as far as its id tells. */
function one(id) {
  return /^msg_/.test(id) ? "a message" : "an item";
}

/** By whom an item is, and how it begins; or what sort of item it is, where it is no message. */
function item({ message, body }) {
  const said = message ?? body ?? {};
  const type = String(said.type ?? "message").replace(/_/g, " ");
  const texts = typeof said.content === "string" ? said.content : Array.isArray(said.content) && said.content.map(text).join(" ");
  if (type !== "message" || typeof texts !== "string") return beginning(type, 60);
  return `${beginning(String(said.role), 40)}: “${beginning(texts, 120)}”`;
}

function text(part) {
  return typeof part?.text === "string" ? part.text : `[${String(part?.type ?? "part").replace(/_/g, " ")}]`;
}
