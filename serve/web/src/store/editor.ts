/** Changes of a plan by hand, each of which can be undone. Pure: every change gives a new state. */

import type { Place, PlanLine, PlanTable, PlanZone } from "../contract.ts";
import { problemOf, type Problem } from "./geometry.ts";

export type Tool = "move" | "zone" | "line";

/** What is selected: a zone or line by its name, which is unique among both. */
export interface Editor {
  plan: PlanTable;
  saved: PlanTable;
  past: readonly PlanTable[];
  tool: Tool;
  /** Corners of the shape that is being drawn. */
  draft: readonly Place[];
  selected: string | null;
}

const MOST_UNDONE = 100;

export const editorOf = (plan: PlanTable): Editor => ({
  plan,
  saved: plan,
  past: [],
  tool: "move",
  draft: [],
  selected: null,
});

export const isChanged = (editor: Editor): boolean => editor.plan !== editor.saved;
export const zonesOf = (plan: PlanTable): readonly PlanZone[] => plan.zone ?? [];
export const linesOf = (plan: PlanTable): readonly PlanLine[] => plan.line ?? [];
export const isOnFloor = (shape: { camera?: string }): boolean => shape.camera === undefined;

export const withTool = (editor: Editor, tool: Tool): Editor => ({ ...editor, tool, draft: [] });
export const select = (editor: Editor, name: string | null): Editor => ({ ...editor, selected: name });

/** One more corner of what is being drawn; a line is done with its second. */
export function drawn(editor: Editor, at: Place): Editor {
  const draft = [...editor.draft, at];
  if (editor.tool === "line" && draft.length === 2) return finished({ ...editor, draft });
  return { ...editor, draft };
}

/** Takes back the newest corner of what is being drawn. */
export const withoutCorner = (editor: Editor): Editor => ({ ...editor, draft: editor.draft.slice(0, -1) });

/** What was drawn becomes a zone or line with a name of its own; too few corners become nothing. */
export function finished(editor: Editor): Editor {
  const { draft, plan, tool } = editor;
  if (draft.length < (tool === "line" ? 2 : 3)) return { ...editor, draft: [] };
  const name = freeName(plan, tool === "line" ? "line" : "zone");
  const next =
    tool === "line"
      ? { ...plan, line: [...linesOf(plan), { name, start: draft[0]!, end: draft[1]! }] }
      : { ...plan, zone: [...zonesOf(plan), { name, polygon: [...draft], kind: "area" }] };
  return { ...changed(editor, next), tool: "move", draft: [], selected: name };
}

/** Moves one corner of a zone, or an end of a line: 0 is its start. */
export function moved(editor: Editor, name: string, corner: number, to: Place, isNew = true): Editor {
  const polygonOf = (zone: PlanZone): Place[] => zone.polygon.map((at, index) => (index === corner ? to : at));
  return edited(
    editor,
    name,
    (zone) => ({ ...zone, polygon: polygonOf(zone) }),
    (line) => (corner === 0 ? { ...line, start: to } : { ...line, end: to }),
    isNew,
  );
}

/** A new corner half-way between one and the next. */
export function split(editor: Editor, name: string, corner: number): Editor {
  return edited(editor, name, (zone) => {
    const [a, b] = [zone.polygon[corner]!, zone.polygon[(corner + 1) % zone.polygon.length]!];
    const between: Place = [Math.round((a[0] + b[0]) * 50) / 100, Math.round((a[1] + b[1]) * 50) / 100];
    return { ...zone, polygon: [...zone.polygon.slice(0, corner + 1), between, ...zone.polygon.slice(corner + 1)] };
  });
}

export const cornerRemoved = (editor: Editor, name: string, corner: number): Editor =>
  edited(editor, name, (zone) => ({ ...zone, polygon: zone.polygon.filter((_, index) => index !== corner) }));

export const withKind = (editor: Editor, name: string, kind: string): Editor =>
  edited(editor, name, (zone) => ({ ...zone, kind }));

/** Another name, wherever the plan speaks of it: funnels and rules go along. */
export function renamed(editor: Editor, from: string, to: string): Editor {
  const swap = (name: unknown): unknown => (name === from ? to : name);
  const plan: PlanTable = {
    ...edited(
      editor,
      from,
      (zone) => ({ ...zone, name: to }),
      (line) => ({ ...line, name: to }),
    ).plan,
  };
  for (const [list, names] of [
    ["funnel", ["zones"]],
    ["rule", ["zone", "line"]],
  ] as const) {
    const entries = plan[list];
    if (!Array.isArray(entries)) continue;
    plan[list] = (entries as Record<string, unknown>[]).map((entry) => {
      const next = { ...entry };
      for (const name of names) {
        const value = next[name];
        if (value !== undefined) next[name] = Array.isArray(value) ? value.map(swap) : swap(value);
      }
      return next;
    });
  }
  return { ...changed(editor, plan), selected: to };
}

export function removed(editor: Editor, name: string): Editor {
  const plan = {
    ...editor.plan,
    zone: zonesOf(editor.plan).filter((zone) => zone.name !== name),
    line: linesOf(editor.plan).filter((line) => line.name !== name),
  };
  return { ...changed(editor, plan), selected: null };
}

/** Back to what was before the last change. */
export function undone(editor: Editor): Editor {
  const before = editor.past.at(-1);
  if (editor.draft.length) return withoutCorner(editor);
  if (!before) return editor;
  const names = new Set([...zonesOf(before), ...linesOf(before)].map(({ name }) => name));
  const selected = editor.selected !== null && names.has(editor.selected) ? editor.selected : null;
  return { ...editor, plan: before, past: editor.past.slice(0, -1), selected };
}

/** What keeps the shapes of a plan from being saved, by name. */
export function problemsOf(plan: PlanTable): Map<string, Problem | "name" | "same"> {
  const found = new Map<string, Problem | "name" | "same">();
  const names = [...zonesOf(plan), ...linesOf(plan)].map(({ name }) => name);
  for (const zone of zonesOf(plan)) {
    const problem = problemOf(zone.polygon);
    if (problem) found.set(zone.name, problem);
  }
  for (const line of linesOf(plan))
    if (line.start[0] === line.end[0] && line.start[1] === line.end[1]) found.set(line.name, "flat");
  for (const name of names) {
    if (!name.trim() || /[/>]/.test(name)) found.set(name, "name");
    else if (names.indexOf(name) !== names.lastIndexOf(name) || ["store", "heat", "paths"].includes(name))
      found.set(name, "same");
  }
  return found;
}

function edited(
  editor: Editor,
  name: string,
  ofZone: (zone: PlanZone) => PlanZone,
  ofLine: (line: PlanLine) => PlanLine = (line) => line,
  isNew = true,
): Editor {
  const plan = {
    ...editor.plan,
    zone: zonesOf(editor.plan).map((zone) => (zone.name === name ? ofZone(zone) : zone)),
    line: linesOf(editor.plan).map((line) => (line.name === name ? ofLine(line) : line)),
  };
  return isNew ? changed(editor, plan) : { ...editor, plan };
}

const changed = (editor: Editor, plan: PlanTable): Editor => ({
  ...editor,
  plan,
  past: [...editor.past, editor.plan].slice(-MOST_UNDONE),
});

function freeName(plan: PlanTable, stem: string): string {
  const taken = new Set([...zonesOf(plan), ...linesOf(plan)].map(({ name }) => name));
  let number = 1;
  while (taken.has(`${stem}-${number}`)) number += 1;
  return `${stem}-${number}`;
}
