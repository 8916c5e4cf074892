/** Points and events for tests: only what a test is about has to be said. */

import type { CurvePoint, EventEntry, Group, Groups } from "../src/contract.ts";
import { GROUPS } from "../src/contract.ts";

export function groups(values: Partial<Record<Group, number>> = {}): Groups {
  return Object.fromEntries(GROUPS.map((group) => [group, values[group] ?? 0])) as Groups;
}

export function point(frame: number, changes: Partial<CurvePoint> = {}): CurvePoint {
  return {
    id: `0-${frame}`,
    attempt: 0,
    frame,
    clock_s: frame * 30,
    event_time_ms: frame * 30_000,
    p: 0.5,
    delta_p: 0,
    contributions: groups(),
    changes: groups(),
    scores: groups(),
    weights: groups(),
    top_reason: "gold",
    key_moment: false,
    moment: "",
    commentary_en: null,
    commentary_zh: null,
    flags: [],
    ...changes,
  };
}

export function event(number: number, event_time_ms: number): EventEntry {
  const clock_s = event_time_ms / 1000;
  return {
    id: `0-${number}`,
    event_time_ms,
    clock_s,
    kind: "score",
    side: "A",
    subject: "kills",
    count: 1,
    text: "a kill",
  };
}
