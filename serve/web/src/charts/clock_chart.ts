/**
 * A chart over the game clock: what the curve and the stack share, so that they line up to the pixel.
 *
 * Time runs left to right and never jumps: the axis ends at a multiple of five minutes, and when it must grow it does
 * so within 200 ms. Cursors of all charts of a page move together; arrow keys move them too.
 */

import "uplot/dist/uPlot.min.css";

import uPlot from "uplot";

import { clock } from "../format.ts";
import { calm, onThemeChange } from "../settings.ts";
import { palette, type Palette } from "./paint.ts";

const STEP_S = 300;
const LEAST_END_S = 600;
const MOTION_MS = 200;
/** Room for the axis labels on the left and for direct labels on the right, in CSS pixels. */
export const LEFT = 44;
export const RIGHT = 84;

export type Limits = readonly [min: number, max: number];

/** Tells which point the cursor is on, and how far from the chart's left edge it stands, in CSS pixels. */
export type OnPoint = (index: number | null, left_px: number) => void;

export interface ClockChart {
  plot: uPlot;
  colours: () => Palette;
  /** New data; the axes move over within 200 ms. x: clock in seconds, never falling. */
  set: (data: uPlot.AlignedData, y: Limits) => void;
  /** Puts the cursors of all charts on this point; null takes them away. */
  point: (index: number | null) => void;
  redraw: () => void;
}

interface Options {
  host: HTMLElement;
  series: uPlot.Series[];
  /** Where the horizontal lines go, three at most, and what to call them. */
  ySplits: (limits: Limits) => number[];
  yLabel: (value: number) => string;
  showClock: boolean;
  padding: [top: number, bottom: number];
  hooks: uPlot.Hooks.Arrays;
  onPoint: OnPoint;
}

/** Where the clock axis ends, for a match that has come this far. */
export const clockEnd = (last_s: number): number => Math.max(LEAST_END_S, Math.ceil((last_s + 20) / STEP_S) * STEP_S);

export function clockChart(options: Options): ClockChart {
  const { host } = options;
  let colours = palette();
  let x: Limits = [0, LEAST_END_S];
  let y: Limits = [0, 1];
  let frame = 0;
  const font = (): string => `12px ${colours.sans}`;

  const plot = new uPlot(
    {
      width: Math.max(host.clientWidth, 120),
      height: Math.max(host.clientHeight, 80),
      padding: [options.padding[0], RIGHT, options.padding[1], 0],
      legend: { show: false },
      cursor: {
        y: false,
        move: snapped,
        drag: { x: false, y: false },
        sync: { key: "match" },
        points: { show: false },
      },
      scales: {
        x: { time: false, range: () => [...x] },
        y: { range: () => [...y] },
      },
      axes: [
        {
          show: options.showClock,
          size: 28,
          gap: 8,
          font: font(),
          stroke: () => colours.muted,
          grid: { show: false },
          ticks: { show: false },
          space: 56,
          incrs: [60, 120, 300, 600, 900, 1200, 1800],
          values: (_, splits) => splits.map(clock),
        },
        {
          size: LEFT,
          gap: 6,
          font: font(),
          stroke: () => colours.muted,
          grid: { stroke: () => colours.line, width: 1 },
          ticks: { show: false },
          splits: () => options.ySplits(y),
          values: (_, splits) => splits.map(options.yLabel),
        },
      ],
      series: [{}, ...options.series],
      hooks: { ...options.hooks, setCursor: [tell] },
    },
    [[], ...options.series.map(() => [])],
    host,
  );

  /** The cursor stands on answers, not between them. */
  function snapped(u: uPlot, left: number, top: number): [number, number] {
    const at = left < 0 ? undefined : u.data[0][u.posToIdx(left)];
    return at === undefined ? [left, top] : [u.valToPos(at, "x"), top];
  }

  function tell(u: uPlot): void {
    const index = u.cursor.idx ?? null;
    const at = index === null ? undefined : u.data[0][index];
    options.onPoint(at === undefined ? null : index, at === undefined ? 0 : u.over.offsetLeft + u.valToPos(at, "x"));
  }

  function show(nextX: Limits, nextY: Limits): void {
    x = nextX;
    y = nextY;
    plot.batch(() => {
      plot.setScale("x", { min: x[0], max: x[1] });
      plot.setScale("y", { min: y[0], max: y[1] });
    });
  }

  function glide(toX: Limits, toY: Limits): void {
    cancelAnimationFrame(frame);
    const [fromX, fromY] = [x, y];
    const still = [0, 1].every((end) => fromX[end] === toX[end] && fromY[end] === toY[end]);
    if (still || calm() || document.hidden || plot.data[0].length < 2) return show(toX, toY);
    const start = performance.now();
    const step = (now: number): void => {
      const t = Math.min(1, Math.max(0, now - start) / MOTION_MS);
      const eased = 1 - (1 - t) ** 3;
      const between = (from: Limits, to: Limits): Limits => [
        from[0] + (to[0] - from[0]) * eased,
        from[1] + (to[1] - from[1]) * eased,
      ];
      show(between(fromX, toX), between(fromY, toY));
      if (t < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  }

  function point(index: number | null): void {
    const clocks = plot.data[0];
    const at = index === null ? undefined : clocks[index];
    if (at === undefined) plot.setCursor({ left: -10, top: -10 });
    else plot.setCursor({ left: plot.valToPos(at, "x"), top: 0 });
  }

  host.tabIndex = 0;
  host.addEventListener("keydown", (event) => {
    const last = plot.data[0].length - 1;
    const now = plot.cursor.idx ?? last;
    const moves: Record<string, number | null> = {
      ArrowLeft: now - 1,
      ArrowRight: now + 1,
      Home: 0,
      End: last,
      Escape: null,
    };
    const to = moves[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    point(to === null ? null : Math.min(last, Math.max(0, to)));
  });
  host.addEventListener("blur", () => point(null));

  new ResizeObserver(() => {
    if (host.clientWidth > 0 && host.clientHeight > 0)
      plot.setSize({ width: host.clientWidth, height: host.clientHeight });
  }).observe(host);
  onThemeChange(() => {
    colours = palette();
    plot.redraw(false, true);
  });

  return {
    plot,
    colours: () => colours,
    set(data, nextY) {
      plot.setData(data, false);
      glide([0, clockEnd(data[0].at(-1) ?? 0)], nextY);
    },
    point,
    redraw: () => plot.redraw(false, false),
  };
}
