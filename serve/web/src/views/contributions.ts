/** Signed reasons: bars left and right of one zero, camp A's to the left, and a sum that is the headline. */

import type { Group, Groups, MatchSummary } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { percent, signed } from "../format.ts";
import { groupName, leader, sideName, words } from "../i18n/index.ts";
import { logit } from "../timeline.ts";

export interface Contributions {
  element: HTMLElement;
  set: (match: MatchSummary, values: Groups, title: string, p: number | null) => void;
}

interface Options {
  groups: readonly Group[];
  /** The sum row says what p follows from it; a change has a sum, but no p. */
  withSum: boolean;
  testId: string | null;
  onGroup: (group: Group | null) => void;
}

/** Bars are full at this many log-odds at least: 1.5 is 82 %. Small differences must look small. */
const LEAST_FULL = 1.5;

export function contributions({ groups, withSum, testId, onGroup }: Options): Contributions {
  const title = h("h2");
  const heads = (["A", "B"] as const).map((side) => h("span", { class: `side-${side.toLowerCase()}` }));
  const rows = groups.map((group) => {
    const row = barRow(groupName(group), testId);
    row.element.dataset["group"] = group;
    row.element.tabIndex = 0;
    for (const name of ["mouseenter", "focus"]) row.element.addEventListener(name, () => onGroup(group));
    for (const name of ["mouseleave", "blur"]) row.element.addEventListener(name, () => onGroup(null));
    return { group, row };
  });
  const sum = barRow(words.sum, null);
  sum.element.classList.add("sum");
  const follows = h("p", { class: "sum-is", "data-testid": withSum ? "contribution-sum" : null });
  const element = h(
    "section",
    { class: "contributions" },
    h(
      "div",
      { class: "panel-head" },
      title,
      h("span", { class: "muted small", title: words.logOddsHelp }, words.logOdds),
    ),
    h("p", { class: "bar-heads small", "aria-hidden": "true" }, ...heads),
    h("ul", {}, ...rows.map(({ row }) => row.element), withSum ? sum.element : null),
    withSum ? follows : null,
  );

  return {
    element,
    set(match, values, text, p) {
      setText(title, text);
      setText(heads[0]!, `${sideName(match, "A")} +`);
      setText(heads[1]!, `− ${sideName(match, "B")}`);
      const total = logit(values);
      const full = Math.max(LEAST_FULL, Math.abs(total), ...groups.map((group) => Math.abs(values[group])));
      for (const { group, row } of rows) row.set(values[group], full);
      sum.set(total, full);
      element.dataset["sum"] = total.toFixed(4);
      if (p === null) return;
      const ahead = leader(p);
      follows.className = `sum-is side-${ahead.side.toLowerCase()}`;
      setText(follows, words.sumIs(sideName(match, ahead.side), percent(ahead.p)));
    },
  };
}

function barRow(
  name: string,
  testId: string | null,
): { element: HTMLLIElement; set: (value: number, full: number) => void } {
  const a = h("i", { class: "fill-a" });
  const b = h("i", { class: "fill-b" });
  const number = h("span", { class: "bar-number" });
  const element = h(
    "li",
    { class: "bar-row", "data-testid": testId },
    h("span", { class: "bar-name" }, name),
    h("span", { class: "bar", "aria-hidden": "true" }, h("span", {}, a), h("span", {}, b)),
    number,
  );
  return {
    element,
    set(value, full) {
      const share = `${((Math.abs(value) / full) * 100).toFixed(1)}%`;
      a.style.width = value > 0 ? share : "0";
      b.style.width = value < 0 ? share : "0";
      element.dataset["value"] = value.toFixed(4);
      number.className = `bar-number ${value > 0.004 ? "side-a" : value < -0.004 ? "side-b" : "muted"}`;
      setText(number, signed(value));
    },
  };
}
