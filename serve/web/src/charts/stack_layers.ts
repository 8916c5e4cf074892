/** Signed contributions as layers about zero. Pure. */

import type { Group, Groups } from "../contract.ts";

export interface Layer {
  group: Group;
  side: "A" | "B";
  /** Outer edge of the layer at each point; the inner edge is the next layer's of the same side, or zero. */
  edge: number[];
}

/** Layers from the outermost inwards, so that each may be painted down to zero over the ones before it. */
export function layers(rows: readonly Groups[], groups: readonly Group[]): Layer[] {
  return (["A", "B"] as const).flatMap((side) =>
    groups
      .map((group, index) => ({
        group,
        side,
        edge: rows.map((row) => groups.slice(0, index + 1).reduce((sum, inner) => sum + part(row[inner], side), 0)),
      }))
      .reverse(),
  );
}

/** The contribution if it speaks for the side, else nothing. */
const part = (value: number, side: "A" | "B"): number => (side === "A" ? Math.max(0, value) : Math.min(0, value));

/** Limits that hold all layers, zero and a little air; whole steps, so that they seldom move. */
export function limits(stack: readonly Layer[]): [min: number, max: number] {
  const edges = stack.flatMap((layer) => layer.edge);
  const step = 0.5;
  const top = Math.max(step, ...edges.map((edge) => Math.ceil((edge + 0.05) / step) * step));
  const bottom = Math.min(-step, ...edges.map((edge) => Math.floor((edge - 0.05) / step) * step));
  return [bottom, top];
}
