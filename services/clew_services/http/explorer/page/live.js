// Live: commits as they happen. A reader who was cut off comes back, and asks what was missed.
import { brokenOff, pause, Refused } from "./api.js";
import { h } from "./dom.js";
import { parse } from "./json.js";

const QUIET = 45000; // the server says something every fifteen seconds
const TOLD = { live: "Live", connecting: "Connecting …", waiting: "Cut off, trying again …", paused: "Paused", refused: "Not live" };
const WAITS = [1000, 2000, 4000, 8000, 15000];

/** A button that tells how it is, and pauses: `told` is for `live`, and `on` has it lead what that gave. */
export function watching() {
  const status = h("span", { class: "status" });
  const button = h("button", { type: "button", class: "live", "aria-pressed": "true" }, status);
  return {
    button,
    told(state, fault = null) {
      button.dataset.state = state;
      status.textContent = TOLD[state];
      button.setAttribute("aria-pressed", String(state !== "paused" && state !== "refused"));
      button.title = fault ? fault.message : state === "paused" ? "Watch it again" : "Pause";
      if (fault) dispatchEvent(new CustomEvent("refused", { detail: fault }));
    },
    on: (stream) => button.addEventListener("click", () => (stream.wanted() && button.dataset.state !== "refused" ? stream.pause() : stream.start())),
  };
}

/** Follow a thread, or with null all of the tenant. `told` gets live, connecting, waiting, paused or refused, `took` each commit, `opened` is for catching up. */
export function live(api, id, { told, took, opened }) {
  let reading = null;
  let wanted = false;

  async function follow(signal) {
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        told(tries ? "waiting" : "connecting");
        await read(signal, () => (tries = 0));
      } catch (fault) {
        if (signal.aborted) return;
        if (fault instanceof Refused && fault.status < 500 && fault.status !== 429) {
          told("refused", fault);
          return;
        }
      }
      if (signal.aborted) return;
      told("waiting");
      await pause(WAITS[Math.min(tries, WAITS.length - 1)], signal).catch(() => null);
    }
  }

  async function read(signal, connected) {
    const silent = new AbortController();
    const either = AbortSignal.any([signal, silent.signal]);
    const body = await api.stream("events", { stream: "true", thread_id: id, after: "latest" }, either);
    // From here on everything comes by itself; what came before is asked for now.
    await opened();
    connected();
    told("live");
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    const take = events(took);
    for (;;) {
      const watch = setTimeout(() => silent.abort(), QUIET);
      try {
        const { done, value } = await reader.read();
        if (done) return;
        take(value);
      } finally {
        clearTimeout(watch);
      }
    }
  }

  function start() {
    if (reading || document.hidden) return;
    reading = new AbortController();
    follow(reading.signal).catch((fault) => brokenOff(fault) || told("refused", fault));
  }

  function stop() {
    reading?.abort();
    reading = null;
  }

  // Nobody looks at a hidden page, and a browser has few connections to spare.
  const seen = () => (document.hidden ? stop() : wanted && start());
  document.addEventListener("visibilitychange", seen);
  return {
    start() {
      wanted = true;
      start();
    },
    pause() {
      wanted = false;
      stop();
      told("paused");
    },
    leave() {
      wanted = false;
      stop();
      document.removeEventListener("visibilitychange", seen);
    },
    wanted: () => wanted,
  };
}

// Server-sent events, out of pieces that end anywhere.
function events(took) {
  let rest = "";
  let kind = "";
  let data = [];
  return (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const text of lines) {
      if (text === "") {
        if (kind === "commit" && data.length) took(parse(data.join("\n")));
        kind = "";
        data = [];
      } else if (text.startsWith("event:")) kind = text.slice(6).trim();
      else if (text.startsWith("data:")) data.push(text.slice(5).replace(/^ /, ""));
    }
  };
}
