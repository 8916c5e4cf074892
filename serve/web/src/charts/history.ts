/** One figure of a pipeline over the last ten minutes. */

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
  /** Names of the lines, written beside their ends; the first is drawn strong, the second dashed. */
  names: string[];
  label: (value: number) => string;
}

export function history({ host, names, label }: Options): History {
  let colours = palette();
  const plot = new uPlot(
    {
      width: Math.max(host.clientWidth, 120),
      height: Math.max(host.clientHeight, 80),
      padding: [10, 24, 0, 0],
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
          incrs: [60, 120, 300],
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
            stroke: () => (index === 0 ? colours.text : colours.muted),
            fill: () => (index === 0 ? faded(colours.text, 0.06) : "transparent"),
            width: 1.5,
            dash: index === 0 ? [] : [4, 3],
            points: { show: false },
          }),
        ),
      ],
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
