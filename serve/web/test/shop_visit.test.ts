import assert from "node:assert/strict";
import { test } from "node:test";

import type { CtrPoint, Offer, OfferedItem, ShopItem } from "../src/contract.ts";
import {
  ctrLines,
  forgetSession,
  leafOf,
  priceOf,
  refreshed,
  sessionOf,
  sharedWhy,
  titleOf,
  totalOf,
} from "../src/shop/visit.ts";

const item = (item_id: string, changes: Partial<ShopItem> = {}): ShopItem => ({
  item_id,
  title: item_id,
  category: "A > B",
  price: 2,
  may_be_offered: true,
  ...changes,
});
const offered = (item_id: string, why_en: string, because = "other"): OfferedItem => ({
  item: item(item_id),
  reasons: [{ kind: "view", item_id: because, title: because, share: 1 }],
  why_en,
  why_zh: `zh ${why_en}`,
});
const point = (time_s: number, arm: string, answers: number, clicks: number, experiment = "e"): CtrPoint => ({
  time_ms: time_s * 1000,
  experiment,
  arm,
  answers,
  clicks,
});

const names = { everybody: "all", noTest: "none" };

test("a visit keeps its id, and another one has another", () => {
  const kept = new Map<string, string>();
  const store = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  const first = sessionOf(store);
  assert.match(first, /^visit-[0-9a-f]{32}$/);
  assert.equal(sessionOf(store), first);
  forgetSession(store);
  assert.notEqual(sessionOf(store), first);
});

test("names and prices as they are written on a card", () => {
  assert.equal(titleOf(item("i1", { title: "  " })), "i1");
  assert.equal(leafOf("Kitchen > kettles"), "kettles");
  assert.equal(leafOf(""), "");
  assert.equal(priceOf(1234.5), "1,234.50");
  assert.equal(priceOf(null), "");
});

test("what most items share is said once, of equals the first", () => {
  assert.equal(sharedWhy([offered("a", "x"), offered("b", "y"), offered("c", "y")], "en"), "y");
  assert.equal(sharedWhy([offered("a", "x"), offered("b", "y")], "en"), "x");
  assert.equal(sharedWhy([offered("a", "x")], "zh"), "zh x");
  assert.equal(sharedWhy([], "en"), "");
  const again = [offered("a", "this again", "a"), offered("b", "this again", "b"), offered("c", "many", "")];
  assert.equal(sharedWhy(again, "en"), "", "what says 'this' stands on its card");
  assert.equal(sharedWhy([...again, offered("d", "x")], "en"), "x");
});

test("an offer follows the catalogue: prices change, and what is withdrawn goes", () => {
  const offer = { items: [offered("a", "x"), offered("b", "y"), offered("c", "z")] } as unknown as Offer;
  const changed = new Map([
    ["a", item("a", { may_be_offered: false })],
    ["c", item("c", { price: 1 })],
  ]);
  assert.deepEqual(
    refreshed(offer, changed).items.map(({ item: { item_id, price } }) => [item_id, price]),
    [
      ["b", 2],
      ["c", 1],
    ],
  );
});

test("only what can still be had is paid for", () => {
  assert.equal(totalOf([item("a"), item("b", { price: null }), item("c", { may_be_offered: false })]), 2);
});

test("each arm has a line over all steps, with holes where nothing was shown", () => {
  const points = [point(0, "b", 4, 1), point(0, "a", 10, 0), point(20, "a", 2, 2)];
  assert.deepEqual(ctrLines(points, 10, names), {
    times_ms: [0, 10_000, 20_000],
    names: ["a", "b"],
    values: [
      [0, null, 100],
      [25, null, null],
    ],
  });
  assert.deepEqual(ctrLines([point(0, "", 1, 0, "")], 10, names).names, ["all"]);
  assert.deepEqual(ctrLines([point(0, "a", 1, 0, "e"), point(0, "a", 1, 0, "f")], 10, names).names, ["e: a", "f: a"]);
  assert.deepEqual(ctrLines([point(0, "a", 1, 0), point(0, "", 1, 0, "")], 10, names).names, ["a", "none"]);
  assert.deepEqual(ctrLines([], 10, names), { times_ms: [], names: [], values: [] });
});
