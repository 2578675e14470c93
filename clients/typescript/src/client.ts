import { randomUUID } from "node:crypto";
import { headers as natsHeaders, type ConnectionOptions, type NatsConnection, type Subscription } from "@nats-io/nats-core";
import { connect as connectNats } from "@nats-io/transport-node";
import type {
  Commands,
  Entry,
  Feed,
  FeedEntry,
  Found,
  GetFeed,
  History,
  ListedThread,
  ListThreads,
  Message,
  Queries,
  ThreadList,
} from "./contract.js";
import { ClewError, Corrupt, Unavailable } from "./errors.js";
import { decodeReply, decodeSequence, pauses, request, sleep, unconnected } from "./requests.js";

export interface ClewOptions {
  /** Whose threads they are. `default`, unless you say otherwise. */
  tenant?: string;
  /** Who changes something, for the record, where a command names nobody. */
  actor?: string;
  /** For how many milliseconds a call that is not answered is repeated: 10,000 unless you say otherwise. */
  timeout?: number;
  /** The W3C `traceparent` to send along. */
  traceparent?: () => string | undefined;
}

/** An item: a JSON object with a type and an id. */
export type Item = Record<string, unknown>;

const PAGE = 500;
/** Milliseconds after which a follower asks for new commits although none was announced. */
const POLL = 5_000;

/**
 * A client of one tenant. Every method resolves to Clew's answer or rejects with a {@link ClewError}.
 *
 * A command has an id from its first sending on, so that a call is repeated without happening twice.
 */
export class Clew {
  readonly nats: NatsConnection;
  readonly tenant: string;
  readonly #actor: string | undefined;
  readonly #timeout: number;
  readonly #traceparent: () => string | undefined;

  /** Uses a connection of yours; {@link connect} makes one. */
  constructor(nats: NatsConnection, { tenant = "default", actor, timeout = 10_000, traceparent }: ClewOptions = {}) {
    if (!/^[A-Za-z0-9_-]+$/.test(tenant)) throw new TypeError(`there can be no tenant ${JSON.stringify(tenant)}`);
    this.nats = nats;
    this.tenant = tenant;
    this.#actor = actor;
    this.#timeout = timeout;
    this.#traceparent = traceparent ?? (() => undefined);
  }

  /** Carries out a command; resolves when its commit is on disk. */
  command<K extends keyof Commands & string>(name: K, body: Commands[K]["request"]): Promise<Commands[K]["answer"]> {
    return this.#request(`clew.cmd.${this.tenant}.${name}`, this.#completed(body), decodeReply<Commands[K]["answer"]>);
  }

  /** Leaves a command in the inbox, where it is carried out later; resolves to its sequence once it is stored. */
  enqueue<K extends keyof Commands & string>(name: K, body: Commands[K]["request"]): Promise<number> {
    return this.#request(`clew.inbox.${this.tenant}.${name}`, this.#completed(body), decodeSequence);
  }

  /** Asks a query. The answer shows every change that was acknowledged before. */
  query<K extends keyof Queries & string>(name: K, body: Queries[K]["request"]): Promise<Queries[K]["answer"]> {
    return this.#request(`clew.query.${this.tenant}.${name}`, body, decodeReply<Queries[K]["answer"]>);
  }

  /** All messages of a thread, oldest first unless you say otherwise. Pages are fetched as they are needed. */
  async *messages(thread_id: string, order: "asc" | "desc" = "asc"): AsyncGenerator<Message, void, undefined> {
    for (let after: string | null = null; ; ) {
      const { messages }: Found = await this.query("list_messages", { thread_id, order, after, limit: 100 });
      if (!messages) throw new Corrupt("the answer has no messages", "unreadable_reply");
      yield* messages.data;
      if (!messages.has_more) return;
      after = messages.last_id;
    }
  }

  /** All items of a thread or conversation, oldest first unless you say otherwise. */
  async *items(thread_id: string, order: "asc" | "desc" = "asc"): AsyncGenerator<Item, void, undefined> {
    for (let after: string | null = null; ; ) {
      const { items }: Found = await this.query("list_items", { thread_id, order, after, limit: 100 });
      if (!items) throw new Corrupt("the answer has no items", "unreadable_reply");
      yield* items.data;
      if (!items.has_more) return;
      after = items.last_id;
    }
  }

  /** All threads that match. */
  async *threads(query: ListThreads = {}): AsyncGenerator<ListedThread, void, undefined> {
    for (let { after } = query; ; ) {
      const page: ThreadList = await this.query("list_threads", {
        limit: 100,
        ...query,
        ...(after === undefined ? {} : { after }),
      });
      yield* page.data;
      if (page.next === null) return;
      after = page.next;
    }
  }

