import assert from "node:assert/strict";
import { test } from "node:test";

import { difference, logit, Timeline, weightiest } from "../src/timeline.ts";
import { event, groups, point } from "./points.ts";

const frames = (timeline: Timeline): number[] => timeline.points.map(({ frame }) => frame);

test("what comes twice, as after a reconnect, is kept once", () => {
  const timeline = new Timeline();
  timeline.load([point(0), point(1)], [event(0, 0)]);
  assert.equal(timeline.addPoint(point(1)), false);
  assert.equal(timeline.addPoint(point(2)), true);
  assert.equal(timeline.addEvent(event(0, 0)), false);
  assert.deepEqual(frames(timeline), [0, 1, 2]);
  assert.equal(timeline.events.length, 1);
});

test("a load that was overtaken by the stream does not take back what the stream said", () => {
  const timeline = new Timeline();
  timeline.load([point(0)], [event(0, 0)]);
  timeline.addPoint(point(1));
  timeline.addEvent(event(1, 30_000));
  timeline.load([point(0)], [event(0, 0)]);
  assert.deepEqual(frames(timeline), [0, 1]);
  assert.equal(timeline.events.length, 2);
});

test("a frame that comes again replaces itself and all after it", () => {
  const timeline = new Timeline();
  timeline.load([point(0), point(1), point(2)], []);
  assert.equal(timeline.addPoint(point(1, { id: "0-99", p: 0.9 })), true);
  assert.deepEqual(frames(timeline), [0, 1]);
  assert.equal(timeline.last?.p, 0.9);
});

test("a restarted match begins anew, and its past does not come back", () => {
  const timeline = new Timeline();
  timeline.load([point(0), point(1)], []);
  assert.equal(timeline.addPoint(point(0, { id: "0-7", attempt: 1 })), true);
  assert.deepEqual(
    timeline.points.map(({ id }) => id),
    ["0-7"],
  );
  assert.equal(timeline.addPoint(point(2)), false);
});

test("a late event takes its place in time", () => {
  const timeline = new Timeline();
  timeline.load([], [event(0, 1000), event(1, 3000)]);
  timeline.addEvent(event(2, 2000));
  assert.deepEqual(
    timeline.events.map(({ id }) => id),
    ["0-0", "0-2", "0-1"],
  );
});

test("since the last key moment never means since now", () => {
  const timeline = new Timeline();
  timeline.load([point(0), point(1, { key_moment: true }), point(2), point(3, { key_moment: true })], []);
  assert.equal(timeline.lastKeyMoment()?.frame, 1);
  const quiet = new Timeline();
  assert.equal(quiet.lastKeyMoment(), undefined);
  quiet.load([point(0), point(1)], []);
  assert.equal(quiet.lastKeyMoment()?.frame, 0);
});

test("the last sentence holds until there is another", () => {
  const timeline = new Timeline();
  timeline.load([point(0, { commentary_en: "Blue leads." }), point(1)], []);
  assert.deepEqual(timeline.sentence(({ commentary_en }) => commentary_en)?.text, "Blue leads.");
  assert.equal(
    timeline.sentence(({ commentary_zh }) => commentary_zh),
    undefined,
  );
});

test("the nearest point to a clock", () => {
  const timeline = new Timeline();
  assert.equal(timeline.nearest(10), -1);
  timeline.load([point(0), point(1), point(2)], []);
  assert.equal(timeline.nearest(44), 1);
  assert.equal(timeline.nearest(1000), 2);
});

test("contributions sum to the logit, changes are later minus earlier, the weightiest first", () => {
  const now = groups({ gold: 1, kill: -0.25 });
  assert.equal(logit(now), 0.75);
  const change = difference(now, groups({ gold: 0.9, kill: 0.25 }));
  assert.deepEqual(
    weightiest(change).map(({ group }) => group),
    ["kill", "gold"],
  );
});
