// What a commit did, in a few words.
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
  if (types.includes("ThreadDeleted") || types.includes("MessageDeleted")) return "gone";
  if (types.includes("ThreadCreated")) return "begun";
  return types.includes("MessageAdded") ? "added" : "changed";
}

function event(each) {
  switch (each.type) {
    case "ThreadCreated": {
      const keys = Object.keys(each.metadata ?? {});
      return keys.length ? `created with ${some(keys)}` : "created";
    }
    case "MetadataUpdated":
      return difference(each);
    case "ToolResourcesUpdated":
      return "changed tool resources";
    case "MessageAdded":
      return `${each.message.role}: “${beginning(texts(each.message), 120)}”`;
    case "MessageMetadataUpdated":
      return `message: ${difference(each)}`;
    case "MessageDeleted":
      return "deleted a message";
    case "ThreadDeleted":
      return "deleted the thread";
    default:
      return String(each.type);
  }
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

function texts(message) {
  return message.content.map((part) => (part.type === "text" ? part.text : `[${part.type.replace("_", " ")}]`)).join(" ");
}
