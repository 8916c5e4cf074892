/** The one number: who is ahead, by how much, which way it goes; and the sentence to say. */

import type { CurvePoint, MatchSummary } from "../contract.ts";
import { h, setName, setText } from "../dom.ts";
import { clock, percentNumber, points } from "../format.ts";
import { leader, sideName, teamName, words } from "../i18n/index.ts";
import { duel } from "./duel.ts";
import { causeWords } from "./state.ts";

export interface Headline {
  element: HTMLElement;
  set: (
    match: MatchSummary,
    point: CurvePoint | undefined,
    sentence: { text: string; point: CurvePoint } | undefined,
  ) => void;
}

const LEAST_TREND = 0.005;

export function headline(): Headline {
  const side = h("span", { class: "headline-side" });
  const team = h("span", { class: "headline-team muted" });
  const number = h("span", { class: "headline-number" });
  const unit = h("span", { class: "headline-unit", "aria-hidden": "true" }, "\u202f%");
  const value = h("p", { class: "headline-p", "data-testid": "headline-p" }, number, unit);
  const arrow = h("span", { class: "arrow", role: "img" });
  const trend = h("p", { class: "headline-trend muted" });
  const bar = duel();
  const names = (["A", "B"] as const).map((name) => h("span", { class: `side-${name.toLowerCase()}` }));
  const sentence = h("p", { class: "sentence", "data-testid": "sentence", "aria-live": "polite" });
  const said = h("p", { class: "muted small" });
  const cause = h("p", { class: "notice small", role: "status", "data-testid": "cause" });
  const element = h(
    "section",
    { class: "panel headline" },
    h("p", { class: "headline-who" }, side, team),
    h("div", { class: "headline-row" }, value, arrow),
    trend,
    bar.element,
    h("p", { class: "headline-names small" }, ...names),
    cause,
    sentence,
    said,
  );

  return {
    element,
    set(match, point, spoken) {
      names.forEach((name, index) => setName(name, teamName(match, index === 0 ? "A" : "B")));
      setText(cause, causeWords(match));
      cause.hidden = !cause.textContent;
      setText(sentence, spoken?.text ?? words.waitingForMoment);
      sentence.classList.toggle("muted", !spoken);
      setText(said, spoken ? words.saidAt(clock(spoken.point.clock_s)) : "");
      const p = point?.p ?? match.p;
      value.hidden = arrow.hidden = p === null;
      setText(side, words.noAnswerYet);
      if (p === null) return;
      const over = match.status === "ended" && match.winner ? match.winner : null;
      const ahead = over ? { side: over, p: over === "A" ? p : 1 - p } : leader(p);
      const tone = `side-${ahead.side.toLowerCase()}`;
      side.className = `headline-side ${tone}`;
      value.className = `headline-p ${tone}`;
      value.dataset["p"] = p.toFixed(4);
      value.dataset["lastId"] = point?.id ?? "";
      setText(number, percentNumber(ahead.p));
      setText(side, over ? words.wins(sideName(match, over)) : sideName(match, ahead.side));
      setName(team, over ? "" : [match.teams[ahead.side === "A" ? 0 : 1], words.toWin].filter(Boolean).join(" "));
      bar.set(p);
      const towards = (ahead.side === "A" ? 1 : -1) * (point?.delta_p ?? match.delta_p ?? 0);
      const way = Math.abs(towards) < LEAST_TREND ? "steady" : towards > 0 ? "rising" : "falling";
      arrow.hidden = over !== null;
      arrow.dataset["way"] = way;
      arrow.setAttribute("aria-label", words[way]);
      setText(arrow, { rising: "▲", falling: "▼", steady: "→" }[way]);
      const change = way === "steady" ? words.steadyAnswer : words.sinceLastAnswer(points(ahead.p, towards));
      setText(trend, over ? words.lastAnswer : change);
    },
  };
}
