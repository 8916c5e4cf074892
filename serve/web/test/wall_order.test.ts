import assert from "node:assert/strict";
import { test } from "node:test";

import { ranked, swing } from "../src/wall_order.ts";

const match = (id: string, p: number | null, spark: number[] = [], status: "live" | "ended" = "live") => ({
  id,
  p,
  status,
  spark: spark.map((value, index): [number, number] => [index * 30, value]),
});

const ids = (matches: { id: string }[]): string => matches.map(({ id }) => id).join("");

test("closest first; ended matches and those without an answer come last", () => {
  const matches = [match("a", 0.9), match("b", 0.45), match("c", null), match("d", 0.5, [], "ended"), match("e", 0.56)];
  assert.equal(ids(ranked(matches, "closest")), "beacd");
});

test("biggest swing first, over the newest answers only", () => {
  const old = match("a", 0.5, [0.1, ...Array<number>(10).fill(0.5)]);
  const moving = match("b", 0.5, [0.5, 0.4, 0.62]);
  assert.equal(swing(old), 0);
  assert.ok(Math.abs(swing(moving) - 0.22) < 1e-9);
  assert.equal(ids(ranked([old, moving], "swing")), "ba");
});

test("ties keep a fixed order, so that cards do not jump", () => {
  assert.equal(ids(ranked([match("b", 0.6), match("a", 0.4), match("c", 0.6)], "closest")), "abc");
});
