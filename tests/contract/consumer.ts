// What a program in TypeScript relies on. It is compiled against the generated types, never run.
import type { components, operations, paths } from "./generated/api.js";

type Schemas = components["schemas"];
type Json<Operation extends keyof operations, Status extends keyof operations[Operation]["responses"]> =
  operations[Operation]["responses"][Status] extends { content: { "application/json": infer Body } } ? Body : never;

// A router as made is a router, with its configuration and perhaps its private key.
export function keep(made: Schemas["RouterMade"]): { router: Schemas["Router"]; secret: string | undefined } {
  return { router: made, secret: made.private_key };
}

// What may be null is so by type.
export function heard(router: Schemas["Router"]): string {
  return `${router.name}: ${router.endpoint ?? "never"} ${router.last_handshake_at?.slice(0, 10) ?? ""}`;
}

// Enumerations are closed: a status that is not handled here would not compile.
export function colour(status: Schemas["RouterStatus"]): string {
  switch (status) {
    case "pending":
      return "yellow";
    case "active":
      return "green";
    case "disabled":
      return "grey";
  }
}

// So are the types of problems and the kinds of events: a misspelt one would not compile.
export function again(problem: Schemas["Problem"]): boolean {
  return problem.type === "urn:sallyport:problem:store-away" || problem.status === 503;
}
export const gone: Schemas["EventKind"][] = ["router.deleted", "tenant.deleted"];

// Only what is required has to be given.
export const tenant: Schemas["TenantCreate"] = { name: "Acme" };
export const wish: Schemas["RouterCreate"] = { name: "Branch Utrecht", lans: ["192.168.88.0/24"] };

// A bulk answer tells what became of each by its members.
export function failures(result: Json<"createRouters", 200>): string[] {
  return result.items.flatMap((item) => ("problem" in item ? [item.problem.detail] : []));
}

// Every list is followed in the same way.
export async function* all<Item>(
  page: (cursor?: string) => Promise<{ items: Item[]; next_cursor: string | null }>,
): AsyncGenerator<Item> {
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const { items, next_cursor } = await page(cursor);
    yield* items;
    cursor = next_cursor;
  }
}

const TENANTS = "/v1/tenants" satisfies keyof paths;
const tenants = (cursor?: string): Promise<Json<"listTenants", 200>> =>
  fetch(cursor ? `${TENANTS}?cursor=${encodeURIComponent(cursor)}` : TENANTS).then((answer) => answer.json());

export const names = async (): Promise<string[]> => {
  const seen: string[] = [];
  for await (const each of all(tenants)) seen.push(each.name);
  return seen;
};

// Problems have one form everywhere.
export function explain(problem: Schemas["Problem"]): string {
  return problem.field ? `${problem.field}: ${problem.detail}` : problem.detail;
}
