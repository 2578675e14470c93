// A conversation's whole life with OpenAI's client for Node, as it is published. Prints what it saw as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.CLEW_KEY, baseURL: process.env.CLEW_URL, maxRetries: 2 });
const { conversations } = client;
const seen = {};

const created = await conversations.create({ metadata: { customer: "c-81" } });
seen.created = created;
const items = Array.from({ length: 45 }, (_, number) => ({ role: "user", content: String(number) }));
items.push({ type: "reasoning", id: "rs_1", summary: [], encrypted_content: "sealed" });
seen.added = (await conversations.items.create(created.id, { items })).data.length;

seen.oldestFirst = [];
for await (const item of conversations.items.list(created.id, { order: "asc", limit: 7 })) {
  seen.oldestFirst.push(item.type === "message" ? item.content[0].text : item.id);
}
const include = ["reasoning.encrypted_content"];
seen.whole = await conversations.items.retrieve("rs_1", { conversation_id: created.id, include });
seen.left = await conversations.items.retrieve("rs_1", { conversation_id: created.id });
seen.dropped = await conversations.items.delete("rs_1", { conversation_id: created.id });
seen.updated = await conversations.update(created.id, { metadata: { state: "closed" } });
seen.deleted = await conversations.delete(created.id);
try {
  await conversations.retrieve(created.id);
} catch (error) {
  seen.missing = [error.constructor.name, error.status, error.error.message];
}

console.log(JSON.stringify(seen));
