import type { Fault } from "./contract.js";

/** What went wrong, for people (`message`) and for programs (`code`); `param` is the JSON path of the field at fault. */
export class ClewError extends Error {
  readonly code: string;
  readonly param: string | null;

  constructor(message: string, code: string, param: string | null = null, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.param = param;
  }
}

/** The request is wrong or not permitted. The same request would be rejected again. */
export class Rejected extends ClewError {}

/** The thread is not at the version that the caller decided on: reload it, decide again, send again. */
export class Conflict extends ClewError {}

/**
 * The request cannot be served now. It is always safe to send a command again under the same id.
 *
 * `outcomeUnknown` is true if the command may have been carried out already; a repeat returns its result.
 */
export class Unavailable extends ClewError {
  readonly outcomeUnknown: boolean;

  constructor(message: string, code: string, outcomeUnknown = false, options?: ErrorOptions) {
    super(message, code, null, options);
    this.outcomeUnknown = outcomeUnknown;
  }
}

/** The record is damaged, or the answer is none of Clew's. Call somebody. */
export class Corrupt extends ClewError {}

/** The error that a reply names. */
export function fromFault(fault: Fault): ClewError {
  const { message, code, param = null } = fault;
  switch (fault.type) {
    case "conflict":
      return new Conflict(message, code, param);
    case "unavailable":
      return new Unavailable(message, code);
    case "corrupt":
      return new Corrupt(message, code, param);
    default:
      return new Rejected(message, code, param);
  }
}
