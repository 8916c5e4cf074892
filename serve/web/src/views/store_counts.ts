/** One place over time: people at a time as a line, the most of them dashed; a table says the same in words. */

import type { Counts } from "../contract.ts";
import { h, hiddenTable, setText } from "../dom.ts";
import { timeOfDay } from "../format.ts";
import { words } from "../i18n/index.ts";
import { history } from "../charts/history.ts";

export interface CountChart {
  element: HTMLElement;
  /** Places that may be chosen; the store comes first. */
  setChoices: (names: readonly string[]) => void;
  set: (counts: Counts) => void;
  place: () => string;
}

const TABLE_ROWS = 60;

export function countChart(onChoice: () => void): CountChart {
  const choice = h("select", { class: "select", "aria-label": words.storePage.place, onchange: onChoice });
  const host = h("div", { class: "chart store-chart", role: "img", "aria-label": words.storePage.counts });
  const empty = h("p", { class: "muted" }, words.storePage.noCounts);
  const note = h("span", { class: "muted small" });
  const table = hiddenTable(words.storePage.counts);
  const element = h(
    "section",
    { class: "panel store-counts", "data-testid": "counts" },
    h("div", { class: "panel-head" }, h("h2", {}, words.storePage.counts), note, choice),
    empty,
    host,
    table.element,
  );
  const label = (value: number): string => (Number.isInteger(value) ? String(value) : "");
  const chart = history({ host, names: ["a", "b"], label });
  let choices = "";

  return {
    element,
    setChoices(names) {
      if (choices === names.join("\n")) return;
      choices = names.join("\n");
      const kept = choice.value;
      choice.replaceChildren(
        ...names.map((name, index) =>
          h("option", { value: name }, index === 0 ? (words.storePage.kinds["store"] ?? name) : name),
        ),
      );
      if (names.includes(kept)) choice.value = kept;
    },
    place: () => choice.value || "store",
    set(counts) {
      const { points, kind } = counts;
      const lines = kind === "line";
      const first = points.map((point) => (lines ? point.crossed_in : point.occupancy_mean));
      const second = points.map((point) => (lines ? point.crossed_out : point.occupancy_max));
      chart.set(
        points.map(({ time_ms }) => time_ms),
        [first, second],
      );
      empty.hidden = points.length > 0;
      host.hidden = points.length === 0;
      element.dataset["points"] = String(points.length);
      const corrected = points.some((point) => point.corrected) ? ` · ${words.storePage.corrected}` : "";
      const said = lines
        ? `— ${words.storePage.crossedIn}  ┄ ${words.storePage.crossedOut}`
        : `— ${words.storePage.peopleAtATime}  ┄ max`;
      setText(note, said + corrected);
      const head = lines
        ? [words.storePage.time, words.storePage.crossedIn, words.storePage.crossedOut]
        : [words.storePage.time, words.storePage.peopleAtATime, "max", words.storePage.came];
      table.set(
        head,
        points.slice(-TABLE_ROWS).map((point, index, all) => {
          const at = timeOfDay(point.time_ms).local;
          const row = points.length - all.length + index;
          const figures = [first[row]!, second[row]!, ...(lines ? [] : [point.entered])];
          return [at, ...figures.map((value) => (Number.isInteger(value) ? String(value) : value.toFixed(1)))];
        }),
      );
    },
  };
}
