/** One line of history, small: no axes, drawn with SVG because a wall holds fifty of them. */

import { svg } from "../dom.ts";

const WIDTH = 240;
const HEIGHT = 48;

export interface Spark {
  element: SVGSVGElement;
  set: (points: readonly (readonly [x: number, y: number])[]) => void;
}

let clips = 0;

/** A probability's line about 50 %: camp A's colour above, B's below. */
export function duelSpark(): Spark {
  clips += 1;
  const half = HEIGHT / 2;
  const ids = [`spark-a-${clips}`, `spark-b-${clips}`];
  const shapes = ["a", "b"].map((side, index) => ({
    area: svg("path", { class: `spark-area ${side}`, "clip-path": `url(#${ids[index]})` }),
    line: svg("path", { class: `spark-line ${side}`, "clip-path": `url(#${ids[index]})` }),
  }));
  const element = canvas("spark");
  element.append(
    svg("clipPath", { id: ids[0]! }, svg("rect", { x: -4, y: -4, width: WIDTH + 8, height: half + 4 })),
    svg("clipPath", { id: ids[1]! }, svg("rect", { x: -4, y: half, width: WIDTH + 8, height: half + 4 })),
    svg("line", { class: "spark-even", x1: 0, x2: WIDTH, y1: half, y2: half }),
    ...shapes.flatMap(({ area, line }) => [area, line]),
  );
  return {
    element,
    set(points) {
      const line = path(points, 0, 1);
      for (const shape of shapes) {
        shape.line.setAttribute("d", line);
        shape.area.setAttribute("d", line && `${line}V${half}H0Z`);
      }
    },
  };
}

/** A quantity's line above zero. */
export function levelSpark(): Spark {
  const area = svg("path", { class: "spark-area level" });
  const line = svg("path", { class: "spark-line level" });
  const element = canvas("spark level");
  element.append(area, line);
  return {
    element,
    set(points) {
      const top = Math.max(1, ...points.map(([, y]) => y));
      const d = path(points, 0, top);
      line.setAttribute("d", d);
      area.setAttribute("d", d && `${d}V${HEIGHT}H0Z`);
    },
  };
}

function canvas(classes: string): SVGSVGElement {
  return svg("svg", {
    class: classes,
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
    focusable: "false",
  });
}

function path(points: readonly (readonly [number, number])[], low: number, high: number): string {
  const first = points[0];
  const last = points.at(-1);
  if (!first || !last) return "";
  const span = last[0] - first[0] || 1;
  const at = ([x, y]: readonly [number, number]): string =>
    `${(((x - first[0]) / span) * WIDTH).toFixed(1)} ${((1 - (y - low) / (high - low)) * HEIGHT).toFixed(1)}`;
  return `M${points.map(at).join("L")}${points.length === 1 ? `H${WIDTH}` : ""}`;
}
