// The API by the session of this browser, at the address that the page came from. Every answer is JSON.

import { parse } from "./json.js";

const HERE = new URL("v1/", new URL(".", location.href));
const PATIENCE = 4;

/** The API refused: its status, its message for people, and the scope that is missing, if that is why. */
export class Refused extends Error {
  constructor(status, said) {
    super(said?.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = said?.code ?? null;
    this.scope = this.code === "missing_scope" ? /Missing scopes?: (\w+)/.exec(this.message)?.[1] ?? null : null;
  }
}

/** Nothing answered, or not to the end. */
export class Silent extends Error {
  constructor(message = "Clew does not answer at this address.") {
    super(message);
  }
}

export class Api {
  /** Have a key open a session, which is told of by a cookie that no script sees. Who it is, is answered. */
  async enter(key) {
    return arrived((await this.#ask("session", {}, { method: "POST", headers: { Authorization: `Bearer ${key}` } })).json());
  }

  /** End the session. */
  async leave() {
    await this.#ask("session", {}, { method: "DELETE" });
  }

  /** The answer's value and headers. `parameters` that are null or empty are left out; a list is there several times. */
  async get(path, parameters = {}, signal = undefined) {
    const answer = await this.#ask(path, parameters, { signal });
    const text = await arrived(answer.text());
    return { value: whole(text), text, headers: answer.headers };
  }

  /** Items rendered; each is given as JSON, and answered as a tree of elements and texts. */
  async render(items, signal = undefined) {
    const asking = { signal, method: "POST", body: `{"items":[${items.join(",")}]}`, headers: { "Content-Type": "application/json" } };
    return whole(await arrived((await this.#ask("rendered_items", {}, asking)).text()));
  }

  /** Have something done, with a body if one is given; the answer's value. It is done once, however often it is sent. */
  async post(path, signal = undefined, body = null) {
    const once = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const headers = { "Idempotency-Key": once, ...(body && { "Content-Type": "application/json" }) };
    const answer = await this.#ask(path, {}, { signal, method: "POST", headers, body: body && JSON.stringify(body) });
    return whole(await arrived(answer.text()));
  }

  /** Have something taken away; the answer's value. */
  async delete(path, signal = undefined) {
    return whole(await arrived((await this.#ask(path, {}, { signal, method: "DELETE" })).text()));
  }

  /** In what the log is known to be another than it was; nothing if it is not, or if that cannot be asked from here. */
  async damage(signal) {
    try {
      const answer = await fetch(new URL("readyz", new URL(".", location.href)), { credentials: "omit", cache: "no-store", signal });
      return (await answer.json()).damage ?? null;
    } catch (fault) {
      if (brokenOff(fault)) throw fault;
      return null;
    }
  }

  /** The bytes of an answer. */
  async bytes(path, parameters = {}, signal = undefined) {
    const answer = await this.#ask(path, parameters, { signal });
    return { blob: await arrived(answer.blob()), headers: answer.headers };
  }

  /** An answer that goes on: its body, as a stream of bytes. */
  async stream(path, parameters, signal) {
    const answer = await this.#ask(path, parameters, { signal, headers: { Accept: "text/event-stream" } });
    return answer.body;
  }

  async #ask(path, parameters, { signal, method = "GET", headers = {}, body = undefined }) {
    const url = new URL(path, HERE);
    // An id such as ".." would lead elsewhere, encoded or not.
    if (url.pathname !== HERE.pathname + path) throw new Refused(400, { message: `'${decodeURIComponent(path)}' is not in this API.` });
    for (const [name, value] of Object.entries(parameters)) {
      for (const each of Array.isArray(value) ? value : [value]) {
        if (each !== null && each !== undefined && each !== "") url.searchParams.append(name, String(each));
      }
    }
    const asking = {
      method,
      body,
      headers: { "Clew-Session": "1", ...headers },
      credentials: "same-origin",
      cache: "no-store",
      signal,
    };
    for (let time = 1; ; time++) {
      const answer = await arrived(fetch(url, asking));
      if (answer.ok) return answer;
      const wait = Number(answer.headers.get("retry-after") ?? 0);
      if (time < PATIENCE && wait > 0 && wait <= 5 && (answer.status === 429 || answer.status === 503)) {
        await answer.body?.cancel();
        await pause(wait * 1000, signal);
        continue;
      }
      throw new Refused(answer.status, await answer.json().then((said) => said.error, () => null));
    }
  }
}

/** A path of the API, each part of it encoded. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

/** Wait; broken off as what it waits for is. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

async function arrived(promise) {
  try {
    return await promise;
  } catch (fault) {
    throw fault.name === "AbortError" ? fault : new Silent();
  }
}

function whole(text) {
  try {
    return parse(text);
  } catch {
    throw new Silent("The answer was cut off before its end.");
  }
}

/** Whether something was only broken off, because nobody waits for it any more. */
export const brokenOff = (fault) => fault?.name === "AbortError";
