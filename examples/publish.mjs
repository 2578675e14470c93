// Change threads from Node, with the ordinary NATS client: npm install nats
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, ErrorCode } from "nats";

const PATIENCE = 10_000;
const WORTH_REPEATING = [ErrorCode.Timeout, ErrorCode.NoResponders, ErrorCode.Disconnect];

// Sends a command until it is answered. The id makes that safe: it is the same command every time.
async function carryOut(nc, command, body) {
  const payload = JSON.stringify({ id: randomUUID(), actor: "shop", ...body });
  const until = Date.now() + PATIENCE;
  for (let pause = 50; ; pause = Math.min(2 * pause, 2_000)) {
    let error;
    try {
      const reply = (await nc.request(`clew.cmd.default.${command}`, payload, { timeout: 2_000 })).json();
      if (reply.ok) return reply.ok;
      error = Object.assign(new Error(reply.error.message), reply.error);
      if (error.retry !== "later") throw error;
    } catch (fault) {
      error ??= fault;
      if (error.retry !== "later" && !WORTH_REPEATING.includes(error.code)) throw error;
    }
    if (Date.now() > until) throw error;
    await sleep(pause * (0.5 + Math.random() / 2));
  }
}

const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });

// Request and reply: the answer is there when the change is on disk.
const made = await carryOut(nc, "create_thread", {
  messages: [{ role: "user", content: "Where is my parcel?" }],
  metadata: { order: "1042" },
});
const thread_id = made.thread.id;
await carryOut(nc, "update_thread", { thread_id, patch: { set: { priority: "high" } } });

try {
  await carryOut(nc, "update_thread", { thread_id, metadata: {}, expected_version: made.n });
} catch (error) {
  console.log(error.code, error.retry);
}

// The inbox: stored now, carried out when a handler is there.
const outcomes = nc.subscribe("clew.outcome.default.shop", { max: 1 });
const message = { role: "assistant", content: "It is on its way." };
const later = { id: randomUUID(), thread_id, message, reply_to: "clew.outcome.default.shop" };
await nc.jetstream().publish("clew.inbox.default.add_message", JSON.stringify(later));
for await (const outcome of outcomes) console.log(Object.keys(outcome.json())[0]);

const page = await nc.request("clew.query.default.list_messages", JSON.stringify({ thread_id, order: "asc" }));
for (const { role, content } of page.json().ok.messages.data) console.log(`${role}: ${content[0].text.value}`);

await nc.drain();
