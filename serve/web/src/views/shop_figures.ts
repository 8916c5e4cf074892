/** The operator's side of the shop: clicks a row over time and by arm, coverage, cold items. */

import { history, type History } from "../charts/history.ts";
import type { ArmRow, ShopFigures } from "../contract.ts";
import { fill, h, hiddenTable, setText } from "../dom.ts";
import { count, signed, timeOfDay } from "../format.ts";
import { words } from "../i18n/index.ts";
import { armName, armsFirst, type CtrLines, ctrLines, leafOf, testsOf, titleOf } from "../shop/visit.ts";

export interface FiguresView {
  element: HTMLElement;
  set: (figures: ShopFigures) => void;
  setModel: (model: string) => void;
}

export function figuresView(): FiguresView {
  const rate = h("span", { class: "shop-rate", "data-testid": "ctr" });
  const rateWords = h("span", {});
  const since = h("span", { class: "muted small" });
  const host = h("div", { class: "chart shop-chart", role: "img", "aria-label": words.shopPage.overTime });
  const table = hiddenTable(words.shopPage.overTime);
  const arms = h("tbody");
  const noArms = h("p", { class: "muted" }, words.shopPage.noArms);
  const heads = [
    words.shopPage.arm,
    words.shopPage.rows,
    words.shopPage.clicks,
    words.shopPage.rate,
    words.shopPage.against,
  ];
  const armTable = h(
    "table",
    { class: "shop-arms" },
    h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col", class: "muted small" }, name)))),
    arms,
  );
  const covered = h("p", { "data-testid": "coverage" });
  const bar = h("i");
  const cold = h("p", { "data-testid": "cold" });
  const coldList = h("ul", { class: "cold-list" });
  const model = h("p", { class: "muted small" });
  const element = h(
    "section",
    { class: "shop-operator", "aria-label": words.shopPage.operator, "data-testid": "operator" },
    h(
      "div",
      { class: "panel shop-worth" },
      h("p", { class: "shop-headline", title: words.shopPage.ctrHelp }, rate, rateWords, since),
      host,
      table.element,
      noArms,
      armTable,
    ),
    h(
      "div",
      { class: "shop-reach" },
      h(
        "div",
        { class: "panel" },
        h("h2", {}, words.shopPage.coverage),
        covered,
        h("div", { class: "coverage-bar", "aria-hidden": "true" }, bar),
      ),
      h("div", { class: "panel shop-cold" }, h("h2", {}, words.shopPage.cold), cold, coldList),
      model,
    ),
  );
  let chart: { names: string; plot: History } | null = null;

  function drawChart(lines: CtrLines): void {
    const names = lines.names.join("\n");
    if (chart && chart.names !== names) {
      chart.plot.close();
      chart = null;
    }
    host.hidden = lines.times_ms.length === 0;
    if (host.hidden) return;
    chart ??= {
      names,
      plot: history({ host, names: lines.names, label: (value) => `${value}\u202f%`, compared: true }),
    };
    chart.plot.set(lines.times_ms, lines.values);
    table.set(
      [words.shopPage.time, ...lines.names],
      lines.times_ms.map((time_ms, step) => [
        timeOfDay(time_ms).local,
        ...lines.values.map((values) => (values[step] == null ? "–" : `${values[step].toFixed(1)}\u202f%`)),
      ]),
    );
  }

  return {
    element,
    set(figures) {
      const rows = figures.arms.reduce((sum, arm) => sum + arm.answers, 0);
      const clicks = figures.arms.reduce((sum, arm) => sum + arm.clicks, 0);
      setText(rate, rows ? perCent(clicks / rows) : "–");
      setText(rateWords, rows ? words.shopPage.ctr : words.shopPage.ctrNone);
      const { local, utc } = timeOfDay(figures.since_ms);
      setText(since, words.shopPage.sinceTime(local.slice(0, 5)));
      since.title = utc;
      noArms.hidden = figures.arms.length > 0;
      armTable.hidden = !noArms.hidden;
      const tests = testsOf(figures.arms);
      fill(arms, ...armsFirst(figures.arms).map((arm) => armRow(arm, armName(arm, tests, words.shopPage))));
      drawChart(ctrLines(figures.points, figures.step_s, words.shopPage));
      const share = figures.items ? figures.items_offered / figures.items : 0;
      setText(covered, words.shopPage.coverageIs(perCent(share), count(figures.items_offered), count(figures.items)));
      bar.style.setProperty("width", `${100 * share}%`);
      setText(
        cold,
        figures.cold ? words.shopPage.coldAre(count(figures.cold), count(figures.cold_offered)) : words.shopPage.noCold,
      );
      fill(coldList, ...figures.newest_cold.map(coldLine));
      element.dataset["points"] = String(figures.points.length);
    },
    setModel(name) {
      setText(model, name ? words.shopPage.model(name) : "");
    },
  };
}

const perCent = (share: number): string => `${(100 * share).toFixed(1)}\u202f%`;
const inPoints = (share: number | null): string => (share === null ? "–" : signed(100 * share, 1));

function armRow(arm: ArmRow, name: string): HTMLElement {
  const interval =
    arm.ctr_low === null || arm.ctr_high === null ? "" : `${perCent(arm.ctr_low)} – ${perCent(arm.ctr_high)}`;
  const { reference, differs, undecided, pointsMore, spanOf } = words.shopPage;
  const verdict = arm.differs === null ? (arm.experiment ? reference : "–") : arm.differs ? differs : undecided;
  const known = arm.difference !== null && arm.difference_low !== null && arm.difference_high !== null;
  return h(
    "tr",
    { "data-testid": "arm", "data-arm": arm.arm },
    h("th", { scope: "row", title: arm.experiment }, h("bdi", {}, name)),
    h("td", { "data-head": words.shopPage.rows }, count(arm.answers)),
    h("td", { "data-head": words.shopPage.clicks }, count(arm.clicks)),
    h("td", { "data-head": words.shopPage.rate }, perCent(arm.ctr), second(interval)),
    h(
      "td",
      { "data-head": words.shopPage.against },
      known ? pointsMore(inPoints(arm.difference)) : verdict,
      known && second(`${spanOf(inPoints(arm.difference_low), inPoints(arm.difference_high))} · ${verdict}`),
    ),
  );
}

const second = (text: string): HTMLElement => h("span", { class: "arm-second muted small" }, text);

function coldLine({ item, offered }: ShopFigures["newest_cold"][number]): HTMLElement {
  return h(
    "li",
    { class: "cold-line" },
    h("bdi", { class: "cold-title", title: titleOf(item) }, titleOf(item)),
    h("bdi", { class: "muted small cold-category" }, leafOf(item.category)),
    h(
      "span",
      { class: offered ? "small" : "muted small" },
      offered ? words.shopPage.wasOffered : words.shopPage.notOffered,
    ),
  );
}
