// Fifty writers on one thread, all at once, from another language.
import { connect } from "nats";

const nc = await connect({ servers: process.env.NATS_URL });
const ask = async (command, body) =>
  (await nc.request(`clew.cmd.default.${command}`, JSON.stringify({ actor: "node", ...body }), { timeout: 30_000 })).json();

await ask("create_thread", { thread_id: "thread_flood" });
const replies = await Promise.all(
  Array.from({ length: 50 }, (_, i) =>
    ask("update_thread", { thread_id: "thread_flood", patch: { set: { last: String(i) } } }),
  ),
);
const versions = replies.map((reply) => reply.ok?.n).sort((a, b) => a - b);
console.log(JSON.stringify({ ok: replies.filter((reply) => reply.ok).length, versions }));
await nc.drain();
