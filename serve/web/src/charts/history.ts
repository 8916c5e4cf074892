/** Figures over time: of a pipeline the last ten minutes, of a store the day, of the arms of a test the last hour. */

import "uplot/dist/uPlot.min.css";

import uPlot from "uplot";

import { onThemeChange } from "../settings.ts";
import { faded, palette } from "./paint.ts";

export interface History {
  /** times in ms UTC; one array of values for each line. */
  set: (times_ms: number[], lines: (number | null)[][]) => void;
  close: () => void;
}

interface Options {
  host: HTMLElement;
  /** Of the lines; the first is drawn strong, the others dashed. */
  names: string[];
  label: (value: number) => string;
  /** Lines of one standing, as those of a test's arms: each in a colour and pattern of its own, its name at its end. */
  compared?: boolean;
}

const PATTERNS = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const NAME_ROOM_PX = 96;
const NAME_HEIGHT_PX = 15;

export function history({ host, names, label, compared = false }: Options): History {
  let colours = palette();
  const strokeOf = (index: number): string =>
    compared
      ? ([colours.sideAText, colours.sideBText, colours.text][index] ?? colours.muted)
      : index === 0
        ? colours.text
        : colours.muted;

  /** Each name at the height where its line ends, below the one above it where they would meet. */
  function drawNames(u: uPlot): void {
    const px = devicePixelRatio;
    const ends = names.flatMap((name, index) => {
      const value = [...(u.data[index + 1] ?? [])].findLast((one) => one != null);
      return value == null ? [] : [{ name, index, y: u.valToPos(value, "y", true) }];
    });
    u.ctx.save();
    u.ctx.font = `600 ${12 * px}px ${colours.sans}`;
    u.ctx.textBaseline = "middle";
    u.ctx.textAlign = "left";
    ends.sort((a, b) => a.y - b.y);
    let free = -Infinity;
    for (const [place, { name, index, y }] of ends.entries()) {
      const below = (ends.length - 1 - place) * NAME_HEIGHT_PX * px;
      const at = Math.max(Math.min(y, u.bbox.top + u.bbox.height - below), free);
      free = at + NAME_HEIGHT_PX * px;
      u.ctx.fillStyle = strokeOf(index);
      u.ctx.fillText(fitting(u.ctx, name, (NAME_ROOM_PX - 12) * px), u.bbox.left + u.bbox.width + 6 * px, at);
    }
    u.ctx.restore();
  }
  const plot = new uPlot(
    {
      width: Math.max(host.clientWidth, 120),
      height: Math.max(host.clientHeight, 80),
      padding: [10, compared ? NAME_ROOM_PX : 24, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, __, high) => [0, Math.max(1, (high ?? 0) * 1.15)] } },
      axes: [
        {
          size: 22,
          gap: 4,
          font: `12px ${colours.sans}`,
          stroke: () => colours.muted,
          grid: { show: false },
          ticks: { show: false },
          space: 72,
          incrs: [60, 120, 300, 600, 1800, 3600, 7200, 14_400],
          values: "{HH}:{mm}",
        },
        {
          size: 58,
          gap: 6,
          font: `12px ${colours.sans}`,
          stroke: () => colours.muted,
          grid: { stroke: () => colours.line, width: 1 },
          ticks: { show: false },
          space: (_, __, ___, ____, height) => Math.max(44, height / 2.5), // three lines at most
          values: (_, splits) => splits.map(label),
        },
      ],
      series: [
        {},
        ...names.map(
          (_, index): uPlot.Series => ({
            stroke: () => strokeOf(index),
            fill: () => (index === 0 && !compared ? faded(colours.text, 0.06) : "transparent"),
            width: compared ? 2 : 1.5,
            dash: compared ? PATTERNS[index % PATTERNS.length]! : index === 0 ? [] : [4, 3],
            spanGaps: compared,
            points: { show: false },
          }),
        ),
      ],
      hooks: compared ? { draw: [drawNames] } : {},
    },
    [[], ...names.map(() => [])],
    host,
  );
  const resize = new ResizeObserver(() => {
    if (host.clientWidth && host.clientHeight) plot.setSize({ width: host.clientWidth, height: host.clientHeight });
  });
  resize.observe(host);
  const endTheme = onThemeChange(() => {
    colours = palette();
    plot.redraw(false, true);
  });
  return {
    set(times_ms, lines) {
      plot.setData([times_ms.map((time) => time / 1000), ...lines]);
    },
    close() {
      endTheme();
      resize.disconnect();
      plot.destroy();
    },
  };
}

/** The name, cut with an ellipsis where it is wider than there is room. */
function fitting(ctx: CanvasRenderingContext2D, name: string, room: number): string {
  if (ctx.measureText(name).width <= room) return name;
  let cut = name;
  while (cut.length > 1 && ctx.measureText(`${cut}…`).width > room) cut = cut.slice(0, -1);
  return `${cut}…`;
}