  /** All commits of a thread, first to last. Throws {@link Corrupt} where one is missing from the log. */
  async *history(thread_id: string): AsyncGenerator<Entry, void, undefined> {
    for (let after: string | null = null; ; ) {
      const page: History = await this.query("history", { thread_id, after, limit: 100 });
      const gap = page.missing?.[0];
      for (const entry of page.commits) {
        if (gap && entry.commit.n > gap.last) break;
        yield entry;
      }
      if (gap) throw new Corrupt(`commits ${gap.first} to ${gap.last} are missing from the log`, "missing_commit");
      if (!page.cursor) return;
      after = page.cursor;
    }
  }

  /**
   * Every commit of the tenant after a cursor, each once and in the order of the log; with `follow` also future ones.
   *
   * An entry's `id` is a cursor: keep that of the last one that you have processed, and go on with it as `after`. With
   * `follow` it never ends and waits while Clew does not answer; end it with `signal`, or by leaving the loop.
   */
  async *feed(
    { follow = false, signal, ...query }: GetFeed & { follow?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<FeedEntry, void, undefined> {
    const announced = follow ? new Announcements(this.nats, `clew.live.evt.*.${this.tenant}.${query.thread_id ?? "*"}`) : null;
    const stop = () => announced?.close();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      for (let after = query.after; !signal?.aborted; ) {
        announced?.clear(); // before the query: a commit announced from here on may not be in the answer
        const wanted: GetFeed = { limit: PAGE, ...query, ...(after === undefined ? {} : { after }) };
        const page: Feed = await (follow ? this.#persist(wanted, signal) : this.query("feed", wanted));
        for (const entry of page.data) {
          if (signal?.aborted) return;
          yield entry;
        }
        after = page.next;
        if (page.has_more) continue;
        if (announced === null) return;
        await announced.next(POLL);
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
    }
  }

  /** Sends what is under way, and closes the connection. */
  async close(): Promise<void> {
    if (!this.nats.isClosed()) await this.nats.drain();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #persist(query: GetFeed, signal: AbortSignal | undefined): Promise<Feed> {
    for (const pause of pauses(50)) {
      try {
        return await this.query("feed", query);
      } catch (error) {
        const over = !(error instanceof Unavailable) || error.code === "connection_closed" || error.code === "not_permitted";
        if (over || signal?.aborted) throw error;
      }
      await sleep(pause);
    }
    throw new Error("pauses never end");
  }

  #completed(body: Commands[keyof Commands]["request"]): object {
    const actor = body.actor ?? this.#actor;
    return { ...body, id: body.id ?? `cmd_${randomUUID().replaceAll("-", "")}`, ...(actor === undefined ? {} : { actor }) };
  }

  #request<T>(subject: string, body: unknown, decode: (body: unknown) => T): Promise<T> {
    const trace = this.#traceparent();
    if (trace === undefined) return request(this.nats, subject, body, decode, { timeout: this.#timeout });
    const headers = natsHeaders();
    headers.set("traceparent", trace);
    return request(this.nats, subject, body, decode, { timeout: this.#timeout, headers });
  }
}

/** Hears that there are new commits. Which ones, the log says: an announcement can be lost. */
class Announcements {
  readonly #subscription: Subscription;
  #heard = false;
  #wake: (() => void) | null = null;

  constructor(nats: NatsConnection, subject: string) {
    const hear = () => {
      this.#heard = true;
      this.#wake?.();
    };
    this.#subscription = nats.subscribe(subject, { callback: hear });
  }

  clear(): void {
    this.#heard = false;
  }

  async next(patience: number): Promise<void> {
    if (this.#heard) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((wake) => {
      this.#wake = wake;
      timer = setTimeout(wake, patience);
    });
    clearTimeout(timer);
    this.#wake = null;
  }

  close(): void {
    this.#wake?.();
    if (!this.#subscription.isClosed()) this.#subscription.unsubscribe();
  }
}

/** Connects to NATS, with its options beside Clew's. */
export async function connect({ tenant, actor, timeout, traceparent, ...nats }: ConnectionOptions & ClewOptions = {}): Promise<Clew> {
  const options: ClewOptions = {};
  if (tenant !== undefined) options.tenant = tenant;
  if (actor !== undefined) options.actor = actor;
  if (timeout !== undefined) options.timeout = timeout;
  if (traceparent !== undefined) options.traceparent = traceparent;
  const connection = await connectNats({ maxReconnectAttempts: -1, ...nats }).catch((error: unknown) => {
    throw unconnected(error, nats.servers);
  });
  try {
    return new Clew(connection, options);
  } catch (error) {
    await connection.close();
    throw error;
  }
}

export { ClewError };
