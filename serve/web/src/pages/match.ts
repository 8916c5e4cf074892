/** `/matches/{id}`: one match. Left what to say, centre what happened, right why. */

import "../styles/match.css";

import { fetchMatch, matchStream, Refused } from "../api.ts";
import { curve, tip } from "../charts/curve.ts";
import { stack } from "../charts/stack.ts";
import {
  GROUPS,
  type CurvePoint,
  type EventEntry,
  type Group,
  type InsightMessage,
  type MatchDetail,
  type MatchSummary,
  type Result,
  type StateMessage,
} from "../contract.ts";
import { h, hiddenTable, setName, setText } from "../dom.ts";
import { clock, percent, points as pointsText, signed } from "../format.ts";
import { commentary, groupName, leader, momentName, sideName, teamName, words } from "../i18n/index.ts";
import { link } from "../settings.ts";
import { Stream } from "../stream.ts";
import { difference, Timeline, weightiest } from "../timeline.ts";
import { contributions } from "../views/contributions.ts";
import { feed } from "../views/feed.ts";
import { header, type Header } from "../views/header.ts";
import { headline } from "../views/headline.ts";
import { provenance } from "../views/provenance.ts";
import { resultView } from "../views/result.ts";
import { stateChip } from "../views/state.ts";

const RETRY_MS = 2000;

export async function page(root: HTMLElement, id: string): Promise<void> {
  const top = header(null);
  const waiting = h("main", { class: "empty" }, h("p", { class: "muted", role: "status" }, words.connecting));
  root.append(top.element, waiting);
  const detail = await firstLoad(id, () => setText(waiting.firstElementChild!, words.waitingForGateway));
  waiting.remove();
  if (!detail) {
    top.setLink("open");
    root.append(missing());
    return;
  }
  const view = matchView(root, top, detail);
  view.load(detail);
  const reload = async (): Promise<MatchDetail | null> => {
    const fresh = await fetchMatch(id).catch(() => null);
    if (fresh) view.load(fresh);
    return fresh;
  };
  const stream = new Stream({
    path: matchStream(id),
    lastId: detail.last_id,
    onLink: top.setLink,
    onReopen: () => void reload(),
    on: {
      insight: (data) => {
        // A restarted match: its events begin anew as well.
        if (view.insight(data as InsightMessage) === "restarted") void reload();
      },
      event: (data) => view.event(data as EventEntry),
      result: (data) => view.result(data as Result),
      state: (data) => view.state(data as StateMessage),
      resync: () => void reload().then((fresh) => fresh && stream.resumeFrom(fresh.last_id)),
    },
  });
  addEventListener("pagehide", () => stream.close());
}

