// JSON as it was written: the exact text of its parts, for hashes are made of exactly that.

/** The same JSON without the space between its signs. */
export function compact(text) {
  const parts = [];
  let from = 0;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === 34) {
      at = afterString(text, at);
    } else if (code <= 32) {
      parts.push(text.slice(from, at));
      while (at < text.length && text.charCodeAt(at) <= 32) at++;
      from = at;
    } else at++;
  }
  parts.push(text.slice(from));
  return parts.join("");
}

/** The members of a compact object: the text of each value, by its name. */
export function members(text) {
  const found = new Map();
  let at = 1;
  while (text[at] === '"') {
    const colon = afterString(text, at);
    const end = afterValue(text, colon + 1);
    found.set(JSON.parse(text.slice(at, colon)), text.slice(colon + 1, end));
    at = end + 1;
  }
  return found;
}

/** The elements of a compact array: the text of each. */
export function elements(text) {
  const found = [];
  let at = 1;
  while (at < text.length - 1) {
    const end = afterValue(text, at);
    found.push(text.slice(at, end));
    at = end + 1;
  }
  return found;
}

function afterValue(text, at) {
  let depth = 0;
  while (at < text.length) {
    const sign = text[at];
    if (sign === '"') {
      at = afterString(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (sign === "{" || sign === "[") depth++;
    else if (sign === "}" || sign === "]") {
      if (depth === 0) return at;
      if (--depth === 0) return at + 1;
    } else if (sign === "," && depth === 0) return at;
    at++;
  }
  return at;
}

function afterString(text, at) {
  let end = at;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) throw new Error("The answer broke off within a string.");
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === 92) escapes++;
    if (escapes % 2 === 0) return end + 1;
  }
}
