/** What the probability is made of, over the game clock: contributions stacked about zero, and their sum as a line. */

import uPlot from "uplot";

import type { CurvePoint, Group } from "../contract.ts";
import { signed } from "../format.ts";
import { logit } from "../timeline.ts";
import { clockChart, type Limits } from "./clock_chart.ts";
import { risingClocks } from "./curve.ts";
import { hatched, mix, rimmedText } from "./paint.ts";
import { layers, limits, type Layer } from "./stack_layers.ts";

export interface Stack {
  set: (points: readonly CurvePoint[]) => void;
  point: (index: number | null) => void;
  /** Lets one group stand out. */
  light: (group: Group | null) => void;
}

interface Options {
  host: HTMLElement;
  groups: readonly Group[];
  name: (group: Group) => string;
}

/** Neighbours differ in depth, so that their border is seen without a second hue. */
const DEPTHS = [1, 0.58, 0.82, 0.44, 0.7, 0.34, 0.52];
const UNLIT = 0.18;

export function stack(options: Options): Stack {
  const { groups } = options;
  let lit: Group | null = null;
  let shown: Layer[] = layers([], groups);
  const order = shown.map(({ group, side }) => ({ group, side }));

  const chart = clockChart({
    host: options.host,
    series: [
      ...order.map(
        (layer): uPlot.Series => ({
          fill: (u) => fillOf(u, layer),
          stroke: () => chart.colours().panel,
          width: 1,
          fillTo: 0,
          points: { show: false },
        }),
      ),
      { stroke: () => chart.colours().text, width: 1.5, points: { show: false } },
    ],
    ySplits,
    yLabel: (value) => (value === 0 ? "0" : signed(value, Number.isInteger(value) ? 0 : 1)),
    showClock: false,
    padding: [8, 8],
    hooks: { draw: [drawZero, drawNames] },
    onPoint: () => undefined,
  });

  function fillOf(u: uPlot, layer: { group: Group; side: "A" | "B" }): string | CanvasPattern {
    const colours = chart.colours();
    const depth = lit && lit !== layer.group ? UNLIT : DEPTHS[groups.indexOf(layer.group) % DEPTHS.length]!;
    if (layer.side === "A") return mix(colours.sideA, colours.panel, depth);
    return hatched(u.ctx, mix(colours.sideB, colours.panel, depth), colours.hatch, devicePixelRatio);
  }

  function ySplits([bottom, top]: Limits): number[] {
    const far = Math.max(top, -bottom);
    const step = far > 4 ? Math.floor(far / 2) : far > 1 ? Math.floor(far) : 0.5;
    return [-step, 0, step].filter((value) => value >= bottom && value <= top);
  }

  function drawZero(u: uPlot): void {
    const y = Math.round(u.valToPos(0, "y", true));
    u.ctx.save();
    u.ctx.strokeStyle = chart.colours().muted;
    u.ctx.lineWidth = devicePixelRatio;
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
    u.ctx.restore();
  }

  /** Direct labels at the newest point, the thickest layers first; a layer too thin for its name goes without. */
  function drawNames(u: uPlot): void {
    const px = devicePixelRatio;
    const colours = chart.colours();
    const last = u.data[0].length - 1;
    if (last < 0) return;
    const x = u.valToPos(u.data[0][last]!, "x", true) + 10 * px;
    const bands = shown.map((layer, index) => {
      const inner = shown[index + 1];
      const low = inner?.side === layer.side ? inner.edge[last]! : 0;
      const [from, to] = [u.valToPos(low, "y", true), u.valToPos(layer.edge[last]!, "y", true)];
      return { layer, thick: Math.abs(to - from), y: (from + to) / 2 };
    });
    u.ctx.save();
    u.ctx.textBaseline = "middle";
    u.ctx.textAlign = "left";
    const taken: number[] = [];
    for (const { layer, thick, y } of bands.sort((a, b) => b.thick - a.thick)) {
      const wanted = lit ? layer.group === lit && thick > 0 : thick >= 5 * px;
      if (!wanted || taken.some((other) => Math.abs(other - y) < 13 * px)) continue;
      taken.push(y);
      u.ctx.font = `${lit ? 600 : 400} ${12 * px}px ${colours.sans}`;
      const colour = layer.side === "A" ? colours.sideAText : colours.sideBText;
      rimmedText(u.ctx, options.name(layer.group), x, y, { colour, rim: colours.panel, width: 3 * px });
    }
    u.ctx.restore();
  }

  return {
    set(points) {
      const rows = points.map((point) => point.contributions);
      shown = layers(rows, groups);
      chart.set([risingClocks(points), ...shown.map((layer) => layer.edge), rows.map(logit)], limits(shown));
    },
    point: chart.point,
    light(group) {
      if (lit === group) return;
      lit = group;
      chart.redraw();
    },
  };
}
