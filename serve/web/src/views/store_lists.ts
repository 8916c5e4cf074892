/** What was counted and what was told, as lists: places, alerts. */

import type { AlertEntry, Metric, PlanTable } from "../contract.ts";
import { fill, h } from "../dom.ts";
import { seconds, timeOfDay } from "../format.ts";
import { words } from "../i18n/index.ts";
import { linesOf, zonesOf } from "../store/editor.ts";
import { openAlerts } from "../store/figures.ts";

export interface PlaceList {
  element: HTMLElement;
  set: (plan: PlanTable, newest: ReadonlyMap<string, Metric>) => void;
}

/** Every zone and line of the plan with its figures; what no pipeline counts yet says so. */
export function placeList(): PlaceList {
  const body = h("tbody");
  const head = [words.storePage.place, words.storePage.now, words.storePage.entered, words.storePage.dwell];
  const element = h(
    "section",
    { class: "panel store-places" },
    h("h2", {}, words.storePage.places),
    h(
      "table",
      { class: "store-table" },
      h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col", class: "muted small" }, name)))),
      body,
    ),
  );
  return {
    element,
    set(plan, newest) {
      const rows = [
        ...zonesOf(plan).map(({ name, kind }) => [name, kind ?? "area"] as const),
        ...linesOf(plan).map(({ name }) => [name, "line"] as const),
      ];
      fill(body, ...rows.map(([name, kind]) => placeRow(name, kind, newest.get(name))));
    },
  };
}

function placeRow(name: string, kind: string, metric: Metric | undefined): HTMLElement {
  const title = h(
    "th",
    { scope: "row", class: "place-name" },
    h("span", { class: "place-label", title: name }, name),
    h("span", { class: "muted small" }, words.storePage.kinds[kind] ?? kind),
  );
  const attributes = { "data-testid": "place-row", "data-place": name };
  if (!metric) return h("tr", attributes, title, h("td", { colspan: 3, class: "muted" }, words.storePage.notYet));
  if (kind === "line") {
    const crossed = words.storePage.inOut(metric.crossed_in, metric.crossed_out);
    return h("tr", attributes, title, h("td", { colspan: 3 }, crossed));
  }
  const dwell_s = metric.dwell_mean_s ?? metric.longest_s;
  return h(
    "tr",
    attributes,
    title,
    h("td", { class: "place-now", "data-testid": "place-now" }, String(metric.occupancy_end)),
    h("td", {}, String(metric.entered)),
    h("td", {}, dwell_s === null ? "–" : seconds(dwell_s)),
  );
}

export interface AlertList {
  element: HTMLElement;
  set: (alerts: readonly AlertEntry[]) => void;
}

/** Newest first; those that are still on come before all others. */
export function alertList(): AlertList {
  const list = h("ol", { class: "store-alerts" });
  const element = h("section", { class: "panel", "data-testid": "alerts" }, h("h2", {}, words.storePage.alerts), list);
  return {
    element,
    set(alerts) {
      const open = openAlerts(alerts);
      const ranked = [...alerts.filter(({ id }) => open.has(id)), ...alerts.filter(({ id }) => !open.has(id))];
      if (ranked.length) fill(list, ...ranked.slice(0, 30).map((alert) => alertRow(alert, open.has(alert.id))));
      else fill(list, h("li", { class: "muted" }, words.storePage.noAlerts));
    },
  };
}

function alertRow(alert: AlertEntry, isOpen: boolean): HTMLElement {
  const { local, utc } = timeOfDay(alert.event_time_ms);
  const about = alert.subject === alert.zone_id ? alert.zone_id : `${alert.zone_id}, ${alert.subject}`;
  const over = alert.state === "cleared" ? words.storePage.alertOver : "";
  const amount = (value: number): string => (Number.isInteger(value) ? String(value) : value.toFixed(1));
  return h(
    "li",
    { class: "store-alert", "data-open": String(isOpen), "data-testid": "alert" },
    h(
      "span",
      { class: "chip", "data-state": isOpen ? "bad" : "ended" },
      [words.storePage.alertKinds[alert.kind] ?? alert.kind, isOpen ? words.storePage.alertOpen : over]
        .filter(Boolean)
        .join(" · "),
    ),
    h("time", { class: "muted small", title: utc, datetime: new Date(alert.event_time_ms).toISOString() }, local),
    h("span", { class: "alert-about", title: alert.rule }, about),
    h("span", { class: "muted small" }, words.storePage.ofLimit(amount(alert.value), amount(alert.limit))),
  );
}
