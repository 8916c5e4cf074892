/** `/docs`: the interface for programs, drawn from the gateway's own OpenAPI document. */

import "../styles/docs.css";

import { fetchInterface, OPENAPI } from "../api.ts";
import { h } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { schemaWords, type Schema } from "../openapi.ts";
import { header } from "../views/header.ts";

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema: Schema;
}

interface Operation {
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  responses: Record<string, { description?: string; content?: Record<string, { schema?: Schema }> }>;
}

interface OpenApi {
  info: { title: string; version: string; summary?: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

const RETRY_MS = 2000;

export async function page(root: HTMLElement): Promise<void> {
  const top = header(null);
  const waiting = h("main", { class: "empty" }, h("p", { class: "muted", role: "status" }, words.connecting));
  root.append(top.element, waiting);
  document.title = `${words.docs} · Sightline`;
  const described = await load();
  top.setLink("open");
  waiting.replaceWith(
    h(
      "main",
      { class: "docs", "data-testid": "docs" },
      h("h1", {}, words.docs),
      h("p", {}, words.docsLead),
      h("p", { class: "muted" }, words.docsWhole, " ", h("a", { class: "plain", href: OPENAPI }, OPENAPI)),
      ...Object.entries(described.paths).flatMap(([path, operations]) =>
        Object.entries(operations).map(([method, operation]) => operationPanel(method, path, operation)),
      ),
      h("h2", { class: "docs-head" }, words.docsStreams),
      h("pre", { class: "panel docs-text", tabindex: 0 }, described.info.description ?? ""),
      h("h2", { class: "docs-head" }, words.docsMessages),
      ...Object.entries(described.components.schemas).map(([name, schema]) => schemaPanel(name, schema)),
    ),
  );
  // The address may name a part that has only just been made.
  document.getElementById(decodeHash())?.scrollIntoView();
}

async function load(): Promise<OpenApi> {
  for (;;) {
    const described = await fetchInterface<OpenApi>().catch(() => null);
    if (described) return described;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function decodeHash(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function operationPanel(method: string, path: string, operation: Operation): HTMLElement {
  const parameters = operation.parameters ?? [];
  const opens = method === "get" && !path.includes("{") && !path.endsWith("stream");
  return h(
    "section",
    { class: "panel docs-operation", "data-testid": "operation" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, h("span", { class: "docs-method" }, method.toUpperCase()), " ", h("code", {}, path)),
      opens ? h("a", { class: "plain small", href: path, "aria-label": `${words.tryIt} ${path}` }, words.tryIt) : null,
    ),
    h("p", {}, operation.description ?? operation.summary ?? ""),
    parameters.length
      ? table(
          [words.field, words.kind, words.meaning],
          parameters.map((one) => [
            h("code", {}, one.name),
            kindOf(one.schema),
            [one.in, one.required ? words.required : "", one.description ?? ""].filter(Boolean).join(" · "),
          ]),
        )
      : null,
    h("ul", { class: "docs-answers" }, ...Object.entries(operation.responses).map(([code, one]) => answer(code, one))),
  );
}

function answer(code: string, { description, content }: Operation["responses"][string]): HTMLElement {
  const types = Object.entries(content ?? {}).flatMap(([type, { schema }]) => [
    h("span", { class: "muted" }, type),
    " ",
    schema ? kindOf(schema) : "",
    " ",
  ]);
  return h("li", {}, h("strong", {}, code), " ", description ?? "", " ", ...types);
}

function schemaPanel(name: string, schema: Schema): HTMLElement {
  const properties = Object.entries(schema.properties ?? {});
  return h(
    "section",
    { class: "panel", id: name },
    h("h3", {}, h("code", {}, name)),
    schema.description ? h("p", {}, schema.description) : null,
    properties.length
      ? table(
          [words.field, words.kind, words.meaning],
          properties.map(([field, one]) => [h("code", {}, field), kindOf(one), one.description ?? ""]),
        )
      : null,
  );
}

/** A type in words, with links to what it is made of. */
function kindOf(schema: Schema): HTMLElement {
  const parts = schemaWords(schema).map((part) =>
    part.named ? h("a", { class: "plain", href: `#${part.text}` }, part.text) : part.text,
  );
  return h("span", { class: "docs-kind" }, ...parts);
}

function table(head: string[], rows: (string | HTMLElement)[][]): HTMLElement {
  return h(
    "div",
    { class: "docs-table" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, cell))))),
    ),
  );
}
