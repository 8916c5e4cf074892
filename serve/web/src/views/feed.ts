/** The event log, newest first. Hovering a line lights its mark on the curve, and the other way round. */

import type { EventEntry, MatchSummary } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { toldOnce } from "../event_log.ts";
import { clock, timeOfDay } from "../format.ts";
import { momentName, words } from "../i18n/index.ts";
import { lang } from "../settings.ts";

export interface Feed {
  element: HTMLElement;
  set: (match: MatchSummary, events: readonly EventEntry[]) => void;
  /** Lights the events between two clocks, in seconds, the first not included; null puts the lights out. */
  light: (span: { after_s: number; until_s: number } | null) => void;
}

/** The page shows the newest; a long match has several hundred. */
const SHOWN = 200;

export function feed(onEvent: (event: EventEntry | null) => void): Feed {
  const list = h("ol", { class: "feed-list" });
  const none = h("p", { class: "muted" }, words.noEvents);
  const element = h("section", { class: "panel feed" }, h("h2", {}, words.eventLog), none, list);
  const rows = new Map<string, { element: HTMLElement; event: EventEntry }>();

  function row(match: MatchSummary, event: EventEntry): HTMLElement {
    const time = timeOfDay(event.event_time_ms);
    const line = h(
      "li",
      { class: "feed-row", "data-testid": "event-row", "data-id": event.id, "data-side": event.side, tabindex: 0 },
      h(
        "time",
        { datetime: new Date(event.event_time_ms).toISOString(), title: `${time.local} · ${time.utc}` },
        clock(event.clock_s),
      ),
      h("span", {}, eventWords(match, event)),
    );
    for (const name of ["mouseenter", "focus"]) line.addEventListener(name, () => onEvent(event));
    for (const name of ["mouseleave", "blur"]) line.addEventListener(name, () => onEvent(null));
    return line;
  }

  return {
    element,
    set(match, events) {
      const shown = toldOnce(events).slice(-SHOWN);
      const kept = new Set(shown.map((event) => event.id));
      for (const [id, known] of rows) {
        if (kept.has(id)) continue;
        known.element.remove();
        rows.delete(id);
      }
      // Newest on top: each line goes before the one that is older than it.
      let older: HTMLElement | null = null;
      for (const event of shown) {
        let known = rows.get(event.id);
        if (!known) {
          known = { element: row(match, event), event };
          rows.set(event.id, known);
        }
        if (known.element.nextElementSibling !== older || !known.element.isConnected)
          list.insertBefore(known.element, older);
        older = known.element;
      }
      none.hidden = shown.length > 0;
      setText(none, words.noEvents);
    },
    light(span) {
      let first: HTMLElement | null = null;
      for (const { element: line, event } of rows.values()) {
        const on = span !== null && event.clock_s > span.after_s && event.clock_s <= span.until_s;
        line.classList.toggle("lit", on);
        if (on) first = line;
      }
      // Only the list may scroll for it, never the page.
      if (first) list.scrollTop = first.offsetTop - list.offsetTop - list.clientHeight / 3;
    },
  };
}

/** The gateway speaks English; in Chinese the line is made from its parts. */
function eventWords(match: MatchSummary, event: EventEntry): string {
  if (lang === "en") return event.text;
  if (event.kind === "start") return words.kickoff;
  if (event.kind === "remake") return words.noWinner;
  if (event.kind === "end" && event.side) return words.wins(momentSide(match, event));
  if (!event.side || !event.subject) return event.text;
  const text = momentName(match, { moment: `${event.side}:${event.subject}`, top_reason: "" });
  return event.count > 1 ? `${text} ×${event.count}` : text;
}

const momentSide = (match: MatchSummary, event: EventEntry): string =>
  words.sides[match.sides[event.side === "A" ? 0 : 1]] ?? match.sides[event.side === "A" ? 0 : 1];
