// A thread's head under a signed checkpoint: the way from its leaf to the root of its shard, gone here.

const ENCODER = new TextEncoder();
const INNER = new Uint8Array([1]);

/** The checkpoint in a signed note: the line of JSON that was signed. */
export const noteOf = (note) => JSON.parse(note.slice(0, note.indexOf("\n")));

/** Whether a proof's path leads from the thread's head to the root that the checkpoint has for its shard. */
export async function included(head, checkpoint) {
  const place = await sha256(ENCODER.encode(`clew thread\0${head.tenant}\0${head.thread}`));
  const number = new DataView(new ArrayBuffer(8));
  number.setBigUint64(0, BigInt(head.n));
  let found = await sha256(new Uint8Array([0]), place, new Uint8Array(number.buffer), bytes(head.hash));
  for (const [index, sibling] of head.path.entries()) {
    const depth = head.path.length - 1 - index;
    const right = (place[depth >> 3] >> (7 - (depth & 7))) & 1;
    found = right ? await sha256(INNER, bytes(sibling), found) : await sha256(INNER, found, bytes(sibling));
  }
  return hexadecimal(found) === checkpoint.shards[crc32(head.thread) % checkpoint.shards.length].root;
}

/** Bytes in hexadecimal digits. */
export const hexadecimal = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

const bytes = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
}

function crc32(text) {
  let crc = ~0;
  for (const byte of ENCODER.encode(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
