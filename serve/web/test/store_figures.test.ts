import assert from "node:assert/strict";
import { test } from "node:test";

import type { AlertEntry, CameraView, Metric } from "../src/contract.ts";
import { flowArrows, heatCells, newer, openAlerts, peopleOnFloor, shortId, viewAt } from "../src/store/figures.ts";

const metric = (window_start_ms: number, revision: number): Metric => ({ window_start_ms, revision }) as Metric;
const alert = (id: string, state: string, kind = "crowding", subject = "till"): AlertEntry =>
  ({ id, state, kind, subject, rule: "r" }) as AlertEntry;

test("ids beside boxes are short", () => {
  assert.equal(shortId({ person_id: "p17", track_id: 3 }), "p17");
  assert.equal(shortId({ person_id: "person-000417", track_id: 3 }), "0417");
  assert.equal(shortId({ person_id: null, track_id: 3 }), "#3");
});

test("a later window holds, and of one window the higher revision", () => {
  const first = metric(10, 0);
  assert.equal(newer(undefined, first), first);
  assert.equal(newer(first, metric(0, 5)), first);
  assert.equal(newer(first, metric(10, 1)).revision, 1);
  assert.equal(newer(metric(10, 2), first).revision, 2);
  assert.equal(newer(first, metric(20, 0)).window_start_ms, 20);
});

test("who is seen by two cameras stands on the floor once, where seen last; who is gone does not", () => {
  const view = (camera_id: string, captured_ms: number, x: number, heard_ms = 100): CameraView => ({
    camera_id,
    captured_ms,
    heard_ms,
    frame: 0,
    covered: false,
    people: [{ track_id: 1, person_id: "p1", link_score: null, box: [0, 0, 1, 1], feet: [x, 1] }],
  });
  assert.deepEqual(peopleOnFloor([view("a", 5, 1), view("b", 6, 2), view("c", 9, 3, 10)], 50), [
    { id: "p1", short: "p1", at: [2, 1], captured_ms: 6 },
  ]);
  const unlinked = view("a", 5, 1);
  unlinked.people[0]!.person_id = null;
  const without = view("b", 6, 2);
  without.people[0]!.feet = null;
  assert.deepEqual(
    peopleOnFloor([unlinked, without], 0).map(({ short }) => short),
    ["#1"],
  );
});

test("boxes over a picture are those of its frame, as told last, or of the frame nearest to it", () => {
  const view = (captured_ms: number, frame: number): CameraView => ({ captured_ms, frame }) as CameraView;
  assert.equal(viewAt([view(1, 1), view(2, 2), view(2, 3), view(4, 4)], 2)?.frame, 3);
  assert.equal(viewAt([view(1000, 1), view(1400, 2), view(1800, 3)], 1500)?.frame, 2);
  assert.equal(viewAt([view(1000, 1)], 1301), null);
});

test("cells stand where the grid has them, the fullest at full strength", () => {
  const heat = { since_ms: 0, until_ms: 0, width_m: 2, depth_m: 2, cell_m: 0.5, columns: 4, cells: [5], seconds: [8] };
  assert.deepEqual(heatCells(heat), [{ x: 0.5, y: 0.5, strength: 1, seconds: 8 }]);
  assert.equal(heatCells({ ...heat, cells: [0, 1], seconds: [8, 2] })[1]!.strength, 0.5);
});

test("flows are drawn between places that the plan still has", () => {
  const flows = {
    since_ms: 0,
    until_ms: 0,
    visits: 3,
    paths: [],
    flows: [
      { origin: "a", target: "b", visits: 2 },
      { origin: "b", target: "gone", visits: 1 },
      { origin: "a", target: "a", visits: 1 },
    ],
  };
  const arrows = flowArrows(
    flows,
    new Map([
      ["a", [0, 0]],
      ["b", [1, 0]],
    ]),
  );
  assert.deepEqual(arrows, [{ from: [0, 0], to: [1, 0], width: 1, visits: 2, key: "a>b" }]);
});

test("an alert is open until it is cleared, by rule and subject; what does not last is never open", () => {
  const newestFirst = [
    alert("5", "raised"),
    alert("4", "cleared", "camera_down", "cam"),
    alert("3", "raised", "camera_down", "cam"),
    alert("2", "raised", "loitering", "p1"),
    alert("1", "raised"),
  ];
  assert.deepEqual([...openAlerts(newestFirst)], ["5"]);
});
