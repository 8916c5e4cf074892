/** The store from above: heat, flows, zones, lines and people; shapes are drawn and moved on it by mouse. */

import type { Flows, HeatMap, Place, PlanTable } from "../contract.ts";
import { fill, h, setText, svg } from "../dom.ts";
import { count } from "../format.ts";
import { words } from "../i18n/index.ts";
import { isOnFloor, linesOf, zonesOf, type Editor } from "../store/editor.ts";
import { flowArrows, heatCells } from "../store/figures.ts";
import { middle, snapped } from "../store/geometry.ts";

export type Layer = "heat" | "flows" | "people";

/** What the hand does on the plan. */
export interface Hands {
  draw: (at: Place) => void;
  finish: () => void;
  undo: () => void;
  select: (name: string | null) => void;
  /** A corner is dragged; `begins` with its first step, so that the whole way is undone at once. */
  move: (name: string, corner: number, to: Place, begins: boolean) => void;
}

export interface FloorPlan {
  element: HTMLElement;
  setPlan: (plan: PlanTable, faulty: ReadonlySet<string>, editor: Editor | null) => void;
  setHeat: (heat: HeatMap | null) => void;
  setFlows: (flows: Flows | null) => void;
  setPeople: (people: readonly { id: string; short: string; at: Place }[]) => void;
}

const SHOWN: readonly Layer[] = ["heat", "flows", "people"];

