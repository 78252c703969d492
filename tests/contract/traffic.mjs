// Holds recorded traffic to the document with ajv, a validator that shares no code with the one in tests/api.
// usage: traffic.mjs DOCUMENT TRAFFIC      One exchange a line; prints what does not conform and a count as JSON.
import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Ajv2020 } from "ajv/dist/2020.js";

const [, , documentPath, trafficPath] = process.argv;
const document = JSON.parse(readFileSync(documentPath, "utf8"));
const ajv = new Ajv2020({ allErrors: false, strict: true, strictTypes: false, strictRequired: false });
for (const word of ["openapi", "info", "servers", "security", "tags", "paths", "components"]) ajv.addKeyword(word);
ajv.addSchema(document, "api");

const at = (pointer) =>
  pointer
    .slice(2)
    .split("/")
    .reduce((value, part) => value[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")], document);
const resolve = (value) => ("$ref" in value ? at(value.$ref) : value);
// A schema stays where it is, so that its references hold: it is compiled by its place.
const escape = (part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));
const validators = new Map();
function check(place, value) {
  if (!validators.has(place)) validators.set(place, ajv.compile({ $ref: `api#/${place}` }));
  const validate = validators.get(place);
  return validate(value) ? null : ajv.errorsText(validate.errors);
}

const operations = [];
for (const [path, item] of Object.entries(document.paths)) {
  const pattern = new RegExp(`^${path.replace(/[.]/g, "\\.").replace(/\{[^}]*\}/g, "[^/]+")}$`);
  for (const [method, operation] of Object.entries(item)) {
    if (operation.operationId)
      operations.push({ method, path, pattern, operation, place: `paths/${escape(path)}/${method}` });
  }
}
operations.sort((a, b) => Number(a.path.includes("{")) - Number(b.path.includes("{")));

function find(method, target) {
  const path = target.split("?")[0];
  const wanted = method === "HEAD" ? "get" : method.toLowerCase();
  const shape = operations.find((each) => each.pattern.test(path));
  return shape && operations.find((each) => each.path === shape.path && each.method === wanted);
}

function place(found, status) {
  const response = found.operation.responses[status];
  if (response === undefined) return null;
  return response.$ref ? response.$ref.slice(2) : `${found.place}/responses/${status}`;
}

function judge(exchange) {
  const found = find(exchange.method, exchange.target);
  if (found === undefined) return [404, 405].includes(exchange.status) ? null : "no such operation";
  let where = place(found, exchange.status);
  if (where === null && exchange.status === 404 && found.path.includes("{")) where = "components/responses/NotFound";
  if (where === null) return `status ${exchange.status} is not documented`;
  if (!exchange.meant_wrong && exchange.request !== null && exchange.status < 300) {
    const error = check(`${found.place}/requestBody/content/${escape("application/json")}/schema`, JSON.parse(exchange.request));
    if (error) return `request: ${error}`;
  }
  const response = at(`#/${where}`);
  for (const [name, header] of Object.entries(response.headers ?? {})) {
    const value = exchange.headers[name.toLowerCase()];
    if (value === undefined) {
      if (resolve(header).required) return `lacks the header ${name}`;
    } else if (resolve(header).schema.type === "integer" && !/^\d+$/.test(value)) return `header ${name} is ${value}`;
  }
  if (exchange.method === "HEAD") return null;
  if (!response.content) return exchange.content ? "has a body" : null;
  const media = (exchange.headers["content-type"] ?? "").split(";")[0];
  if (!response.content[media]) return `is ${media || "of no type"}`;
  if (!media.includes("json")) return null;
  return check(`${where}/content/${escape(media)}/schema`, JSON.parse(exchange.content));
}

const count = { exchanges: 0, operations: 0, wrong: [] };
const seen = new Set();
for await (const line of createInterface({ input: createReadStream(trafficPath) })) {
  const exchange = JSON.parse(line);
  count.exchanges += 1;
  const found = find(exchange.method, exchange.target);
  if (found) seen.add(found.operation.operationId);
  const wrong = judge(exchange);
  if (wrong) count.wrong.push(`${exchange.method} ${exchange.target.slice(0, 100)} ${exchange.status}: ${wrong}`);
}
count.operations = seen.size;
count.of = operations.length;
console.log(JSON.stringify(count));
