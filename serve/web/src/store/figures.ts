/** What the store page says in numbers. Pure. */

import type { AlertEntry, CameraView, Flows, HeatMap, Metric, Place } from "../contract.ts";

/** An identity or a track as it is written beside a box. */
export function shortId(person: { person_id: string | null; track_id: number }): string {
  const id = person.person_id;
  if (id === null) return `#${person.track_id}`;
  return id.length <= 6 ? id : id.slice(-4);
}

/** Views and pictures of one camera this far apart go together: not every frame is told. */
const NEAR_MS = 300;

/** Who was in the frame of a moment, by the view nearest to it, of equals the one told last; null where none is near. */
export function viewAt(views: readonly CameraView[], captured_ms: number): CameraView | null {
  let best: CameraView | null = null;
  let least_ms = NEAR_MS;
  for (const view of views) {
    const apart_ms = Math.abs(view.captured_ms - captured_ms);
    if (apart_ms > least_ms) continue;
    [best, least_ms] = [view, apart_ms];
  }
  return best;
}

/** The newest of two rows of one place: a later window, or the same one corrected. */
export function newer(known: Metric | undefined, next: Metric): Metric {
  if (!known || next.window_start_ms > known.window_start_ms) return next;
  return next.window_start_ms === known.window_start_ms && next.revision >= known.revision ? next : known;
}

/** Where people stand on the floor, each once: seen by two cameras, the newer sighting counts. */
export function peopleOnFloor(
  views: readonly CameraView[],
  sinceHeard_ms: number,
): { id: string; short: string; at: Place }[] {
  const found = new Map<string, { id: string; short: string; at: Place; captured_ms: number }>();
  for (const view of views) {
    if (view.heard_ms < sinceHeard_ms) continue;
    for (const person of view.people) {
      if (!person.feet) continue;
      const id = person.person_id ?? `${view.camera_id} ${person.track_id}`;
      const known = found.get(id);
      if (!known || known.captured_ms < view.captured_ms)
        found.set(id, { id, short: shortId(person), at: person.feet, captured_ms: view.captured_ms });
    }
  }
  return [...found.values()];
}

/** Cells of the heat map with their place and a strength of 0 to 1; its root, or one queue would hide all else. */
export function heatCells(heat: HeatMap): { x: number; y: number; strength: number; seconds: number }[] {
  const most = Math.max(...heat.seconds, 1e-9);
  return heat.cells.map((cell, index) => ({
    x: (cell % heat.columns) * heat.cell_m,
    y: Math.floor(cell / heat.columns) * heat.cell_m,
    strength: Math.sqrt(heat.seconds[index]! / most),
    seconds: heat.seconds[index]!,
  }));
}

/** Flows whose both ends are places of the plan, with a width of 0 to 1. */
export function flowArrows(
  flows: Flows,
  places: ReadonlyMap<string, Place>,
): { from: Place; to: Place; width: number; visits: number; key: string }[] {
  const most = Math.max(...flows.flows.map(({ visits }) => visits), 1);
  return flows.flows.flatMap(({ origin, target, visits }) => {
    const [from, to] = [places.get(origin), places.get(target)];
    if (!from || !to || origin === target) return [];
    return [{ from, to, width: visits / most, visits, key: `${origin}>${target}` }];
  });
}

/** The alerts that are still on: raised ones of a lasting kind that nothing has cleared. Newest first, as they come. */
export function openAlerts(alerts: readonly AlertEntry[]): Set<string> {
  const decided = new Set<string>();
  const open = new Set<string>();
  for (const alert of alerts) {
    const about = `${alert.rule} ${alert.subject}`;
    if (decided.has(about)) continue;
    decided.add(about);
    if (alert.state === "raised" && LASTING.has(alert.kind)) open.add(alert.id);
  }
  return open;
}

const LASTING = new Set(["crowding", "camera_down", "camera_covered"]);
