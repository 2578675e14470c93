// Against a real Clew: NATS_URL is its NATS server.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { errors } from "@nats-io/nats-core";
import { Clew, connect, Conflict, Rejected, Unavailable, type FeedEntry } from "../src/index.js";
import { decodeReply, request, unconnected } from "../src/requests.js";

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
let clew: Clew;

before(async () => {
  clew = await connect({ servers, actor: "shop", timeout: 20_000 });
});
after(() => clew.close());

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of source) found.push(each);
  return found;
}

test("a thread is created, changed and read, and its history says by whom", async () => {
  const { thread, n } = await clew.command("create_thread", {
    messages: [{ role: "user", content: "Where is my parcel?" }],
    metadata: { order: "1042" },
  });
  assert.ok(thread);
  assert.equal(n, 1);
  const thread_id = thread.id;
  await clew.command("update_thread", { thread_id, patch: { set: { priority: "high" } } });
  await clew.command("add_message", { thread_id, message: { role: "assistant", content: "On its way." }, actor: "robot" });

  const found = await clew.query("get_thread", { thread_id });
  assert.deepEqual(found.thread?.metadata, { order: "1042", priority: "high" });
  const texts = (await all(clew.messages(thread_id))).flatMap(({ content }) =>
    content.map((part) => (part.type === "text" ? part.text.value : part.type)),
  );
  assert.deepEqual(texts, ["Where is my parcel?", "On its way."]);
  const history = await all(clew.history(thread_id));
  assert.deepEqual(history.map(({ commit }) => [commit.n, commit.actor]), [[1, "shop"], [2, "shop"], [3, "robot"]]);
});

test("pages are one list, forwards and backwards", async () => {
  const thread_id = `conv_${randomUUID().replaceAll("-", "")}`;
  const items = Array.from({ length: 230 }, (_, i) => ({ type: "note", id: `note_${i}`, i }));
  await clew.command("create_thread", { thread_id, items });
  assert.deepEqual((await all(clew.items(thread_id))).map(({ i }) => i), items.map(({ i }) => i));
  assert.deepEqual((await all(clew.items(thread_id, "desc"))).map(({ i }) => i), items.map(({ i }) => i).reverse());
});

test("errors are told apart by what to do", async () => {
  const { thread } = await clew.command("create_thread", {});
  const thread_id = thread!.id;
  await clew.command("update_thread", { thread_id, metadata: { a: "1" } });
  await assert.rejects(clew.command("update_thread", { thread_id, metadata: {}, expected_version: 1 }), (error) => {
    return error instanceof Conflict && error.code === "version_conflict";
  });
  await assert.rejects(clew.query("get_thread", { thread_id: "thread_nobody" }), (error) => {
    return error instanceof Rejected && error.code === "thread_not_found" && error.message.includes("thread_nobody");
  });
  const wrong = { thread_id, metadata: { a: 1 as unknown as string } };
  await assert.rejects(clew.command("update_thread", wrong), (error) => {
    return error instanceof Rejected && error.param === "metadata.a";
  });
});

test("what the server does not take, and a server that is not there, are errors of Clew's", async () => {
  const content = "x".repeat(200_000);
  const messages = Array.from({ length: 60 }, () => ({ role: "user" as const, content }));
  await assert.rejects(clew.command("create_thread", { messages }), (error) => {
    return error instanceof Rejected && error.code === "too_large";
  });
  await assert.rejects(connect({ servers: "nats://127.0.0.1:9" }), (error) => {
    return error instanceof Unavailable && error.code === "unreachable" && error.message.includes("127.0.0.1:9");
  });
  const refused = unconnected(new errors.AuthorizationError("'Authorization Violation'"), "nats://me:secret@127.0.0.1:9");
  assert.ok(refused instanceof Rejected && refused.code === "nats_unauthorized" && !refused.message.includes("secret"));
});

test("a command that is sent again under its id happens once", async () => {
  const id = randomUUID();
  const [first, second] = [await clew.command("create_thread", { id }), await clew.command("create_thread", { id })];
  assert.deepEqual(first, second);
});

