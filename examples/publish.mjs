// Change threads from Node, with Clew's own client: npm install clew-client
import { connect, Conflict } from "clew-client";

const clew = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222", actor: "shop" });

// Request and reply: the answer is there when the change is on disk. What is not answered is sent again, and happens once.
const made = await clew.command("create_thread", {
  messages: [{ role: "user", content: "Where is my parcel?" }],
  metadata: { order: "1042" },
});
const thread_id = made.thread.id;
await clew.command("update_thread", { thread_id, patch: { set: { priority: "high" } } });

try {
  await clew.command("update_thread", { thread_id, metadata: {}, expected_version: made.n });
} catch (error) {
  if (!(error instanceof Conflict)) throw error;
  console.log(`${error.code}: somebody was faster: look again, then decide again`);
}

// The inbox: stored now, carried out when a handler is there.
const outcomes = clew.nats.subscribe("clew.outcome.default.shop", { max: 1 });
const message = { role: "assistant", content: "It is on its way." };
await clew.enqueue("add_message", { thread_id, message, reply_to: "clew.outcome.default.shop" });
for await (const outcome of outcomes) console.log(Object.keys(outcome.json())[0]);

for await (const { role, content } of clew.messages(thread_id)) console.log(`${role}: ${content[0].text.value}`);

await clew.close();
