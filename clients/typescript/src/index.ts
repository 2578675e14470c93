/** A client of Clew over NATS: commands that are safe to repeat, queries, the feed, and the inbox. */
export { Clew, connect, type ClewOptions, type Item } from "./client.js";
export { ClewError, Conflict, Corrupt, Rejected, Unavailable } from "./errors.js";
export type * from "./contract.js";
