import assert from "node:assert/strict";
import { test } from "node:test";

import { readId, writtenId } from "../src/address.ts";

test("any id reads back as written, and no browser makes another address of it", () => {
  const ids = [
    "LCK/2024/1",
    "a b",
    "100%",
    "%2F",
    "é中文😀",
    "..",
    ".",
    "~..",
    "~~.",
    "~x",
    "m1/",
    "/",
    "?q#f",
    "\\",
    "\n",
  ];
  for (const id of ids) {
    const address = new URL(`/matches/${writtenId(id)}`, "http://gateway").pathname;
    assert.equal(address.split("/").length, 3, id);
    assert.equal(readId(address.slice("/matches/".length)), id);
  }
});

test("a slash that was written plainly is part of the id, one at the end is not", () => {
  assert.equal(readId("LCK/2024/1"), "LCK/2024/1");
  assert.equal(readId("m1/"), "m1");
});

test("what is no address leads nowhere", () => {
  assert.equal(readId("%E0%A4%A"), null);
});
