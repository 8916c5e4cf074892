import assert from "node:assert/strict";
import { test } from "node:test";

import { schemaWords, type Schema } from "../src/openapi.ts";

const text = (schema: Schema): string =>
  schemaWords(schema)
    .map((part) => part.text)
    .join("");

test("types in words", () => {
  assert.equal(text({ anyOf: [{ type: "number" }, { type: "null" }] }), "number or null");
  assert.equal(text({ type: "array", items: { $ref: "#/components/schemas/Swing" } }), "list of Swing");
  assert.equal(text({ prefixItems: [{ type: "number" }, { type: "string" }] }), "(number, string)");
  assert.equal(text({ enum: ["live", "ended", "void"] }), "live, ended or void");
  assert.equal(text({}), "anything");
});

test("what is made elsewhere is named, to be linked", () => {
  assert.deepEqual(schemaWords({ $ref: "#/components/schemas/Swing" }), [{ text: "Swing", named: true }]);
});
