/** `/ops`: does it run, does it keep up, does it need me? For an operator at three in the morning. */

import "../styles/ops.css";

import { OPS_STREAM } from "../api.ts";
import type { HistoryPoint, Ops, PipelineOps } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { Stream } from "../stream.ts";
import { foot } from "../views/foot.ts";
import { header } from "../views/header.ts";
import { healthView } from "../views/health.ts";
import { pipelineRow, type PipelineRow } from "../views/pipeline_row.ts";

/** Ten minutes, one point a second. */
const HISTORY = 600;

export function page(root: HTMLElement): void {
  const top = header("ops");
  const health = healthView();
  const rows = new Map<string, PipelineRow>();
  const histories = new Map<string, HistoryPoint[]>();
  const message = h("p", { class: "muted ops-message", role: "status" }, words.connecting);
  const columns = [
    words.pipeline,
    words.lag,
    words.inPerS,
    words.outPerS,
    words.p50,
    words.p99,
    words.deadLetters,
    words.modelVersion,
  ];
  const body = h("div", { class: "ops-rows" });
  const table = h(
    "section",
    { class: "panel ops-table" },
    h(
      "div",
      { class: "ops-columns muted small", "aria-hidden": "true" },
      ...columns.map((name) => h("span", {}, name)),
    ),
    body,
  );
  table.hidden = true;
  root.append(top.element, h("main", { class: "ops" }, health.element, message, table), foot());

  function put(pipeline: PipelineOps): void {
    let history = histories.get(pipeline.pipeline) ?? [];
    if (pipeline.history.length) history = pipeline.history.slice(-HISTORY);
    else if (pipeline.time_ms > (history.at(-1)?.time_ms ?? 0)) history = [...history, pipeline].slice(-HISTORY);
    histories.set(pipeline.pipeline, history);
    let row = rows.get(pipeline.pipeline);
    if (!row) {
      row = pipelineRow(pipeline.pipeline);
      rows.set(pipeline.pipeline, row);
      body.append(row.element);
    }
    row.set(pipeline, history);
  }

  function show(ops: Ops): void {
    health.set(ops);
    ops.pipelines.forEach(put);
    const named = new Set(ops.pipelines.map(({ pipeline }) => pipeline));
    for (const [name, row] of rows) {
      if (named.has(name)) continue;
      row.element.remove();
      rows.delete(name);
      histories.delete(name);
    }
    table.hidden = ops.pipelines.length === 0;
    message.hidden = !table.hidden;
    setText(message, words.noPipeline);
  }

  const stream = new Stream({
    path: OPS_STREAM,
    onLink: (state) => {
      top.setLink(state);
      health.setStale(state !== "open");
      if (state === "connecting") setText(message, words.waitingForGateway);
    },
    on: { snapshot: (data) => show(data as Ops), tick: (data) => show(data as Ops) },
  });
  addEventListener("pagehide", () => stream.close());
}
