/** What the event log tells. Pure. */

import type { EventEntry } from "./contract.ts";

/**
 * Each thing that happened once. A feed that says that an inner tower fell says too that a tower fell: the more exact
 * of two entries is told, in the place of the first.
 */
export function toldOnce(events: readonly EventEntry[]): EventEntry[] {
  const exact = new Map<string, EventEntry[]>();
  for (const event of events)
    if (event.subject === "inner_towers") exact.set(fall(event), [...(exact.get(fall(event)) ?? []), event]);
  if (exact.size === 0) return [...events];
  const told = events.flatMap((event) => {
    if (event.subject !== "towers") return [event];
    return [exact.get(fall(event))?.shift() ?? event];
  });
  return [...new Set(told)];
}

const fall = (event: EventEntry): string => `${event.side} ${event.event_time_ms} ${event.clock_s} ${event.count}`;
