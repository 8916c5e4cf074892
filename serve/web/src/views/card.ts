/** A match on the wall: one number, one reason, one line of history. */

import { writtenId } from "../address.ts";
import type { MatchSummary, Side } from "../contract.ts";
import { h, setName, setText } from "../dom.ts";
import { clock, percent, points } from "../format.ts";
import { commentary, groupName, leader, sideName, teamName, shortTitleName, words } from "../i18n/index.ts";
import { link } from "../settings.ts";
import { duelSpark } from "../charts/spark.ts";
import { duel } from "./duel.ts";
import { causeWords, stateChip } from "./state.ts";

export interface Card {
  element: HTMLElement;
  set: (match: MatchSummary) => void;
}

export function matchCard(match: MatchSummary): Card {
  const state = stateChip();
  const time = h("span", { class: "muted small" });
  const side = h("span", { class: "card-side" });
  const p = h("span", { class: "card-p" });
  const delta = h("span", { class: "card-delta muted" });
  const teams = (["A", "B"] as const).map((name) => h("span", { class: `card-team side-${name.toLowerCase()}` }));
  const spark = duelSpark();
  const bar = duel();
  const reason = h("span", { class: "card-reason" });
  const why = h("span", { class: "card-why small" }, h("span", { class: "muted" }, words.topReason), reason);
  const cause = h("p", { class: "notice small", "data-testid": "card-cause" });
  const sentence = h("p", { class: "card-sentence muted" });
  const league = h("span", { class: "muted small card-league" });
  const anchor = h(
    "a",
    {
      class: "panel card",
      href: link(`/matches/${writtenId(match.id)}`),
      "data-testid": "wall-card",
      "data-id": match.id,
    },
    h("span", { class: "card-line" }, league, time, state.element),
    h("span", { class: "card-line card-teams" }, ...teams),
    bar.element,
    h(
      "span",
      { class: "card-line card-main" },
      h("span", { class: "card-number" }, side, p, delta),
      h("span", { class: "card-spark" }, spark.element),
    ),
    why,
    cause,
    sentence,
  );

  return {
    element: h("li", {}, anchor),
    set(next) {
      state.set(next);
      setText(league, [shortTitleName(next), next.league].filter(Boolean).join(" · "));
      setText(time, next.clock_s === null ? "" : clock(next.clock_s));
      teams.forEach((element, index) => setName(element, teamName(next, index === 0 ? "A" : "B")));
      const ahead = leader(next.p ?? 0.5);
      const shown: Side = next.winner ?? ahead.side;
      bar.set(next.p ?? 0.5);
      spark.set(next.spark);
      anchor.dataset["ended"] = String(next.status !== "live");
      anchor.dataset["lastId"] = next.last_id ?? "";
      side.className = `card-side side-${shown.toLowerCase()}`;
      p.className = `card-p side-${shown.toLowerCase()}`;
      setText(side, headline(next, shown));
      setText(p, next.p === null || next.status !== "live" ? "" : percent(ahead.p));
      const towards = next.delta_p === null ? 0 : ahead.side === "A" ? next.delta_p : -next.delta_p;
      setText(delta, next.status === "live" && Math.abs(towards) >= 0.005 ? points(ahead.p, towards) : "");
      setText(reason, next.top_reason && next.status === "live" ? groupName(next.top_reason) : "");
      why.hidden = !reason.textContent;
      setText(cause, causeWords(next));
      cause.hidden = !cause.textContent;
      const said = commentary(next);
      const when = next.commentary_clock_s === null ? "" : `${clock(next.commentary_clock_s)} `;
      setText(sentence, said === null ? "" : when + said);
      sentence.title = said ?? "";
    },
  };
}

function headline(match: MatchSummary, shown: Side): string {
  if (match.status === "void") return words.noWinner;
  if (match.status === "ended") return words.wins(sideName(match, shown));
  return match.p === null ? words.noAnswerYet : sideName(match, shown);
}