/** Waits for a gateway that is not there yet; null where the match is not there. */
async function firstLoad(id: string, onWait: () => void): Promise<MatchDetail | null> {
  for (;;) {
    try {
      return await fetchMatch(id);
    } catch (error) {
      if (error instanceof Refused && error.status < 500) return null;
      onWait();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

function missing(): HTMLElement {
  return h(
    "main",
    { class: "empty" },
    h("p", {}, words.matchMissing),
    h("p", { class: "muted" }, words.matchMissingHelp),
    h("a", { class: "button", href: link("/") }, words.toWall),
  );
}

interface MatchView {
  load: (detail: MatchDetail) => void;
  insight: (message: InsightMessage) => "known" | "added" | "restarted";
  event: (event: EventEntry) => void;
  result: (result: Result) => void;
  state: (message: StateMessage) => void;
}

function matchView(root: HTMLElement, top: Header, first: MatchDetail): MatchView {
  const timeline = new Timeline();
  const groups = GROUPS.filter((group) => first.groups.includes(group)) as Group[];
  let match: MatchSummary = first;
  let result: Result | null = null;
  let queued = false;

  const state = stateChip();
  const time = h("span", { class: "muted match-clock" });
  const names = (["A", "B"] as const).map((side) => h("span", { class: `side-${side.toLowerCase()}` }));
  top.middle.append(
    h("h1", { class: "match-title" }, names[0]!, h("span", { class: "muted" }, "–"), names[1]!),
    time,
    state.element,
  );

  const head = headline();
  const log = feed((event) => {
    drawn.lightEvent(event);
    drawn.point(event ? timeline.nearest(event.clock_s) : null);
  });
  const outcome = resultView((clock_s) => drawn.point(clock_s === null ? null : timeline.nearest(clock_s)));
  const light = (group: Group | null): void => stacked.light(group);
  const now = contributions({ groups, withSum: true, testId: "contribution-row", onGroup: light });
  const since = contributions({ groups, withSum: false, testId: "since-row", onGroup: light });
  const foot = provenance();
  const curveHost = h("div", {
    class: "chart curve",
    "data-testid": "curve",
    role: "application",
    "aria-roledescription": words.curveTitle,
  });
  const stackHost = h("div", { class: "chart stack", role: "application", "aria-roledescription": words.stackTitle });
  const curveTable = hiddenTable(words.curveTitle);
  const stackTable = hiddenTable(words.stackTitle);

  root.append(
    h(
      "main",
      { class: "match" },
      h("div", { class: "match-left" }, head.element, outcome.element, log.element),
      h(
        "section",
        { class: "panel match-centre" },
        h("h2", {}, words.curveTitle),
        curveHost,
        curveTable.element,
        h(
          "div",
          { class: "panel-head" },
          h("h2", {}, words.stackTitle),
          h("span", { class: "muted small stack-hint" }, words.stackHint),
        ),
        stackHost,
        stackTable.element,
      ),
      h("div", { class: "panel match-right" }, now.element, since.element),
    ),
    foot.element,
  );

  const hover = tip(curveHost);
  const drawn = curve({
    host: curveHost,
    sideNames: [sideName(match, "A"), sideName(match, "B")],
    label: (point) => momentName(match, point),
    value: (point) => percent(leader(point.p).p),
    onPoint: show,
  });
  const stacked = stack({ host: stackHost, groups, name: groupName });
  curveHost.setAttribute("aria-label", `${words.curveTitle}. ${words.curveHelp}`);
  stackHost.setAttribute("aria-label", `${words.stackTitle}. ${words.curveHelp}`);

  function show(index: number | null, left_px: number): void {
    const point = index === null ? undefined : timeline.points[index];
    if (!point) {
      hover.hide();
      log.light(null);
      return;
    }
    hover.show(answerLines(point), left_px, left_px > curveHost.clientWidth / 2);
    log.light({ after_s: timeline.points[index! - 1]?.clock_s ?? -Infinity, until_s: point.clock_s });
  }

  /** One answer in words, for the box at the cursor. */
  function answerLines(point: CurvePoint): string[] {
    const ahead = leader(point.p);
    const towards = ahead.side === "A" ? point.delta_p : -point.delta_p;
    return [
      `${clock(point.clock_s)} · ${sideName(match, ahead.side)} ${percent(ahead.p)} (${pointsText(ahead.p, towards)})`,
      ...(point.key_moment ? [momentName(match, point)] : []),
      ...weightiest(point.changes)
        .slice(0, 3)
        .map(
          ({ group, change }) =>
            `${groupName(group)} ${signed(change)} ${words.forSide(sideName(match, change > 0 ? "A" : "B"))}`,
        ),
      ...(point.flags.includes("late") ? [words.late] : []),
      ...(point.flags.includes("degraded") ? [words.byBaseline] : []),
    ];
  }

  /** Draws once for all messages that arrive together, as after a gap. */
  function draw(): void {
    if (queued) return;
    queued = true;
    // Not requestAnimationFrame: a page in the background must keep up too.
    setTimeout(() => {
      queued = false;
      drawNow();
    });
  }

  function drawNow(): void {
    const point = timeline.last;
    document.title = title(point);
    names.forEach((name, index) => setName(name, teamName(match, index === 0 ? "A" : "B")));
    setText(time, match.clock_s === null ? "" : clock(match.clock_s));
    state.set(match);
    head.set(match, point, timeline.sentence(commentary));
    outcome.set(match, result);
    foot.set(match);
    log.set(match, timeline.events);
    drawn.set(timeline.points, timeline.events);
    stacked.set(timeline.points);
    if (!point) return;
    const moment = timeline.lastKeyMoment()!;
    const sinceText = moment.key_moment
      ? words.sinceMoment(momentName(match, moment), clock(moment.clock_s))
      : words.sinceStart;
    now.set(match, point.contributions, match.status === "live" ? words.whyNow : words.whyEnd, point.p);
    since.set(match, difference(point.contributions, moment.contributions), sinceText, null);
    curveTable.set(
      [words.clock, words.chance, words.change, words.reason],
      timeline.points.map((one) => [
        clock(one.clock_s),
        `${sideName(match, leader(one.p).side)} ${percent(leader(one.p).p)}`,
        pointsText(one.p, one.delta_p),
        one.key_moment ? momentName(match, one) : groupName(one.top_reason),
      ]),
    );
    stackTable.set(
      [words.clock, ...groups.map(groupName)],
      timeline.points.map((one) => [clock(one.clock_s), ...groups.map((group) => signed(one.contributions[group]))]),
    );
  }

  function title(point: CurvePoint | undefined): string {
    const versus = `${teamName(match, "A")} – ${teamName(match, "B")}`;
    return point ? `${sideName(match, leader(point.p).side)} ${percent(leader(point.p).p)} · ${versus}` : versus;
  }

  return {
    load(detail) {
      match = detail;
      top.setBroker(detail.broker);
      result = detail.result;
      timeline.load(detail.curve, detail.events);
      draw();
    },
    insight(message) {
      if (!timeline.addPoint(message)) return "known";
      const { state: trust, status, winner, delay_s, causes, clock_s, p, delta_p, attempt } = message;
      const restarted = attempt > match.attempt;
      if (restarted) result = null;
      match = { ...match, state: trust, status, winner, delay_s, causes, clock_s, p, delta_p, attempt };
      draw();
      return restarted ? "restarted" : "added";
    },
    event(event) {
      if (timeline.addEvent(event)) draw();
    },
    result(next) {
      result = next;
      draw();
    },
    state(message) {
      top.setBroker(message.broker);
      const { state: trust, delay_s, causes, model } = message;
      match = { ...match, state: trust, delay_s, causes, model };
      state.set(match);
      foot.set(match);
      head.set(match, timeline.last, timeline.sentence(commentary));
    },
  };
}
