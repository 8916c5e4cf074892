/** One verdict in words, and one tile for each thing that the platform stands on. */

import type { Ops, Part } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { count, timeOfDay } from "../format.ts";
import { words } from "../i18n/index.ts";

export interface HealthView {
  element: HTMLElement;
  set: (ops: Ops) => void;
  /** What is shown is of the past: the gateway does not answer. */
  setStale: (stale: boolean) => void;
}

export function healthView(): HealthView {
  const verdict = h("h1", { class: "verdict", role: "status" }, words.connecting);
  const reasons = h("ul", { class: "verdict-reasons" });
  const time = h("time", { class: "muted small" });
  const tiles = h("ul", { class: "tiles" });
  const known = new Map<string, { chip: HTMLElement; text: HTMLElement }>();
  const element = h("section", { class: "health" }, h("div", { class: "verdict-line" }, verdict, time), reasons, tiles);

  function tile(part: Part): { chip: HTMLElement; text: HTMLElement } {
    const found = known.get(part.name);
    if (found) return found;
    const made = { chip: h("span", { class: "chip" }), text: h("p", { class: "muted small" }) };
    known.set(part.name, made);
    const name = h("h2", {}, words.parts[part.name] ?? part.name);
    tiles.append(
      h(
        "li",
        { class: "panel tile", "data-part": part.name },
        h("div", { class: "panel-head" }, name, made.chip),
        made.text,
      ),
    );
    return made;
  }

  return {
    element,
    set(ops) {
      const now = timeOfDay(ops.time_ms);
      setText(time, now.local);
      time.title = now.utc;
      verdict.dataset["healthy"] = String(ops.healthy);
      setText(verdict, ops.healthy ? words.allWell : words.needsYou);
      const lines = ops.reasons.join("\n");
      if (reasons.dataset["lines"] !== lines) {
        reasons.dataset["lines"] = lines;
        reasons.replaceChildren(...ops.reasons.map((reason) => h("li", {}, reason)));
      }
      for (const part of ops.parts) {
        const { chip, text } = tile(part);
        // Red is for what needs a person. A part that is away while answers still flow comes back by itself.
        const away = ops.healthy ? "delayed" : "bad";
        chip.dataset["state"] = part.ok === null ? "ended" : part.ok ? "live" : away;
        setText(chip, part.ok === null ? words.partUnknown : part.ok ? words.partOk : words.partBad);
        setText(text, part.name === "gateway" ? gatewayWords(ops, part) : part.text);
      }
    },
    setStale(stale) {
      element.classList.toggle("stale", stale);
    },
  };
}

function gatewayWords(ops: Ops, part: Part): string {
  const { matches, streams, bad_records } = ops.gateway;
  const figures = [words.matchesKept(count(matches)), words.streams(count(streams))];
  if (bad_records) figures.push(words.badRecords(count(bad_records)));
  return part.ok ? figures.join(" · ") : part.text;
}
