/** How far to trust what is shown: always in words, as a chip; and why it is less than one would wish, as a sentence. */

import type { Cause, State, Status } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { seconds } from "../format.ts";
import { words } from "../i18n/index.ts";

interface Trusted {
  state: State;
  status: Status;
  delay_s: number;
  origin: string;
}

export interface StateChip {
  element: HTMLElement;
  set: (match: Trusted) => void;
}

export function stateChip(): StateChip {
  const element = h("span", { class: "chip", "data-testid": "state" });
  return {
    element,
    set(match) {
      element.dataset["state"] = match.state;
      element.title = words.stateHelp[match.state];
      setText(element, [origin(match), stateWords(match)].filter(Boolean).join(" · "));
    },
  };
}

/** A match that is not a live one is named as such whatever else is to be said about it. */
function origin(match: Trusted): string {
  if (match.origin !== "simulated" && match.origin !== "replay") return "";
  return match.origin === match.state ? "" : words.state[match.origin];
}

function stateWords({ state, status, delay_s }: Trusted): string {
  if (status === "void") return words.remade;
  return state === "delayed" ? words.delayedBy(seconds(Math.round(delay_s))) : words.state[state];
}

/** Why answers are degraded, a sentence for each cause; empty where they are not, or no longer matter. */
export function causeWords({ causes, status }: { causes: readonly Cause[]; status: Status }): string {
  const matters = status === "live" ? causes : causes.filter((cause) => cause !== "pipeline" && cause !== "starting");
  return matters.map((cause) => words.cause[cause]).join(" ");
}
