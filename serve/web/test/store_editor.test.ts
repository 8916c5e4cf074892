import assert from "node:assert/strict";
import { test } from "node:test";

import type { Place, PlanTable } from "../src/contract.ts";
import * as edit from "../src/store/editor.ts";
import { area, middle, problemOf, snapped } from "../src/store/geometry.ts";

const SQUARE: Place[] = [
  [0, 0],
  [2, 0],
  [2, 2],
  [0, 2],
];
const PLAN: PlanTable = {
  floor: { width_m: 10, depth_m: 8 },
  zone: [{ name: "till", polygon: SQUARE, kind: "queue" }],
  line: [{ name: "door", start: [0, 8], end: [2, 8], band: 0.3 }],
  funnel: [{ name: "buys", zones: ["till", "till"] }],
  rule: [
    { name: "full", zone: "till", people: 3 },
    { name: "in", line: "door" },
  ],
};
const drawing = (tool: edit.Tool, corners: Place[]): edit.Editor =>
  corners.reduce(edit.drawn, edit.withTool(edit.editorOf(PLAN), tool));

test("a polygon is refused for what the pipelines refuse", () => {
  assert.equal(problemOf(SQUARE), null);
  assert.equal(problemOf(SQUARE.slice(0, 2)), "few");
  assert.equal(problemOf([...SQUARE, [0, 0]]), "twice");
  assert.equal(problemOf([SQUARE[0]!, SQUARE[2]!, SQUARE[1]!, SQUARE[3]!]), "crosses");
  assert.equal(
    problemOf([
      [0, 0],
      [1, 0],
      [2, 0],
    ]),
    "crosses",
    "an edge that lies on another one meets it",
  );
  assert.equal(
    problemOf([
      [0, 0],
      [4, 0],
      [4, 4],
      [2, 0],
    ]),
    "crosses",
    "a corner on another edge",
  );
});

test("area, middle and what a hand points at", () => {
  assert.equal(area(SQUARE), 4);
  assert.deepEqual(middle(SQUARE), [1, 1]);
  assert.deepEqual(snapped([3.14159, -2], 10, 8), [3.1, 0]);
  assert.deepEqual(snapped([11, 9], 10, 8), [10, 8]);
});

test("three clicks and a close make a zone, two clicks a line, each with a name of its own", () => {
  const triangle = drawing("zone", SQUARE.slice(0, 3));
  assert.equal(triangle.draft.length, 3);
  const made = edit.finished(triangle);
  assert.deepEqual(made.plan.zone![1], { name: "zone-1", polygon: SQUARE.slice(0, 3), kind: "area" });
  assert.deepEqual([made.tool, made.draft, made.selected], ["move", [], "zone-1"]);
  const line = drawing("line", [
    [1, 1],
    [3, 1],
  ]);
  assert.deepEqual(line.plan.line![1], { name: "line-1", start: [1, 1], end: [3, 1] });
  const again = edit.finished(edit.drawn(edit.drawn(edit.drawn(edit.withTool(made, "zone"), [5, 5]), [6, 5]), [6, 6]));
  assert.deepEqual(
    again.plan.zone!.map(({ name }) => name),
    ["till", "zone-1", "zone-2"],
  );
});

test("too few corners become nothing", () => {
  const none = edit.finished(drawing("zone", SQUARE.slice(0, 2)));
  assert.equal(none.plan, PLAN);
  assert.deepEqual(none.draft, []);
});

test("undo takes back a corner being drawn first, then changes one by one, and a drag at once", () => {
  assert.deepEqual(edit.undone(drawing("zone", SQUARE)).draft, SQUARE.slice(0, 3));
  const dragged = [0.1, 0.2, 0.3].reduce(
    (now, x, index) => edit.moved(now, "till", 0, [x, 0], index === 0),
    edit.editorOf(PLAN),
  );
  assert.deepEqual(dragged.plan.zone![0]!.polygon[0], [0.3, 0]);
  assert.equal(dragged.past.length, 1);
  const back = edit.undone(dragged);
  assert.equal(back.plan, PLAN);
  assert.equal(edit.isChanged(back), false);
  assert.equal(edit.undone(back), back);
});

test("a new name goes wherever the plan speaks of it", () => {
  const { plan, selected } = edit.renamed(edit.renamed(edit.editorOf(PLAN), "till", "checkout"), "door", "way in");
  assert.equal(selected, "way in");
  assert.deepEqual(plan["funnel"], [{ name: "buys", zones: ["checkout", "checkout"] }]);
  assert.deepEqual(plan["rule"], [
    { name: "full", zone: "checkout", people: 3 },
    { name: "in", line: "way in" },
  ]);
  assert.deepEqual([plan.zone![0]!.name, plan.line![0]!.name, plan.line![0]!.band], ["checkout", "way in", 0.3]);
});

test("corners come and go, ends of lines move, shapes are removed", () => {
  const start = edit.editorOf(PLAN);
  assert.deepEqual(edit.split(start, "till", 3).plan.zone![0]!.polygon[4], [0, 1]);
  assert.deepEqual(edit.cornerRemoved(start, "till", 1).plan.zone![0]!.polygon, [SQUARE[0], SQUARE[2], SQUARE[3]]);
  assert.deepEqual(edit.moved(start, "door", 1, [5, 8]).plan.line![0]!.end, [5, 8]);
  assert.deepEqual(edit.withKind(start, "till", "area").plan.zone![0]!.kind, "area");
  const gone = edit.removed(edit.removed(start, "till"), "door");
  assert.deepEqual([gone.plan.zone, gone.plan.line, gone.selected], [[], [], null]);
});

test("what is wrong is said by name", () => {
  const zone = (name: string, polygon = SQUARE): { name: string; polygon: Place[] } => ({ name, polygon });
  const bow: Place[] = [SQUARE[0]!, SQUARE[2]!, SQUARE[1]!, SQUARE[3]!];
  const found = edit.problemsOf({
    zone: [zone("a", bow), zone("b"), zone("b"), zone("x/y"), zone("heat"), zone("ok")],
  });
  assert.deepEqual(Object.fromEntries(found), { a: "crosses", b: "same", "x/y": "name", heat: "same" });
  assert.deepEqual(Object.fromEntries(edit.problemsOf({ line: [{ name: "l", start: [1, 1], end: [1, 1] }] })), {
    l: "flat",
  });
});
