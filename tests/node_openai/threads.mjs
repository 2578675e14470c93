// A thread's whole life with OpenAI's client for Node, as it is published. Prints what it saw as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.CLEW_KEY, baseURL: process.env.CLEW_URL, maxRetries: 2 });
const { threads } = client.beta;
const seen = {};

const said = Array.from({ length: 45 }, (_, number) => ({ role: "user", content: String(number) }));
const created = await threads.create({ messages: said, metadata: { customer: "c-81" } });
seen.created = created;

const collect = async (query) => {
  const texts = [];
  for await (const message of threads.messages.list(created.id, query)) texts.push(message.content[0].text.value);
  return texts;
};
seen.newestFirst = await collect({});
seen.oldestFirst = await collect({ order: "asc", limit: 7 });

// The client goes on from a page with `before` by sending `before` and `after` together.
const middle = (await threads.messages.list(created.id, { order: "asc", limit: 20 })).data[19];
seen.before = await collect({ order: "asc", limit: 6, before: middle.id });

const page = await threads.messages.list(created.id, { limit: 45 });
seen.pages = [page.data.length, page.hasNextPage(), (await threads.messages.list(created.id)).hasNextPage()];

const added = await threads.messages.create(created.id, { role: "assistant", content: [{ type: "text", text: "!" }] });
seen.added = added;
const changed = await threads.messages.update(added.id, { thread_id: created.id, metadata: { k: "v" } });
seen.changed = changed.metadata;
seen.dropped = await threads.messages.delete(added.id, { thread_id: created.id });
seen.updated = (await threads.update(created.id, { metadata: { state: "closed" } })).metadata;
seen.retrieved = await threads.retrieve(created.id);

const refusal = async (call) => {
  try {
    await call();
  } catch (error) {
    const { name } = error.constructor;
    return { name, status: error.status, code: error.code, param: error.param, type: error.type, error: error.error };
  }
};
seen.gone = await refusal(() => threads.messages.retrieve(added.id, { thread_id: created.id }));
seen.bad = await refusal(() => threads.create({ metadata: { modified: true } }));
seen.deleted = await threads.delete(created.id);
seen.missing = await refusal(() => threads.retrieve(created.id));
seen.stranger = await refusal(() => client.withOptions({ apiKey: "sk-nobody-has-this-one" }).beta.threads.create());

console.log(JSON.stringify(seen));
