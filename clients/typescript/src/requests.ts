import { errors, type NatsConnection } from "@nats-io/nats-core";
import type { Fault } from "./contract.js";
import { ClewError, Corrupt, fromFault, Rejected, Unavailable } from "./errors.js";

/** Milliseconds to wait for the first reply. Doubles with every repeat, because a loaded service replies late. */
const FIRST_PATIENCE = 1_000;
/** An attempt with less time than that, in milliseconds, would end without an answer, and what is known by then would be lost. */
const SHORTEST = 250;
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 2_000;
/** Codes of an answer that says that nothing was carried out. */
const NOT_CARRIED_OUT = new Set(["overloaded", "inbox_full"]);
const TOO_LARGE = 10054;
const FULL = 10077;

export const sleep = (milliseconds: number): Promise<void> => new Promise((wake) => setTimeout(wake, milliseconds));

/** Endless pauses between repeats, in milliseconds: random, below a ceiling that grows. */
export function* pauses(first = FIRST_PAUSE): Generator<number, never> {
  for (let ceiling = first; ; ceiling = Math.min(LONGEST_PAUSE, 2 * ceiling)) yield ceiling * (0.5 + Math.random() / 2);
}

/**
 * Sends the same bytes until there is an answer, for at most `timeout` milliseconds; that is safe, because a command has
 * an id. Throws what `decode` throws, but for `Unavailable`, after which it sends again.
 */
export async function request<T>(
  nats: NatsConnection,
  subject: string,
  body: unknown,
  decode: (body: unknown) => T,
  { timeout, headers }: { timeout: number; headers?: Parameters<typeof withHeaders>[1] },
): Promise<T> {
  const payload = new TextEncoder().encode(JSON.stringify(body));
  const limit = nats.info?.max_payload ?? Infinity;
  if (payload.length > limit) {
    throw new Rejected(`the request has ${payload.length} bytes, and the server takes ${limit}`, "too_large");
  }
  const until = performance.now() + timeout;
  let patience = FIRST_PATIENCE;
  let reached = false;
  for (const pause of pauses()) {
    let fault: Unavailable;
    try {
      const left = Math.max(1, Math.ceil(until - performance.now()));
      const reply = await nats.request(subject, payload, withHeaders({ timeout: Math.min(patience, left) }, headers));
      return decode(parse(reply.string()));
    } catch (error) {
      if (error instanceof ClewError && !(error instanceof Unavailable)) throw error;
      if (error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError) {
        throw new Unavailable("the connection is closed", "connection_closed", reached, { cause: error });
      }
      if (isForbidden(error)) {
        throw new Unavailable(`this user may not ask: ${error.message}`, "not_permitted", reached, { cause: error });
      }
      if (error instanceof errors.InvalidArgumentError || error instanceof TypeError) throw error;
      fault = described(error, subject);
      if (error instanceof Unavailable) reached ||= !NOT_CARRIED_OUT.has(error.code);
      if (fault.code === "no_reply") [reached, patience] = [true, 2 * patience];
    }
    if (performance.now() + pause + SHORTEST >= until) throw new Unavailable(fault.message, fault.code, reached, { cause: fault });
    await sleep(pause);
  }
  throw new Error("pauses never end");
}

/** Why there is no connection: the server refuses this user, or none answers. */
export function unconnected(error: unknown, servers: string | string[] = "127.0.0.1:4222"): ClewError {
  const where = String(servers).replace(/\/\/[^/@]*@/g, "//");
  const why = error instanceof Error ? error.message : String(error);
  const refused = error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError;
  return refused
    ? new Rejected(`the NATS server at ${where} refuses these credentials: ${why}`, "nats_unauthorized", null, { cause: error })
    : new Unavailable(`no NATS server answers at ${where}: ${why}`, "unreachable", false, { cause: error });
}

function isForbidden(error: unknown): error is Error {
  return error instanceof Error && [error, error.cause].some((each) => each instanceof errors.PermissionViolationError);
}

function withHeaders(options: { timeout: number }, headers: import("@nats-io/nats-core").MsgHdrs | undefined) {
  return headers === undefined ? options : { ...options, headers };
}

function described(error: unknown, subject: string): Unavailable {
  if (error instanceof Unavailable) return error;
  const cause = error instanceof errors.RequestError && error.isNoResponders() ? "no_responders" : undefined;
  if (cause !== undefined || error instanceof errors.NoRespondersError) {
    return new Unavailable(`no service listens at ${subject}: is Clew running?`, "no_responders");
  }
  if (error instanceof errors.TimeoutError) return new Unavailable(`no reply from ${subject} in time`, "no_reply");
  return new Unavailable(error instanceof Error ? error.message : String(error), "connection_lost");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Corrupt("the reply cannot be decoded", "unreadable_reply", null, { cause: error });
  }
}

/** The `ok` of a reply; throws the error that it names. */
export function decodeReply<T>(body: unknown): T {
  const reply = (body ?? {}) as { ok?: T; error?: Fault };
  if (reply.error) throw fromFault(reply.error);
  if (reply.ok === undefined || reply.ok === null) {
    throw new Corrupt("the reply has neither 'ok' nor 'error'", "unreadable_reply");
  }
  return reply.ok;
}

interface Ack {
  seq?: number;
  duplicate?: boolean;
  error?: { err_code?: number; description?: string };
}

/** The sequence at which JetStream stored a message. */
export function decodeSequence(body: unknown): number {
  const ack = (body ?? {}) as Ack;
  const why = ack.error?.description ?? "";
  if (ack.error?.err_code === TOO_LARGE) {
    throw fromFault({ type: "rejected", code: "too_large", message: `the command is larger than the inbox takes: ${why}` });
  }
  if (ack.error?.err_code === FULL) throw new Unavailable(`the inbox is full: ${why}`, "inbox_full");
  if (ack.error) throw new Unavailable(`the inbox did not store the command: ${why}`, "inbox_unavailable");
  if (ack.duplicate) throw new Unavailable("the server takes the command for a repeat of another", "inbox_duplicate");
  if (!ack.seq) throw new Corrupt("the acknowledgement has neither a sequence nor an error", "unreadable_reply");
  return ack.seq;
}
