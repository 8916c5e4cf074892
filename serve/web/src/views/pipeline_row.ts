/** One pipeline on the ops page: its figures in one line, and all about it underneath when opened. */

import { levelSpark } from "../charts/spark.ts";
import type { HistoryPoint, ModelState, PipelineOps } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { count, milliseconds, rate, seconds } from "../format.ts";
import { words } from "../i18n/index.ts";
import type { PipelineDetails } from "./pipeline_details.ts";

export interface PipelineRow {
  element: HTMLElement;
  set: (pipeline: PipelineOps, history: readonly HistoryPoint[]) => void;
}

/** States in which a pipeline will not help itself. */
const STUCK = new Set(["failed", "silent"]);

export function pipelineRow(name: string): PipelineRow {
  const state = h("span", { class: "chip", "data-testid": "pipeline-state" });
  const reason = h("span", { class: "row-reason muted small" });
  const lag = h("span", { class: "row-lag-value" });
  const spark = levelSpark();
  const cells = [words.inPerS, words.outPerS, words.p50, words.p99, words.deadLetters].map((label) => cell(label));
  const models = cell(words.modelVersion);
  models.element.classList.add("row-models");
  const button = h(
    "button",
    {
      class: "ops-row",
      type: "button",
      "data-testid": "ops-row",
      "data-pipeline": name,
      "aria-expanded": "false",
      onclick: toggle,
    },
    h("span", { class: "row-name" }, h("span", { class: "row-title" }, name), state, reason),
    h(
      "span",
      { class: "row-cell row-lag", "data-label": words.lag },
      h("span", { class: "visually-hidden" }, `${words.lag}: `),
      lag,
      spark.element,
    ),
    ...cells.map(({ element }) => element),
    models.element,
  );
  const element = h("div", { class: "ops-pipeline" }, button);
  let details: PipelineDetails | null = null;
  let last: [PipelineOps, readonly HistoryPoint[]] | null = null;

  async function toggle(): Promise<void> {
    const open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    if (!open) {
      details?.close();
      details = null;
      return;
    }
    const { pipelineDetails } = await import("./pipeline_details.ts");
    if (details || button.getAttribute("aria-expanded") !== "true") return;
    details = pipelineDetails();
    element.append(details.element);
    if (last) details.set(...last);
  }

  return {
    element,
    set(pipeline, history) {
      last = [pipeline, history];
      state.dataset["state"] = tone(pipeline);
      setText(state, words.pipelineState[pipeline.state] ?? pipeline.state);
      setText(reason, pipeline.reason);
      const silent = pipeline.state === "silent"; // its last figures say nothing of now
      setText(lag, silent ? "–" : seconds(pipeline.lag_s));
      spark.set(history.map((point) => [point.time_ms, point.lag_s]));
      const values = [
        silent ? "–" : rate(pipeline.events_per_s),
        silent ? "–" : rate(pipeline.answers_per_s),
        milliseconds(silent ? null : pipeline.latency_p50_ms),
        milliseconds(silent ? null : pipeline.latency_p99_ms),
        count(pipeline.dead_letters_total),
      ];
      cells.forEach(({ value }, index) => setText(value, values[index]!));
      cells[4]!.element.classList.toggle("notable", pipeline.dead_letters_total > 0);
      setModels(models.value, pipeline.models);
      details?.set(pipeline, history);
    },
  };
}

/** A figure with its name, which the column's head gives to eyes only. */
function cell(label: string): { element: HTMLElement; value: HTMLElement } {
  const value = h("span", { class: "row-value" });
  const name = h("span", { class: "visually-hidden" }, `${label}: `);
  return { element: h("span", { class: "row-cell", "data-label": label }, name, value), value };
}

/** One line a model: which version answers, by which weights, and what those were trained on. */
function setModels(host: HTMLElement, models: readonly ModelState[]): void {
  const next = JSON.stringify(models);
  if (host.dataset["models"] === next) return;
  host.dataset["models"] = next;
  const lines = models.map(({ name, version, weight_hash, trained_on }) => {
    const weights = [weight_hash, trained_on].filter(Boolean).join(" · ");
    return h(
      "span",
      { class: "row-model", "data-testid": "row-model" },
      `${name} ${version} `,
      h("small", {}, weights),
    );
  });
  fill(host, ...(lines.length ? lines : ["–"]));
}

function tone(pipeline: PipelineOps): string {
  if (STUCK.has(pipeline.state)) return "bad";
  if (pipeline.state === "running") return pipeline.healthy ? "live" : "delayed";
  return pipeline.state === "stopped" ? "ended" : "delayed";
}
