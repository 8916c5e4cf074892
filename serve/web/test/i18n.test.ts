import assert from "node:assert/strict";
import { test } from "node:test";

import { en } from "../src/i18n/en.ts";
import { zh } from "../src/i18n/zh.ts";

test("no sentence is left empty in either language", () => {
  for (const words of [en, zh]) {
    for (const [name, value] of Object.entries(words)) {
      if (typeof value === "string") assert.notEqual(value, "", name);
    }
  }
});

test("every side that a title has is named in Chinese", () => {
  for (const side of ["Blue", "Red", "Radiant", "Dire"]) assert.ok(zh.sides[side], side);
});

test("every subject that has an English name has a Chinese one", () => {
  assert.deepEqual(Object.keys(zh.subjects).sort(), Object.keys(en.subjects).sort());
  for (const [title, subjects] of Object.entries(en.titleSubjects)) {
    assert.deepEqual(Object.keys(zh.titleSubjects[title]!).sort(), Object.keys(subjects).sort());
  }
});
