/** All about one pipeline: its last ten minutes, partitions, models, totals and errors. */

import { history, type History } from "../charts/history.ts";
import type { HistoryPoint, PipelineOps } from "../contract.ts";
import { h, hiddenTable } from "../dom.ts";
import { count, milliseconds, rate, seconds, timeOfDay } from "../format.ts";
import { words } from "../i18n/index.ts";

export interface PipelineDetails {
  element: HTMLElement;
  set: (pipeline: PipelineOps, points: readonly HistoryPoint[]) => void;
  close: () => void;
}

export function pipelineDetails(): PipelineDetails {
  const figures = [
    figure(words.lag, [words.lag], seconds, (point) => [point.lag_s]),
    figure(`${words.inPerS}, ${words.outPerS} (- -)`, [words.inPerS, words.outPerS], rate, (point) => [
      point.events_per_s,
      point.answers_per_s,
    ]),
    figure(words.latency, [words.p99], milliseconds, (point) => [point.latency_p99_ms]),
  ];
  const spoken = hiddenTable(words.lastTenMinutes);
  const partitions = table([words.partition, words.committed, words.end, words.lag]);
  const models = table([words.modelVersion, words.weights, words.trainedOnHead]);
  const totals = h("dl", { class: "totals" });
  const errors = h("ol", { class: "errors" });
  const section = (name: string, ...content: Node[]): HTMLElement =>
    h("section", {}, h("h3", { class: "muted small" }, name), ...content);
  const element = h(
    "div",
    { class: "details", "data-testid": "ops-details" },
    h("div", { class: "details-charts" }, ...figures.map((one) => one.element)),
    spoken.element,
    h(
      "div",
      { class: "details-tables" },
      section(words.totals, totals),
      section(words.partitions, partitions.element),
      section(words.models, models.element),
      section(words.errors, errors),
    ),
  );

  return {
    element,
    set(pipeline, points) {
      const times = points.map((point) => point.time_ms);
      for (const one of figures) one.set(times, points);
      const minutes = points.filter((_, index) => index % 60 === 0);
      spoken.set(
        [words.clock, words.lag, words.inPerS, words.outPerS, words.p99],
        minutes.map((point) => [
          timeOfDay(point.time_ms).local,
          seconds(point.lag_s),
          rate(point.events_per_s),
          rate(point.answers_per_s),
          milliseconds(point.latency_p99_ms),
        ]),
      );
      partitions.set(
        pipeline.partitions.map((one) => [
          String(one.partition),
          count(one.committed),
          count(one.end),
          seconds(one.lag_s),
        ]),
      );
      models.set(
        pipeline.models.map((model) => [`${model.name} ${model.version}`, model.weight_hash, model.trained_on]),
      );
      const started = timeOfDay(pipeline.started_ms);
      setPairs(totals, [
        [words.eventsIn, count(pipeline.events_total)],
        [words.answersOut, count(pipeline.answers_total)],
        [words.lateEvents, count(pipeline.late_total)],
        [words.lateResults, count(pipeline.results_late_total)],
        [words.deadLetters, count(pipeline.dead_letters_total)],
        [words.broken, count(pipeline.broken_total)],
        [words.batches, count(pipeline.batches_total)],
        [words.records, count(pipeline.lag_records)],
        [words.reported, words.ago(seconds(pipeline.age_s))],
        [words.started, started.local, started.utc],
      ]);
      const lines = pipeline.errors.length ? pipeline.errors : [words.noErrors];
      if (errors.dataset["lines"] !== lines.join("\n")) {
        errors.dataset["lines"] = lines.join("\n");
        errors.replaceChildren(
          ...lines.map((line) => h("li", { class: pipeline.errors.length ? null : "muted" }, line)),
        );
      }
    },
    close() {
      for (const one of figures) one.close();
      element.remove();
    },
  };
}

interface Figure {
  element: HTMLElement;
  set: (times_ms: number[], points: readonly HistoryPoint[]) => void;
  close: () => void;
}

function figure(
  title: string,
  names: string[],
  label: (value: number) => string,
  values: (point: HistoryPoint) => (number | null)[],
): Figure {
  const host = h("div", { class: "details-chart" });
  let chart: History | null = null;
  return {
    element: h("section", {}, h("h3", { class: "muted small" }, title), host),
    set(times_ms, points) {
      // Made at the first figures, when the page has given it a size.
      chart ??= history({ host, names, label });
      chart.set(
        times_ms,
        names.map((_, line) => points.map((point) => values(point)[line]!)),
      );
    },
    close: () => chart?.close(),
  };
}

function table(head: string[]): { element: HTMLElement; set: (rows: string[][]) => void } {
  const body = h("tbody");
  const element = h(
    "table",
    { class: "small" },
    h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
    body,
  );
  return {
    element,
    set(rows) {
      body.replaceChildren(...rows.map((row) => h("tr", {}, ...row.map((text) => h("td", {}, text)))));
    },
  };
}

function setPairs(list: HTMLElement, pairs: [name: string, value: string, hover?: string][]): void {
  list.replaceChildren(
    ...pairs.map(([name, value, hover]) =>
      h("div", {}, h("dd", { title: hover }, value), h("dt", { class: "muted small" }, name)),
    ),
  );
}