export function floorPlan(hands: Hands): FloorPlan {
  const layers = {
    heat: svg("g", { class: "plan-heat" }),
    grid: svg("g", { class: "plan-grid" }),
    zones: svg("g", { class: "plan-zones" }),
    flows: svg("g", { class: "plan-flows" }),
    people: svg("g", { class: "plan-people" }),
    names: svg("g", { class: "plan-names" }),
    hands: svg("g", { class: "plan-hands" }),
  };
  const arrow = svg(
    "marker",
    { id: "plan-arrow", viewBox: "0 0 8 8", refX: 6, refY: 4, markerWidth: 3, markerHeight: 3, orient: "auto" },
    svg("path", { d: "M0 0 8 4 0 8z", class: "plan-arrow" }),
  );
  const drawing = svg(
    "svg",
    { class: "plan-drawing", role: "img", "aria-label": words.storePage.planHelp, "data-testid": "plan" },
    svg("defs", {}, arrow),
    ...Object.values(layers),
  );
  const empty = h("p", { class: "muted plan-empty" }, words.storePage.noFloor);
  const brightest = h("span", { class: "muted small" });
  const switches = h("div", { class: "switch", role: "group", "aria-label": words.storePage.layers });
  const off = new Set<Layer>();
  for (const name of SHOWN) {
    const button = h("button", { type: "button", "aria-pressed": "true" }, words.storePage[name]);
    button.addEventListener("click", () => {
      if (!off.delete(name)) off.add(name);
      button.setAttribute("aria-pressed", String(!off.has(name)));
      layers[name].toggleAttribute("hidden", off.has(name));
      layers[name].style.display = off.has(name) ? "none" : "";
    });
    switches.append(button);
  }
  const element = h(
    "section",
    { class: "panel store-plan", "aria-label": words.storePage.plan },
    h("div", { class: "panel-head" }, h("h2", {}, words.storePage.plan), switches),
    h("div", { class: "plan-host" }, drawing, empty),
    brightest,
  );

  let plan: PlanTable = {};
  let editor: Editor | null = null;
  let flows: Flows | null = null;
  let size = { width_m: 1, depth_m: 1 };
  let held: { name: string; corner: number; begins: boolean } | null = null;

  /** Metres across, for sizes that are to look alike on every floor. */
  const unit = (): number => Math.max(size.width_m, size.depth_m) / 100;

  function placeOf(event: PointerEvent | MouseEvent): Place {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM()!.inverse());
    return snapped([at.x, at.y], size.width_m, size.depth_m);
  }

  drawing.addEventListener("pointerdown", (event) => {
    if (!editor || event.button !== 0) return;
    const target = event.target as Element;
    const corner = target.getAttribute("data-corner");
    const name = target.getAttribute("data-name");
    if (editor.tool !== "move") {
      event.preventDefault();
      if (corner === "draft-0" && editor.draft.length >= 3) hands.finish();
      else hands.draw(placeOf(event));
      return;
    }
    if (name !== null && corner !== null) {
      event.preventDefault();
      held = { name, corner: Number(corner), begins: true };
      drawing.setPointerCapture(event.pointerId);
    } else hands.select(name);
  });
  drawing.addEventListener("pointermove", (event) => {
    if (!held) return;
    hands.move(held.name, held.corner, placeOf(event), held.begins);
    held.begins = false;
  });
  for (const end of ["pointerup", "pointercancel"] as const) drawing.addEventListener(end, () => (held = null));

  function drawGrid(): void {
    const marks: SVGElement[] = [];
    const step = size.width_m > 40 || size.depth_m > 40 ? 10 : 5;
    for (let x = step; x < size.width_m; x += step)
      marks.push(svg("line", { x1: x, x2: x, y1: 0, y2: size.depth_m, class: "plan-line" }));
    for (let y = step; y < size.depth_m; y += step)
      marks.push(svg("line", { x1: 0, x2: size.width_m, y1: y, y2: y, class: "plan-line" }));
    marks.push(svg("rect", { width: size.width_m, height: size.depth_m, class: "plan-walls" }));
    layers.grid.replaceChildren(...marks);
  }

  const points = (polygon: readonly Place[]): string => polygon.map((at) => at.join(",")).join(" ");

  function drawShapes(faulty: ReadonlySet<string>): void {
    const shapes: SVGElement[] = [];
    const names: SVGElement[] = [];
    const state = (name: string): string =>
      [faulty.has(name) && "faulty", editor?.selected === name && "selected"].filter(Boolean).join(" ");
    for (const zone of zonesOf(plan).filter(isOnFloor)) {
      const [x, y] = middle(zone.polygon);
      const named = { "data-name": zone.name };
      shapes.push(
        svg("polygon", {
          ...named,
          points: points(zone.polygon),
          class: `plan-zone ${zone.kind === "queue" ? "queue" : ""} ${state(zone.name)}`,
          "data-testid": "zone",
        }),
      );
      names.push(svg("text", { x, y, class: "plan-name", "font-size": 2.6 * unit() }, zone.name));
    }
    for (const line of linesOf(plan).filter(isOnFloor)) {
      const [[x1, y1], [x2, y2]] = [line.start, line.end];
      const named = { "data-name": line.name };
      const long = Math.hypot(x2 - x1, y2 - y1) || 1;
      // From the left to the right of whoever looks from start to end, in: with y down, that is (-dy, dx).
      const [nx, ny] = [(-(y2 - y1) / long) * 5 * unit(), ((x2 - x1) / long) * 5 * unit()];
      const [mx, my] = middle([line.start, line.end]);
      shapes.push(
        svg("line", { ...named, x1, y1, x2, y2, class: `plan-counting ${state(line.name)}`, "data-testid": "line" }),
        svg("path", {
          d: `M${mx - nx / 2} ${my - ny / 2}l${nx} ${ny}`,
          class: "plan-way",
          "marker-end": "url(#plan-arrow)",
        }),
      );
      // On the side that the arrow comes from.
      const beside = { x: mx - 0.9 * nx, y: my - 0.9 * ny + unit() };
      names.push(svg("text", { ...beside, class: "plan-name", "font-size": 2.6 * unit() }, line.name));
    }
    layers.zones.replaceChildren(...shapes);
    layers.names.replaceChildren(...names);
  }

  function drawHands(): void {
    if (!editor) return layers.hands.replaceChildren();
    const radius = 1.3 * unit();
    const marks: SVGElement[] = [];
    const handle = ([cx, cy]: Place, corner: number, name: string): SVGElement =>
      svg("circle", { cx, cy, r: radius, class: "plan-corner", "data-corner": corner, "data-name": name });
    const zone = zonesOf(plan).find(({ name }) => name === editor!.selected);
    const line = linesOf(plan).find(({ name }) => name === editor!.selected);
    if (zone && isOnFloor(zone)) zone.polygon.forEach((at, index) => marks.push(handle(at, index, zone.name)));
    if (line && isOnFloor(line))
      [line.start, line.end].forEach((at, index) => marks.push(handle(at, index, line.name)));
    if (editor.draft.length) {
      marks.push(svg("polyline", { points: points(editor.draft), class: "plan-draft" }));
      editor.draft.forEach(([cx, cy], index) =>
        marks.push(svg("circle", { cx, cy, r: radius, class: "plan-corner", "data-corner": `draft-${index}` })),
      );
    }
    layers.hands.replaceChildren(...marks);
    drawing.dataset["tool"] = editor.tool;
  }

  function drawFlows(): void {
    const places = new Map(
      zonesOf(plan)
        .filter(isOnFloor)
        .map((zone) => [zone.name, middle(zone.polygon)]),
    );
    const arrows = flows ? flowArrows(flows, places) : [];
    layers.flows.replaceChildren(
      ...arrows.map(({ from, to, width, visits, key }) => {
        const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
        // Bent to the right of the way, so that there and back are two lines.
        const bend: Place = [(from[0] + to[0]) / 2 - dy * 0.18, (from[1] + to[1]) / 2 + dx * 0.18];
        const path = svg("path", {
          d: `M${from.join(" ")}Q${bend.join(" ")} ${to.join(" ")}`,
          class: "plan-flow",
          "stroke-width": (0.25 + 1.1 * width) * unit(),
          "marker-end": "url(#plan-arrow)",
        });
        path.append(svg("title", {}, `${key.replace(">", " → ")}: ${words.storePage.visits(visits)}`));
        return path;
      }),
    );
  }

  return {
    element,
    setPlan(next, faulty, nextEditor) {
      plan = next;
      editor = nextEditor;
      const { floor } = next;
      empty.hidden = floor !== undefined;
      drawing.toggleAttribute("hidden", floor === undefined);
      if (!floor) return;
      size = floor;
      drawing.setAttribute(
        "viewBox",
        `${-unit()} ${-unit()} ${size.width_m + 2 * unit()} ${size.depth_m + 2 * unit()}`,
      );
      drawing.style.setProperty("--unit", String(unit()));
      element.dataset["editing"] = String(editor !== null);
      drawGrid();
      drawShapes(faulty);
      drawFlows();
      drawHands();
    },
    setHeat(heat) {
      const cells = heat ? heatCells(heat) : [];
      setText(brightest, cells.length ? heatWords(heat!) : "");
      layers.heat.replaceChildren(
        ...cells.map(({ x, y, strength }) =>
          svg("rect", {
            x,
            y,
            width: heat!.cell_m,
            height: heat!.cell_m,
            "fill-opacity": (0.75 * strength).toFixed(3),
          }),
        ),
      );
    },
    setFlows(next) {
      flows = next;
      drawFlows();
    },
    setPeople(people) {
      layers.people.replaceChildren(
        ...people.flatMap(({ short, at: [x, y] }) => [
          svg("circle", { cx: x, cy: y, r: unit(), class: "plan-person" }),
          svg("text", { x: x + 1.4 * unit(), y: y + 0.8 * unit(), class: "plan-id", "font-size": 2.2 * unit() }, short),
        ]),
      );
      layers.people.dataset["count"] = String(people.length);
    },
  };
}

const heatWords = (heat: HeatMap): string =>
  `${words.storePage.lastHour} · ${words.storePage.heatHelp(count(Math.round(Math.max(...heat.seconds))))}`;

/** Paths in words, for those who do not see the arrows. */
export function pathList(): { element: HTMLElement; set: (flows: Flows | null) => void } {
  const list = h("ol", { class: "store-paths" });
  const element = h("section", { class: "panel", "data-testid": "paths" }, h("h2", {}, words.storePage.paths), list);
  return {
    element,
    set(flows) {
      const rows = (flows?.paths ?? [])
        .slice(0, 5)
        .map(({ zones, visits }) =>
          h(
            "li",
            { class: "store-path" },
            h("span", { class: "store-path-zones" }, zones.join(" → ")),
            h("span", { class: "muted" }, words.storePage.visits(visits)),
          ),
        );
      if (rows.length) fill(list, ...rows);
      else fill(list, h("li", { class: "muted" }, words.storePage.noPaths));
    },
  };
}
