/** The hand's tools and the shapes in words: everything that the mouse does on the plan can be done here by keyboard. */

import { fetchPlan, putPlan, Refused } from "../api.ts";
import type { Place, PlanLine, PlanZone, StoredPlan } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { words } from "../i18n/index.ts";
import * as edit from "../store/editor.ts";
import type { Editor, Tool } from "../store/editor.ts";
import { snapped } from "../store/geometry.ts";

export interface ZoneEditor {
  element: HTMLElement;
  /** The editor as it stands; null while it is closed. */
  editor: () => Editor | null;
  open: (stored: StoredPlan) => void;
  /** The plan as somebody else has stored it: taken over where nothing was changed here. */
  setStored: (stored: StoredPlan) => void;
  change: (by: (editor: Editor) => Editor) => void;
  /** What is wrong with a shape, in words, by name. */
  faults: () => ReadonlyMap<string, string>;
}

export function zoneEditor(onChange: () => void, onSaved: (stored: StoredPlan) => void): ZoneEditor {
  let editor: Editor | null = null;
  let etag = "";
  let theirs: StoredPlan | null = null;
  let refused: { thing: string | null; detail: string } | null = null;

  const tools = h("div", { class: "editor-tools" });
  const hint = h("p", { class: "muted small", role: "status" });
  const message = h("p", { class: "small", role: "status", "data-testid": "editor-message" });
  const conflict = h("div", { class: "notice editor-conflict", "data-testid": "conflict" });
  const shapes = h("ul", { class: "editor-shapes" });
  const element = h(
    "section",
    { class: "panel zone-editor", "aria-label": words.storePage.edit, "data-testid": "editor" },
    h("h2", {}, words.storePage.edit),
    tools,
    hint,
    conflict,
    shapes,
    message,
  );
  element.hidden = true;

  const button = (text: string, act: () => void, more: Record<string, string | boolean> = {}): HTMLButtonElement =>
    h("button", { type: "button", class: "button", onclick: act, ...more }, text);
  const tool = (name: Tool, text: string): HTMLButtonElement =>
    button(text, () => change((now) => edit.withTool(now, now.tool === name ? "move" : name)), {
      "aria-pressed": "false",
      "data-tool": name,
    });
  const draws = [tool("zone", words.storePage.drawZone), tool("line", words.storePage.drawLine)];
  const square = button(words.storePage.square, putSquare);
  const undo = button(words.storePage.undo, () => change(edit.undone));
  const discard = button(words.storePage.discard, () => editor && open({ etag, saved_ms: 0, plan: editor.saved }));
  const save = button(words.storePage.save, () => void send(), { class: "button primary", "data-testid": "save" });
  tools.append(...draws, square, undo, discard, save);

  function change(by: (editor: Editor) => Editor): void {
    if (!editor) return;
    const before = editor;
    editor = by(editor);
    if (before.plan !== editor.plan) refused = null;
    draw(before.plan !== editor.plan || before.selected !== editor.selected);
    onChange();
  }

  function open(stored: StoredPlan): void {
    editor = edit.editorOf(stored.plan);
    etag = stored.etag;
    theirs = refused = null;
    setText(message, "");
    draw(true);
    onChange();
  }

  /** For the keyboard: two metres each way about the middle of the floor. */
  function putSquare(): void {
    change((now) => {
      const { width_m, depth_m } = now.plan.floor ?? { width_m: 4, depth_m: 4 };
      const at = (x: number, y: number): Place => snapped([width_m / 2 + x, depth_m / 2 + y], width_m, depth_m);
      const corners: Place[] =
        now.tool === "line" ? [at(-1, 0), at(1, 0)] : [at(-1, -1), at(1, -1), at(1, 1), at(-1, 1)];
      return edit.finished({ ...now, draft: corners });
    });
  }

  async function send(): Promise<void> {
    if (!editor) return;
    const sent = editor.plan;
    save.disabled = true;
    try {
      const stored = await putPlan(sent, etag);
      etag = stored.etag;
      if (editor) editor = { ...editor, saved: sent, past: [] };
      refused = theirs = null;
      setText(message, words.storePage.saved);
      onSaved(stored);
    } catch (problem) {
      if (!(problem instanceof Refused)) setText(message, words.waitingForGateway);
      else if (problem.status === 412) theirs = await fetchPlan().catch(() => null);
      else if (problem.status === 403) setText(message, words.storePage.mayNot);
      else refused = { thing: problem.thing, detail: problem.message };
    }
    draw(true);
    onChange();
  }

  function faults(): Map<string, string> {
    const found = new Map<string, string>();
    if (!editor) return found;
    for (const [name, problem] of edit.problemsOf(editor.plan))
      found.set(name, words.storePage.problems[problem] ?? problem);
    if (refused?.thing) found.set(refused.thing, refused.detail);
    return found;
  }

  function draw(lists: boolean): void {
    element.hidden = editor === null;
    if (!editor) return;
    const wrong = faults();
    const isChanged = edit.isChanged(editor);
    for (const one of draws) one.setAttribute("aria-pressed", String(one.dataset["tool"] === editor.tool));
    square.hidden = editor.tool === "move";
    undo.disabled = editor.past.length === 0 && editor.draft.length === 0;
    discard.disabled = !isChanged;
    save.disabled = !isChanged || edit.problemsOf(editor.plan).size > 0;
    const hints = { move: "", zone: words.storePage.drawZoneHint, line: words.storePage.drawLineHint };
    setText(hint, hints[editor.tool]);
    if (isChanged && message.textContent === words.storePage.saved) setText(message, words.storePage.unsaved);
    if (refused && !refused.thing) setText(message, refused.detail);
    conflict.hidden = theirs === null;
    if (theirs) drawConflict(theirs);
    if (lists) drawShapes(editor, wrong);
  }

  function drawConflict(stored: StoredPlan): void {
    fill(
      conflict,
      h("p", {}, words.storePage.theirs),
      button(words.storePage.loadTheirs, () => {
        onSaved(stored);
        open(stored);
      }),
      button(words.storePage.keepMine, () => {
        etag = stored.etag;
        theirs = null;
        draw(true);
      }),
    );
  }

  function drawShapes({ plan, selected }: Editor, wrong: ReadonlyMap<string, string>): void {
    // What has the focus keeps it, though the list is built anew.
    const focus = (document.activeElement as HTMLElement | null)?.dataset["field"];
    const all = [
      ...edit.zonesOf(plan).map((zone) => shape(zone, zone.kind ?? "area", zone.polygon)),
      ...edit.linesOf(plan).map((line) => shape(line, "line", [line.start, line.end])),
    ];
    fill(shapes, ...all);
    if (focus) shapes.querySelector<HTMLElement>(`[data-field="${CSS.escape(focus)}"]`)?.focus();

    function shape(one: PlanZone | PlanLine, kind: string, corners: readonly Place[]): HTMLElement {
      const { name, camera } = one;
      const isOpen = name === selected;
      const problem = wrong.get(name);
      const where = camera === undefined ? "" : words.storePage.inPixels(camera);
      const head = h(
        "button",
        {
          type: "button",
          class: "shape-head",
          "aria-expanded": String(isOpen),
          "data-field": `head ${name}`,
          onclick: () => change((now) => edit.select(now, isOpen ? null : name)),
        },
        h("span", { class: "shape-name" }, name),
        h("span", { class: "muted small" }, [words.storePage.kinds[kind] ?? kind, where].filter(Boolean).join(" · ")),
      );
      return h(
        "li",
        { class: "shape", "data-shape": name },
        head,
        problem ? h("p", { class: "shape-problem small", role: "alert" }, `${name} ${problem}`) : null,
        isOpen ? form(one, kind, corners) : null,
      );
    }
  }

  function form(one: PlanZone | PlanLine, kind: string, corners: readonly Place[]): HTMLElement {
    const { name } = one;
    const isLine = kind === "line";
    const named = h("input", {
      class: "field",
      value: name,
      maxlength: 64,
      "data-field": "name",
      "aria-label": words.storePage.name,
      onchange: (event) => {
        const next = (event.target as HTMLInputElement).value.trim();
        change((now) => edit.renamed(now, name, next));
      },
    });
    const kinds = h(
      "select",
      {
        class: "select",
        "data-field": "kind",
        "aria-label": words.storePage.kind,
        onchange: (event) => change((now) => edit.withKind(now, name, (event.target as HTMLSelectElement).value)),
      },
      ...["area", "queue"].map((value) =>
        h("option", { value, selected: value === kind }, words.storePage.kinds[value]),
      ),
    );
    const number = (corner: number, axis: 0 | 1): HTMLElement =>
      h("input", {
        class: "field",
        type: "number",
        step: one.camera === undefined ? 0.1 : 1,
        value: corners[corner]![axis],
        "data-field": `${corner} ${axis}`,
        "aria-label": (axis === 0 ? words.storePage.cornerX : words.storePage.cornerY)(corner + 1),
        onchange: (event) => {
          const value = (event.target as HTMLInputElement).valueAsNumber;
          if (!Number.isFinite(value)) return;
          const to: Place = axis === 0 ? [value, corners[corner]![1]] : [corners[corner]![0], value];
          change((now) => edit.moved(now, name, corner, to));
        },
      });
    const rows = corners.map((_, corner) =>
      h(
        "li",
        { class: "corner-row" },
        number(corner, 0),
        number(corner, 1),
        !isLine &&
          h(
            "button",
            {
              type: "button",
              class: "button",
              "aria-label": words.storePage.removeCorner(corner + 1),
              onclick: () => change((now) => edit.cornerRemoved(now, name, corner)),
            },
            "×",
          ),
      ),
    );
    return h(
      "div",
      { class: "shape-form" },
      h("div", { class: "shape-line" }, named, !isLine && kinds),
      h("ol", { class: "corner-rows" }, ...rows),
      h(
        "div",
        { class: "shape-line" },
        !isLine && button(words.storePage.addCorner, () => change((now) => edit.split(now, name, corners.length - 1))),
        button(words.storePage.remove, () => change((now) => edit.removed(now, name)), { "data-testid": "delete" }),
      ),
    );
  }

  element.addEventListener("keydown", (event) => {
    if (event.key === "z" && (event.ctrlKey || event.metaKey) && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      change(edit.undone);
    }
  });

  return {
    element,
    editor: () => editor,
    open(stored) {
      if (editor) {
        editor = null;
        element.hidden = true;
        onChange();
      } else open(stored);
    },
    setStored(stored) {
      if (editor && stored.etag !== etag && !edit.isChanged(editor)) open(stored);
    },
    change,
    faults,
  };
}
