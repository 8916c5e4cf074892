/** What one page knows about one match: its points and events, each once, in order. Pure: no DOM, no network. */

import type { CurvePoint, EventEntry, Group, Groups } from "./contract.ts";
import { GROUPS } from "./contract.ts";

export class Timeline {
  /** Oldest first, of the newest attempt only. */
  points: CurvePoint[] = [];
  /** Oldest first. */
  events: EventEntry[] = [];
  private readonly eventIds = new Set<string>();

  /** Everything anew; only what the stream has said since the load was asked for is kept. */
  load(points: CurvePoint[], events: EventEntry[]): void {
    const [knownPoints, knownEvents] = [this.points, this.events];
    this.points = [];
    this.events = [];
    this.eventIds.clear();
    for (const point of points) this.addPoint(point);
    for (const event of events) this.addEvent(event);
    const [frame, time_ms] = [this.last?.frame ?? -1, this.events.at(-1)?.event_time_ms ?? -Infinity];
    for (const point of knownPoints) if (point.frame > frame) this.addPoint(point);
    for (const event of knownEvents) if (event.event_time_ms > time_ms) this.addEvent(event);
  }

  /** True if the point says something new. A higher attempt begins anew; an earlier frame replaces all from it on. */
  addPoint(point: CurvePoint): boolean {
    const last = this.points.at(-1);
    if (last && point.attempt < last.attempt) return false;
    if (last && point.attempt > last.attempt) this.points = [];
    if (this.points.some((known) => known.id === point.id)) return false;
    const at = this.points.findIndex((known) => known.frame >= point.frame);
    if (at >= 0) this.points.length = at;
    this.points.push(point);
    return true;
  }

  /** True if the event is new. */
  addEvent(event: EventEntry): boolean {
    if (this.eventIds.has(event.id)) return false;
    this.eventIds.add(event.id);
    const after = this.events.findLastIndex((known) => known.event_time_ms <= event.event_time_ms);
    this.events.splice(after + 1, 0, event);
    return true;
  }

  get last(): CurvePoint | undefined {
    return this.points.at(-1);
  }

  /** The newest key moment before the newest point; the first point where there was none. */
  lastKeyMoment(): CurvePoint | undefined {
    return this.points.slice(0, -1).findLast((point) => point.key_moment) ?? this.points[0];
  }

  /** The newest sentence, and the point that said it. */
  sentence(pick: (point: CurvePoint) => string | null): { text: string; point: CurvePoint } | undefined {
    const point = this.points.findLast((candidate) => pick(candidate));
    return point && { text: pick(point)!, point };
  }

  /** Index of the point nearest to a clock; -1 where there is none. */
  nearest(clock_s: number): number {
    let best = -1;
    let distance = Infinity;
    for (const [index, point] of this.points.entries()) {
      const away = Math.abs(point.clock_s - clock_s);
      if (away < distance) [best, distance] = [index, away];
    }
    return best;
  }
}

/** Sum of all contributions: the logit of p. */
export const logit = (contributions: Groups): number => GROUPS.reduce((sum, group) => sum + contributions[group], 0);

/** Later minus earlier, group by group. */
export function difference(later: Groups, earlier: Groups): Groups {
  return Object.fromEntries(GROUPS.map((group) => [group, later[group] - earlier[group]])) as Groups;
}

/** Groups by weight of their change, the largest first, those that matter only. */
export function weightiest(changes: Groups, least = 0.005): { group: Group; change: number }[] {
  return GROUPS.map((group) => ({ group, change: changes[group] }))
    .filter(({ change }) => Math.abs(change) >= least)
    .sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
}
