/**
 * `/overlay/{id}?w=&h=&theme=&parts=&lang=`: over video, in a browser source.
 *
 * It never says that something is wrong: it holds the last answer, and fades when that has grown too old to be shown.
 * What is not a live match is named as such, always.
 */

import "../styles/overlay.css";

import { fetchMatch, matchStream } from "../api.ts";
import type { Groups, InsightMessage, MatchDetail, State, StateMessage } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { percentNumber } from "../format.ts";
import { commentary, groupName, leader, sideName, teamName, words } from "../i18n/index.ts";
import { overlayBox, overlayParts } from "../overlay_settings.ts";
import { Stream } from "../stream.ts";
import { weightiest } from "../timeline.ts";
import { duel } from "../views/duel.ts";
import { stateChip } from "../views/state.ts";

const FADE_AFTER_MS = 15_000;
const RETRY_MS = 2000;
const REASONS = 3;

/** The last answer, as far as the overlay shows it. */
type Shown = Pick<
  MatchDetail,
  | "state"
  | "status"
  | "delay_s"
  | "causes"
  | "origin"
  | "p"
  | "winner"
  | "commentary_en"
  | "commentary_zh"
  | "attempt"
  | "title"
  | "title_name"
  | "sides"
  | "teams"
> & { contributions: Groups | null };

export async function page(root: HTMLElement, id: string): Promise<void> {
  const view = overlayView(root);
  const detail = await firstLoad(id);
  let shown: Shown = { ...detail, contributions: detail.curve.at(-1)?.contributions ?? null };
  let heardAt = Date.now();
  let linked = true;

  const show = (changes: Partial<Shown>): void => {
    shown = { ...shown, ...changes };
    view.set(shown);
  };
  show({});

  const reload = async (): Promise<void> => {
    const fresh = await fetchMatch(id).catch(() => null);
    if (!fresh) return;
    show({ ...fresh, contributions: fresh.curve.at(-1)?.contributions ?? null });
    stream.seen(fresh.last_id);
  };
  const stream = new Stream({
    path: matchStream(id),
    lastId: detail.last_id,
    onLink: (state) => (linked = state === "open"),
    onReopen: () => void reload(),
    on: {
      insight: (data) => {
        const message = data as InsightMessage;
        const { state, status, delay_s, causes, p, winner, attempt, contributions, ...said } = message;
        if (attempt < shown.attempt) return;
        const spoken = said.commentary_en
          ? { commentary_en: said.commentary_en, commentary_zh: said.commentary_zh }
          : {};
        show({ state, status, delay_s, causes, p, winner, attempt, contributions, ...spoken });
      },
      result: () => void reload(),
      state: (data) => {
        const { state, delay_s, causes } = data as StateMessage;
        show({ state, delay_s, causes });
      },
      resync: () => void reload(),
      event: () => undefined,
    },
  });
  addEventListener("pagehide", () => stream.close());

  setInterval(() => {
    const fresh = linked && (shown.status !== "live" || shown.delay_s * 1000 < FADE_AFTER_MS);
    if (fresh) heardAt = Date.now();
    view.fade(Date.now() - heardAt >= FADE_AFTER_MS);
  }, 500);
}

/** Waits, invisibly, until the match is there. */
async function firstLoad(id: string): Promise<MatchDetail> {
  for (;;) {
    const detail = await fetchMatch(id).catch(() => null);
    if (detail) return detail;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

const originState = (origin: string): State => (origin === "simulated" || origin === "replay" ? origin : "live");

function overlayView(root: HTMLElement): { set: (match: Shown) => void; fade: (out: boolean) => void } {
  const query = new URLSearchParams(location.search);
  const parts = overlayParts(query.get("parts"));
  const bar = duel();
  const state = stateChip();
  const about = h("span", { class: "overlay-about", role: "img", "aria-label": words.state.degraded }, "≈");
  about.hidden = true;
  const sides = (["A", "B"] as const).map((name) => {
    const number = h("span");
    const unit = h("span", { class: "overlay-unit" }, "%");
    const side = h("span", { class: "overlay-side" });
    const team = h("span", { class: "overlay-team" });
    const element = h(
      "div",
      { class: `overlay-half side-${name.toLowerCase()}` },
      h("span", { class: "overlay-number" }, number, unit),
      h("span", { class: "overlay-names" }, team, side),
    );
    return { name, number, unit, side, team, element };
  });
  const reasons = h("p", { class: "overlay-reasons" });
  const sentence = h("p", { class: "overlay-sentence" });
  const element = h(
    "main",
    { class: "overlay", "data-testid": "overlay-bar" },
    h(
      "div",
      { class: "overlay-halves" },
      sides[0]!.element,
      h("span", { class: "overlay-state" }, about, state.element),
      sides[1]!.element,
    ),
    bar.element,
    parts.has("reasons") ? reasons : null,
    parts.has("sentence") ? sentence : null,
  );
  element.classList.add("out");
  root.append(element);

  const fit = (): void => {
    const box = overlayBox(query, parts, { width: innerWidth, height: innerHeight });
    element.style.setProperty("--scale", String(box.scale));
    element.style.width = `${box.width}px`;
  };
  fit();
  addEventListener("resize", fit);

  return {
    set(match) {
      if (match.p === null) return;
      element.classList.remove("out");
      const ahead = match.winner ?? leader(match.p).side;
      element.dataset["p"] = match.p.toFixed(4);
      bar.set(match.winner ? Number(match.winner === "A") : match.p);
      // Quiet on air: where the answer is less sure than it should be, one sign says so, and no sentence.
      about.hidden = match.causes.length === 0 || match.status !== "live";
      state.set(match.state === "degraded" ? { ...match, state: originState(match.origin) } : match);
      state.element.hidden = state.element.dataset["state"] === "live" || match.winner !== null;
      for (const { name, number, unit, side, team, element: half } of sides) {
        const own = percentNumber(name === "A" ? match.p : 1 - match.p);
        const over = match.status !== "live";
        setText(number, over ? (match.winner === name ? words.won : "") : own);
        unit.hidden = over;
        setText(team, teamName(match, name));
        setText(side, match.teams[name === "A" ? 0 : 1] ? sideName(match, name) : "");
        half.classList.toggle("ahead", name === ahead);
      }
      const known = match.contributions;
      const strongest = known ? weightiest(known).slice(0, REASONS) : [];
      reasons.replaceChildren(
        ...strongest.map(({ group, change }) => {
          const side = change > 0 ? "A" : "B";
          return h(
            "span",
            { class: `side-${side.toLowerCase()}` },
            side === "A" ? "◀ " : "",
            groupName(group),
            side === "B" ? " ▶" : "",
          );
        }),
      );
      setText(sentence, commentary(match) ?? "");
    },
    fade(out) {
      if (element.dataset["p"]) element.classList.toggle("out", out);
    },
  };
}
