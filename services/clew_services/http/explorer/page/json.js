// JSON as it was written: no digit of a number is lost, and what was read is shown in the signs that it was read from.

const DEEPEST = 40; // levels that are still indented
const texts = new WeakMap(); // of each object and list the text that it was read from
// All that an object inherits: how it becomes a text. A key such as `constructor` is there only if it was written.
const READ = Object.create(null, { [Symbol.toPrimitive]: { value() { return written(this); } } });

/** A number that would change if it were read as one: `1.10`, or one with more digits than a double has. */
export class Digits {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

/** What a text says. Numbers that a double writes in another way are `Digits`. */
export function parse(text) {
  JSON.parse(text); // refuses what is no JSON, so that nothing below has to look for that
  let at = 0;
  const skip = () => {
    while (at < text.length && " \n\r\t,:".includes(text[at])) at++;
  };
  const value = () => {
    skip();
    const from = at;
    if (text[at] === '"') {
      at = stringEnd(text, at);
      return JSON.parse(text.slice(from, at));
    }
    if (text[at] === "{" || text[at] === "[") {
      const read = text[at++] === "{" ? Object.create(READ) : [];
      for (skip(); text[at] !== "}" && text[at] !== "]"; skip()) {
        if (Array.isArray(read)) read.push(value());
        else read[value()] = value();
      }
      texts.set(read, text.slice(from, ++at));
      return read;
    }
    while (at < text.length && !" \n\r\t,]}".includes(text[at])) at++;
    const token = text.slice(from, at);
    const plain = JSON.parse(token);
    return typeof plain === "number" && String(plain) !== token ? new Digits(token) : plain;
  };
  return value();
}

/** A value as JSON, in the signs that it was read from. */
export function written(value) {
  if (value instanceof Digits) return value.text;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  if (texts.has(value)) return texts.get(value);
  if (Array.isArray(value)) return `[${value.map(written).join(",")}]`;
  return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}:${written(each)}`).join(",")}}`;
}

/** The same on lines of their own, indented. */
export function indented(value) {
  const text = written(value);
  const parts = [];
  let depth = 0;
  const line = () => `\n${"  ".repeat(Math.min(depth, DEEPEST))}`;
  for (let at = 0; at < text.length; ) {
    const from = at;
    const sign = text[at++];
    if (sign === '"') parts.push(text.slice(from, (at = stringEnd(text, from))));
    else if ("{[".includes(sign)) parts.push(sign, (depth++, line()));
    else if ("}]".includes(sign)) {
      depth--;
      if ("{[".includes(parts.at(-2)) && parts.at(-1).startsWith("\n")) parts.splice(-1, 1, sign);
      else parts.push(line(), sign);
    } else if (sign === ",") parts.push(sign, line());
    else if (sign === ":") parts.push(": ");
    else if (!" \n\r\t".includes(sign)) parts.push(sign);
  }
  return parts.join("");
}

// Behind the quotation mark that ends the string which begins here.
function stringEnd(text, from) {
  for (let end = text.indexOf('"', from + 1); ; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text[before - 1] === "\\") before--;
    if ((end - before) % 2 === 0) return end + 1;
  }
}
