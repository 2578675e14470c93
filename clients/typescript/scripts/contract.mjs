// Writes src/contract.ts: the types of every command, query and reply, from the AsyncAPI description of the contract.
import { readFile, writeFile } from "node:fs/promises";
import { compile } from "json-schema-to-typescript";

const here = new URL("..", import.meta.url);
const description = JSON.parse(await readFile(process.argv[2] ?? new URL("../../docs/contract/asyncapi.json", here), "utf8"));
const target = process.argv[3] ?? new URL("src/contract.ts", here);

const PREFIX = "#/components/schemas/";
const last = (reference) => reference.split("/").at(-1);

// What a field may be besides is for the server to say: types tell what it is, and titles would name each of them anew.
function typed(schema) {
  if (Array.isArray(schema)) return schema.map(typed);
  if (schema === null || typeof schema !== "object") return schema;
  const kept = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === "$ref") kept.$ref = `#/definitions/${value.slice(PREFIX.length)}`;
    else if (key === "properties") kept[key] = Object.fromEntries(Object.entries(value).map(([name, each]) => [name, typed(each)]));
    else if (!["title", "examples", "maxItems", "minItems", "default", "pattern", "discriminator"].includes(key)) kept[key] = typed(value);
  }
  if (kept.type === "object" && kept.properties) kept.additionalProperties = false;
  return kept;
}

const messageOf = (channel) => last(Object.values(description.channels[last(channel.$ref)].messages)[0].$ref);
const answerOf = (reply) => /^(.+)Reply$/.exec(reply)[1];
const tables = { cmd: [], query: [] };
const needed = new Set(["Fault"]);
for (const [name, operation] of Object.entries(description.operations)) {
  const address = description.channels[last(operation.channel.$ref)].address;
  const table = tables[/^clew\.(cmd|query)\.\{tenant\}\./.exec(address)?.[1]];
  if (!table) continue;
  const [request, answer] = [messageOf(operation.channel), answerOf(messageOf(operation.reply.channel))];
  table.push(`  ${name}: { request: ${request}; answer: ${answer} };`);
  needed.add(request).add(answer);
}

function references(schema) {
  if (schema === null || typeof schema !== "object") return [];
  return Object.entries(schema).flatMap(([key, value]) => (key === "$ref" ? [value.slice(PREFIX.length)] : references(value)));
}
for (const name of needed) for (const each of references(description.components.schemas[name])) needed.add(each);

const definitions = Object.fromEntries(
  [...needed].sort().map((name) => [name, { ...typed(description.components.schemas[name]), title: name }]),
);
const types = await compile({ title: "Contract", type: "object", additionalProperties: false, definitions }, "Contract", {
  bannerComment: "",
  unreachableDefinitions: true,
  format: true,
  style: { printWidth: 120 },
});

const table = (name, text, rows) => `\n/** ${text} */\nexport interface ${name} {\n${rows.join("\n")}\n}\n`;

await writeFile(
  target,
  "// Written by scripts/contract.mjs from docs/contract/asyncapi.json: change that, not this.\n" +
    types
      .replace(/export interface Contract \{\}\n/, "")
      .replace(/( \*\n)? \* This interface was referenced by `Contract`'s JSON-Schema\n \* via the `definition` "\w+"\.\n/g, "") +
    table("Commands", "Every command: what is sent, and what is answered.", tables.cmd) +
    table("Queries", "Every query: what is asked, and what is answered.", tables.query),
);
