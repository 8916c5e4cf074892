import assert from "node:assert/strict";
import { test } from "node:test";

import { layers, limits } from "../src/charts/stack_layers.ts";
import { groups } from "./points.ts";

const rows = [groups({ gold: 1, kill: 0.5, tower: -0.25 }), groups({ gold: -1, kill: 0.5, tower: -0.25 })];

test("each side stacks what speaks for it, the outermost layer first", () => {
  const stack = layers(rows, ["gold", "kill", "tower"]);
  assert.deepEqual(
    stack.map(({ side, group, edge }) => [side, group, ...edge]),
    [
      ["A", "tower", 1.5, 0.5],
      ["A", "kill", 1.5, 0.5],
      ["A", "gold", 1, 0],
      ["B", "tower", -0.25, -1.25],
      ["B", "kill", 0, -1],
      ["B", "gold", 0, -1],
    ],
  );
});

test("the outermost layers of both sides add up to the sum", () => {
  const stack = layers(rows, ["gold", "kill", "tower"]);
  const outer = (side: string): number[] => stack.find((layer) => layer.side === side)!.edge;
  assert.deepEqual(
    rows.map((_, index) => outer("A")[index]! + outer("B")[index]!),
    [1.25, -0.75],
  );
});

test("limits hold every layer and zero, in whole steps", () => {
  assert.deepEqual(limits(layers(rows, ["gold", "kill", "tower"])), [-1.5, 2]);
  assert.deepEqual(limits(layers([], ["gold"])), [-0.5, 0.5]);
});