test("fifty changes of one thread at once are fifty commits", async () => {
  const { thread } = await clew.command("create_thread", {});
  const done = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      clew.command("update_thread", { thread_id: thread!.id, patch: { set: { last: String(i) } } }),
    ),
  );
  assert.deepEqual(done.map(({ n }) => n).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i + 2));
});

test("what was not answered is sent again, the same bytes, and what nobody carries out is unavailable", async () => {
  const subject = `clew.outcome.default.${randomUUID()}`; // where nobody listens but the test
  const send = (timeout: number) => request(clew.nats, subject, { a: "b" }, decodeReply<{ n: number }>, { timeout });
  await assert.rejects(send(1_000), (error) => {
    return error instanceof Unavailable && error.code === "no_responders" && !error.outcomeUnknown;
  });

  const asked: string[] = [];
  const later = { error: { type: "unavailable", code: "log_unavailable", message: "not now", retry: "later" } };
  const listening = clew.nats.subscribe(subject, {
    callback: (_, message) => {
      asked.push(message.string());
      if (asked.length === 2) message.respond(JSON.stringify(later));
      if (asked.length === 3) message.respond(JSON.stringify({ ok: { n: 7 } }));
    },
  });
  await clew.nats.flush();
  assert.deepEqual(await send(20_000), { n: 7 });
  assert.deepEqual(asked, ['{"a":"b"}', '{"a":"b"}', '{"a":"b"}']);
  listening.unsubscribe();

  const silent = clew.nats.subscribe(subject, { callback: () => undefined });
  await clew.nats.flush();
  await assert.rejects(send(200), (error) => {
    return error instanceof Unavailable && error.code === "no_reply" && error.outcomeUnknown;
  });
  silent.unsubscribe();
});

test("on a connection that is closed nothing waits", async () => {
  const closed = await connect({ servers });
  await closed.close();
  await assert.rejects(closed.query("get_thread", { thread_id: "thread_x" }), (error) => {
    return error instanceof Unavailable && error.code === "connection_closed";
  });
});

test("a trace goes along", async () => {
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const traced = new Clew(clew.nats, { actor: "shop", timeout: 20_000, traceparent: () => traceparent });
  const { thread } = await traced.command("create_thread", {});
  const [first] = await all(traced.history(thread!.id));
  assert.equal(first?.trace_id, traceparent.split("-")[1]);
});

test("a command that is left in the inbox is carried out", async () => {
  const outcome = `clew.outcome.default.${randomUUID()}`;
  const told = clew.nats.subscribe(outcome, { max: 1 });
  assert.ok((await clew.enqueue("create_thread", { metadata: { from: "inbox" }, reply_to: outcome })) > 0);
  for await (const message of told) assert.deepEqual(Object.keys(message.json<object>()), ["ok"]);
});

test("a feed has every commit once, goes on from a cursor, and hears of new ones", async () => {
  const made = async (i: number) => (await clew.command("create_thread", { metadata: { i: String(i) } })).thread!.id;
  const first = [await made(0), await made(1), await made(2)];
  const mine = (entries: FeedEntry[]) => entries.map(({ commit }) => commit!.thread).filter((id) => wanted.includes(id));
  const wanted = [...first];
  const whole = await all(clew.feed());
  assert.deepEqual(mine(whole), first);

  const heard: FeedEntry[] = [];
  const stop = new AbortController();
  const listening = (async () => {
    for await (const entry of clew.feed({ after: whole.at(-1)!.id, follow: true, signal: stop.signal })) {
      heard.push(entry);
      if (mine(heard).length === 5) break;
    }
  })();
  for (let i = 0; i < 2; i++) wanted.push(await made(i));
  for (let i = 0; i < 3; i++) wanted.push(await made(i));
  await listening;
  assert.deepEqual(mine(heard), wanted.slice(3));
  stop.abort();
  assert.deepEqual(await all(clew.feed({ follow: true, signal: stop.signal })), []);
});

test("a tenant that cannot be is refused before anything is sent", async () => {
  await assert.rejects(connect({ servers, tenant: "a.b" }), TypeError);
});
