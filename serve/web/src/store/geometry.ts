/** Plane geometry of the zone editor, as `streaming/store/geometry.py` has it: x to the right, y down. Pure. */

import type { Place } from "../contract.ts";

/** What is wrong with a polygon, as a key of `words.store.problems`; null for one that can be saved. */
export type Problem = "few" | "twice" | "crosses" | "flat";

export function problemOf(polygon: readonly Place[]): Problem | null {
  if (polygon.length < 3) return "few";
  if (new Set(polygon.map(([x, y]) => `${x} ${y}`)).size < polygon.length) return "twice";
  const edges = polygon.map((corner, index): Edge => [corner, polygon[(index + 1) % polygon.length]!]);
  for (let i = 0; i < edges.length; i += 1) {
    for (let j = i + 1; j < edges.length; j += 1) {
      const beside = j === i + 1 || (i === 0 && j === edges.length - 1);
      if (beside ? foldsBack(edges[i]!, edges[j]!) : touch(edges[i]!, edges[j]!)) return "crosses";
    }
  }
  return area(polygon) === 0 ? "flat" : null;
}

/** By the shoelace formula. */
export function area(polygon: readonly Place[]): number {
  const twice = polygon.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length]!;
    return sum + x * nextY - nextX * y;
  }, 0);
  return Math.abs(twice) / 2;
}

/** The mean of the corners: where a name is written, and where flows begin and end. */
export function middle(polygon: readonly Place[]): Place {
  const n = polygon.length || 1;
  return [polygon.reduce((sum, [x]) => sum + x, 0) / n, polygon.reduce((sum, [, y]) => sum + y, 0) / n];
}

/** To a tenth of a metre, and within the floor. */
export function snapped([x, y]: Place, width_m: number, depth_m: number): Place {
  const one = (value: number, most: number): number => Math.round(Math.min(most, Math.max(0, value)) * 10) / 10;
  return [one(x, width_m), one(y, depth_m)];
}

type Edge = readonly [Place, Place];

const turn = (a: Place, b: Place, c: Place): number => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

function touch([a, b]: Edge, [c, d]: Edge): boolean {
  const turns = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)] as const;
  if (turns[0] * turns[1] < 0 && turns[2] * turns[3] < 0) return true;
  const ends: [number, Place, Place, Place][] = [
    [turns[0], a, b, c],
    [turns[1], a, b, d],
    [turns[2], c, d, a],
    [turns[3], c, d, b],
  ];
  return ends.some(([side, p, q, r]) => side === 0 && within(p, q, r));
}

const within = (a: Place, b: Place, c: Place): boolean =>
  [0, 1].every((axis) => {
    const [low, high] = [Math.min(a[axis]!, b[axis]!), Math.max(a[axis]!, b[axis]!)];
    return low <= c[axis]! && c[axis]! <= high;
  });

/** Whether two edges with a common corner lie upon each other. */
function foldsBack(one: Edge, other: Edge): boolean {
  const first = one[1] === other[0];
  const corner = first ? one[1] : one[0];
  const a = first ? one[0] : one[1];
  const b = first ? other[1] : other[0];
  const ahead = (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1]);
  return turn(a, corner, b) === 0 && ahead > 0;
}
