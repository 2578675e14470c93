// Creates a thread and a message over a wire that loses things; the client repeats by itself. Prints their ids.
import OpenAI from "openai";

const client = new OpenAI({ apiKey: process.env.CLEW_KEY, baseURL: process.env.CLEW_URL, maxRetries: 2 });
if (process.env.CLEW_KEYS === "on") client.idempotencyHeader = "Idempotency-Key";

const thread = await client.beta.threads.create();
const message = await client.beta.threads.messages.create(thread.id, { role: "user", content: "hi" });
console.log(JSON.stringify({ thread: thread.id, message: message.id }));
