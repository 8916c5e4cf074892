/** The win probability over the game clock: camp A's above the 50 % line, B's below, key moments as labelled dots. */

import type uPlot from "uplot";

import type { CurvePoint, EventEntry } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { clockChart, type OnPoint } from "./clock_chart.ts";
import { faded, rimmedText } from "./paint.ts";

export interface Curve {
  set: (points: readonly CurvePoint[], events: readonly EventEntry[]) => void;
  /** Lights the point at this index, on all charts of the page; null takes the light away. */
  point: (index: number | null) => void;
  /** Lights one event's mark. */
  lightEvent: (event: EventEntry | null) => void;
}

interface Options {
  host: HTMLElement;
  sideNames: [a: string, b: string];
  /** What stands beside the dot of a key moment. */
  label: (point: CurvePoint) => string;
  /** What stands beside the newest point. */
  value: (point: CurvePoint) => string;
  onPoint: OnPoint;
}

/** A line of text on the canvas: from x0 to x1, about y. */
interface Box {
  x0: number;
  x1: number;
  y: number;
}

export function curve(options: Options): Curve {
  let points: readonly CurvePoint[] = [];
  let events: readonly EventEntry[] = [];
  let lit: EventEntry | null = null;

  const chart = clockChart({
    host: options.host,
    series: [
      {
        stroke: (u) => bySide(u, chart.colours().sideA, chart.colours().sideB),
        fill: (u) => bySide(u, faded(chart.colours().sideA, 0.2), faded(chart.colours().sideB, 0.2)),
        fillTo: 50,
        width: 2.5,
        points: { show: false },
      },
    ],
    ySplits: () => [0, 50, 100],
    yLabel: (value) => `${Math.abs(value - 50) + 50}\u202f%`,
    showClock: true,
    padding: [16, 0],
    hooks: { drawAxes: [drawSides], draw: [drawEvents, drawMoments, drawNewest] },
    onPoint: options.onPoint,
  });

  /** One paint, two colours: it changes where the plot crosses 50 %. */
  function bySide(u: uPlot, above: string, below: string): CanvasGradient | string {
    if (!u.bbox.height) return above;
    const gradient = u.ctx.createLinearGradient(0, u.bbox.top, 0, u.bbox.top + u.bbox.height);
    const half = 0.5;
    gradient.addColorStop(0, above);
    gradient.addColorStop(half, above);
    gradient.addColorStop(half, below);
    gradient.addColorStop(1, below);
    return gradient;
  }

  /** The canvas set up for labels; whoever takes the pen restores the canvas. */
  const pen = (u: uPlot): { ctx: CanvasRenderingContext2D; px: number } => {
    const px = devicePixelRatio;
    u.ctx.save();
    u.ctx.font = `600 ${12 * px}px ${chart.colours().sans}`;
    u.ctx.textBaseline = "middle";
    u.ctx.textAlign = "left";
    return { ctx: u.ctx, px };
  };

  function drawSides(u: uPlot): void {
    const { ctx, px } = pen(u);
    const { left, top, width, height } = u.bbox;
    const colours = chart.colours();
    ctx.strokeStyle = colours.muted;
    ctx.lineWidth = px;
    ctx.setLineDash([4 * px, 4 * px]);
    ctx.beginPath();
    ctx.moveTo(left, Math.round(top + height / 2));
    ctx.lineTo(left + width, Math.round(top + height / 2));
    ctx.stroke();
    ctx.setLineDash([]);
    for (const { text, box, colour } of sideLabels(u)) {
      ctx.fillStyle = colour;
      ctx.fillText(text, box.x0, box.y);
    }
    ctx.restore();
  }

  /** The sides' names in the corners of their halves; labels of moments keep clear of them. */
  function sideLabels(u: uPlot): { text: string; box: Box; colour: string }[] {
    const { left, top, height } = u.bbox;
    const px = devicePixelRatio;
    const [a, b] = [`▲ ${options.sideNames[0]}`, `▼ ${options.sideNames[1]}`];
    const x0 = left + 8 * px;
    const box = (text: string, y: number): Box => ({ x0, x1: x0 + u.ctx.measureText(text).width, y });
    return [
      { text: a, box: box(a, top + 20 * px), colour: chart.colours().sideAText },
      { text: b, box: box(b, top + height - 20 * px), colour: chart.colours().sideBText },
    ];
  }

  /** Events as marks on the rim of their side: A's hang from the top, B's stand on the ground. */
  function drawEvents(u: uPlot): void {
    const { ctx, px } = pen(u);
    const { top, height, left, width } = u.bbox;
    const colours = chart.colours();
    for (const event of events) {
      if (!event.side) continue;
      const x = u.valToPos(event.clock_s, "x", true);
      if (x < left || x > left + width) continue;
      const long = (event === lit ? 14 : 6) * px;
      ctx.lineWidth = (event === lit ? 3 : 1.5) * px;
      ctx.strokeStyle = event.side === "A" ? colours.sideA : colours.sideB;
      ctx.beginPath();
      ctx.moveTo(x, event.side === "A" ? top : top + height);
      ctx.lineTo(x, event.side === "A" ? top + long : top + height - long);
      ctx.stroke();
    }
    ctx.restore();
  }

  function drawMoments(u: uPlot): void {
    if (!points.length) return;
    const { ctx, px } = pen(u);
    const colours = chart.colours();
    const { left, width, top, height } = u.bbox;
    const moments = points.flatMap((point, index) => {
      if (!point.key_moment) return [];
      return [{ point, index, x: u.valToPos(point.clock_s, "x", true), y: u.valToPos(point.p * 100, "y", true) }];
    });
    for (const { point, x, y } of moments) {
      dot(ctx, x, y, 4.5 * px, sideColour(point), point.flags.includes("late"));
    }
    const newest = points.at(-1)!;
    const end = { x: u.valToPos(newest.clock_s, "x", true), y: u.valToPos(newest.p * 100, "y", true) };
    const taken: Box[] = [
      ...sideLabels(u).map(({ box }) => box),
      { x0: end.x - 6 * px, x1: end.x + 12 * px + ctx.measureText(options.value(newest)).width * 1.2, y: end.y },
      ...moments.map(({ x, y }) => ({ x0: x - 5 * px, x1: x + 5 * px, y })),
    ];
    const free = (box: Box): boolean =>
      box.y > top + 6 * px &&
      box.y < top + height - 6 * px &&
      !taken.some((other) => box.x0 < other.x1 && other.x0 < box.x1 && Math.abs(other.y - box.y) < 15 * px);
    // The newest first: where labels compete for room, the newest is read.
    for (const { point, index, x, y } of moments.reverse()) {
      const text = options.label(point);
      const wide = ctx.measureText(text).width;
      const at = Math.min(Math.max(x - wide / 2, left + 4 * px), left + width - wide);
      // Where the line leaves room, else on its other side; a label that finds none stays unsaid.
      const clear = clearSide(index);
      const box = [clear, -clear]
        .map((direction) => ({ x0: at - 6 * px, x1: at + wide + 6 * px, y: y + direction * 16 * px }))
        .find(free);
      if (!box) continue;
      taken.push(box);
      rimmedText(ctx, text, at, box.y, { colour: colours.text, rim: colours.panel, width: 4 * px });
    }
    ctx.restore();
  }

  /** Above a peak (-1), below a trough (1); on a slope, away from the 50 % line. */
  function clearSide(index: number): -1 | 1 {
    const here = points[index]!.p;
    const [before, after] = [points[index - 1]?.p ?? here, points[index + 1]?.p ?? here];
    const bend = 2 * here - before - after;
    return (Math.abs(bend) > 0.02 ? bend : here - 0.5) >= 0 ? -1 : 1;
  }

  function drawNewest(u: uPlot): void {
    const point = points.at(-1);
    if (!point) return;
    const { ctx, px } = pen(u);
    const colours = chart.colours();
    const x = u.valToPos(point.clock_s, "x", true);
    const y = u.valToPos(point.p * 100, "y", true);
    dot(ctx, x, y, 5 * px, sideColour(point), false);
    ctx.font = `650 ${14 * px}px ${colours.sans}`;
    const colour = point.p >= 0.5 ? colours.sideAText : colours.sideBText;
    rimmedText(ctx, options.value(point), x + 11 * px, y, { colour, rim: colours.panel, width: 4 * px });
    ctx.restore();
  }

  function dot(
    ctx: CanvasRenderingContext2D,
    x: number,
    y: number,
    radius: number,
    colour: string,
    hollow: boolean,
  ): void {
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 2 * Math.PI);
    ctx.fillStyle = hollow ? chart.colours().panel : colour;
    ctx.fill();
    ctx.lineWidth = radius / 2.2;
    ctx.strokeStyle = hollow ? colour : chart.colours().panel;
    ctx.stroke();
  }

  const sideColour = (point: CurvePoint): string => (point.p >= 0.5 ? chart.colours().sideA : chart.colours().sideB);

  return {
    set(nextPoints, nextEvents) {
      points = nextPoints;
      events = nextEvents;
      chart.set([risingClocks(points), points.map((point) => point.p * 100)], [0, 100]);
      options.host.dataset["points"] = String(points.length);
      options.host.dataset["lastId"] = points.at(-1)?.id ?? "";
    },
    point: chart.point,
    lightEvent(event) {
      if (lit === event) return;
      lit = event;
      chart.redraw();
    },
  };
}

/** Clocks as an axis needs them; an answer whose clock fell stands where the one before it stood. */
export function risingClocks(points: readonly CurvePoint[]): number[] {
  let highest = 0;
  return points.map((point) => (highest = Math.max(highest, point.clock_s)));
}

/** The box that follows the cursor: the lines of one answer. */
export function tip(host: HTMLElement): {
  show: (lines: string[], x: number, flip: boolean) => void;
  hide: () => void;
} {
  const element = h("div", { class: "tip", "aria-live": "polite" });
  element.hidden = true;
  host.append(element);
  return {
    show(lines, x, flip) {
      while (element.childElementCount > lines.length) element.lastElementChild!.remove();
      lines.forEach((line, index) => setText(element.children[index] ?? element.appendChild(h("p")), line));
      element.hidden = false;
      element.style.transform = `translateX(${Math.round(flip ? x - element.offsetWidth - 12 : x + 12)}px)`;
    },
    hide() {
      element.hidden = true;
    },
  };
}
