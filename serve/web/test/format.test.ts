import assert from "node:assert/strict";
import { test } from "node:test";

import {
  clock,
  milliseconds,
  percent,
  percentNumber,
  points,
  rate,
  seconds,
  signed,
  timeOfDay,
} from "../src/format.ts";

test("a probability is never shown as certain", () => {
  assert.equal(percentNumber(0.612), "61");
  assert.equal(percentNumber(0.9949), "99");
  assert.equal(percentNumber(0.9951), ">99");
  assert.equal(percentNumber(1), ">99");
  assert.equal(percentNumber(0.004), "<1");
  assert.match(percent(0.5), /^50\s%$/);
});

test("signs are written, and zero has none", () => {
  assert.equal(signed(0.424), "+0.42");
  assert.equal(signed(-1.1), "−1.10");
  assert.equal(signed(-0.001), "0.00");
});

test("points are counted between the per cents that are shown", () => {
  assert.equal(points(0.593, 0.093), "+9");
  assert.equal(points(0.466, -0.034), "−3");
  assert.equal(points(0.502, 0.004), "±0");
  assert.equal(points(0.706, 0.204), "+21"); // 50 % and 71 % were shown
});

test("a game clock counts minutes past the hour and before the start", () => {
  assert.equal(clock(845.9), "14:05");
  assert.equal(clock(3660), "61:00");
  assert.equal(clock(-30), "-0:30");
});

test("spans, latencies and rates carry the unit that fits their size", () => {
  assert.deepEqual([0.42, 12.4, 180, 7300].map(seconds), ["0.4\u202fs", "12\u202fs", "3\u202fmin", "2\u202fh"]);
  assert.deepEqual([84.2, 1300, Number.NaN].map(milliseconds), ["84\u202fms", "1.3\u202fs", "–"]);
  assert.deepEqual([0, 0.42, 511.7, 15_100].map(rate), ["0", "0.4", "512", "15.1k"]);
});

test("a time of day comes with its UTC instant", () => {
  assert.equal(timeOfDay(Date.UTC(2026, 0, 2, 3, 4, 5)).utc, "2026-01-02 03:04:05 UTC");
});
