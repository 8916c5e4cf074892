import assert from "node:assert/strict";
import { test } from "node:test";
import type { EventEntry } from "../src/contract.ts";
import { toldOnce } from "../src/event_log.ts";

const happened = (id: string, subject: string, side: "A" | "B" = "A", clock_s = 60): EventEntry => ({
  id,
  event_time_ms: clock_s * 1000,
  clock_s,
  kind: "score",
  side,
  subject,
  count: 1,
  text: subject,
});

const ids = (...events: EventEntry[]): string[] => toldOnce(events).map((event) => event.id);

test("an inner tower is told once, whichever entry comes first", () => {
  assert.deepEqual(ids(happened("1", "towers"), happened("2", "inner_towers"), happened("3", "kills")), ["2", "3"]);
  assert.deepEqual(ids(happened("1", "inner_towers"), happened("2", "towers")), ["1"]);
});

test("another tower, side or time stays", () => {
  assert.deepEqual(
    ids(happened("1", "towers"), happened("2", "towers"), happened("3", "inner_towers")),
    ["3", "2"],
    "two fell, one of them an inner one",
  );
  const others = [happened("1", "towers", "B"), happened("2", "inner_towers"), happened("3", "towers", "A", 90)];
  assert.deepEqual(ids(...others), ["1", "2", "3"]);
});
