import assert from "node:assert/strict";
import { test } from "node:test";

import { overlayBox, overlayParts } from "../src/overlay_settings.ts";

const screen = { width: 1920, height: 1080 };

test("the bar is always there, unknown parts are passed over", () => {
  assert.deepEqual([...overlayParts(null)], ["bar"]);
  assert.deepEqual([...overlayParts("sentence, reasons,logo")], ["bar", "reasons", "sentence"]);
  assert.deepEqual([...overlayParts("")], ["bar"]);
});

test("without a size it is drawn at its base size", () => {
  assert.deepEqual(overlayBox(new URLSearchParams(), overlayParts(null), screen), { width: 960, scale: 1 });
});

test("it fits into the box asked for, whichever side is tighter", () => {
  const box = (query: string): number => overlayBox(new URLSearchParams(query), overlayParts(null), screen).scale;
  assert.equal(box("w=480&h=600"), 0.5);
  assert.equal(box("w=1920&h=148"), 1);
});

test("a size that is none is passed over: nothing may fail on air", () => {
  for (const query of ["w=wide", "w=-3", "w=", "w=0", "w=Infinity"]) {
    assert.equal(overlayBox(new URLSearchParams(query), overlayParts(null), screen).width, 960);
  }
});
