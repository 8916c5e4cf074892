/** `/`: all matches at a glance. Answers one question: where should we look? */

import "../styles/wall.css";

import { WALL_STREAM } from "../api.ts";
import type { BrokerState, MatchList, MatchSummary, WallDelta } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { titleName, words } from "../i18n/index.ts";
import { Stream } from "../stream.ts";
import { matchCard, type Card } from "../views/card.ts";
import { foot } from "../views/foot.ts";
import { header } from "../views/header.ts";
import { wallControls } from "../views/wall_controls.ts";
import { ranked } from "../wall_order.ts";

const SPARK_POINTS = 60;
/** Cards change places at most this often, and never under the viewer's hand. */
const SETTLE_MS = 3000;

export function page(root: HTMLElement): void {
  const matches = new Map<string, MatchSummary>();
  const cards = new Map<string, Card>();
  const counts = h("h1", { class: "wall-counts" });
  const message = h("p", { class: "wall-message muted", role: "status" });
  const grid = h("ul", { class: "wall-grid" });
  const controls = wallControls(() => arrange(true));
  const top = header("wall");
  let arrangedAt = 0;

  root.append(
    top.element,
    h("main", { class: "wall" }, h("div", { class: "wall-head" }, counts, controls.element), message, grid),
    foot(),
  );
  setText(message, words.connecting);

  function put(match: MatchSummary): void {
    matches.set(match.id, match);
    let card = cards.get(match.id);
    if (!card) {
      card = matchCard(match);
      cards.set(match.id, card);
    }
    card.set(match);
  }

  function drop(id: string): void {
    matches.delete(id);
    cards.get(id)?.element.remove();
    cards.delete(id);
  }

  function arrange(now: boolean): void {
    const all = [...matches.values()];
    const live = all.filter((match) => match.status === "live").length;
    const ended = all.length - live;
    setText(counts, [words.liveCount(live), ended ? words.endedCount(ended) : ""].filter(Boolean).join(" · "));
    controls.setChoices(
      new Map(all.map((match) => [match.title, titleName(match)])),
      new Set(all.map((match) => match.league).filter(Boolean)),
    );
    const order = ranked(all.filter(controls.fits), controls.order()).map((match) => cards.get(match.id)!.element);
    setText(message, order.length ? "" : all.length ? words.noneFits : words.noMatches);
    message.hidden = order.length > 0;
    const shown = [...grid.children];
    const same = shown.length === order.length && shown.every((element, index) => element === order[index]);
    const inHand = grid.matches(":hover, :focus-within") && shown.length === order.length;
    if (same || (!now && (inHand || Date.now() - arrangedAt < SETTLE_MS))) return;
    arrangedAt = Date.now();
    grid.replaceChildren(...order);
  }

  const stream: Stream = new Stream({
    path: WALL_STREAM,
    onLink: (state) => {
      top.setLink(state);
      if (state === "connecting" && matches.size === 0) setText(message, words.waitingForGateway);
    },
    on: {
      snapshot: (data) => {
        const list = data as MatchList;
        const kept = new Set(list.matches.map((match) => match.id));
        for (const id of [...matches.keys()]) if (!kept.has(id)) drop(id);
        top.setBroker(list.broker);
        list.matches.forEach(put);
        arrange(matches.size !== grid.childElementCount);
      },
      match: (data) => {
        put(data as MatchSummary);
        arrange(true);
      },
      delta: (data) => {
        const delta = data as WallDelta;
        const known = matches.get(delta.id);
        if (!known) return;
        put(merged(known, delta));
        arrange(false);
      },
      gone: (data) => {
        drop((data as { id: string }).id);
        arrange(true);
      },
      state: (data) => top.setBroker(data as BrokerState),
    },
  });
  addEventListener("pagehide", () => stream.close());
  setInterval(() => arrange(false), SETTLE_MS);
}

function merged(known: MatchSummary, delta: WallDelta): MatchSummary {
  const before = delta.attempt > known.attempt ? [] : known.spark;
  return { ...known, ...delta, spark: [...before, ...delta.spark].slice(-SPARK_POINTS) };
}
