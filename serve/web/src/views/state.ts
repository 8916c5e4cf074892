/** How far to trust what is shown: always in words, as a chip. */

import type { State, Status } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { seconds } from "../format.ts";
import { words } from "../i18n/index.ts";

export interface StateChip {
  element: HTMLElement;
  set: (match: { state: State; status: Status; delay_s: number }) => void;
}

export function stateChip(): StateChip {
  const element = h("span", { class: "chip", "data-testid": "state" });
  return {
    element,
    set(match) {
      element.dataset["state"] = match.state;
      element.title = words.stateHelp[match.state];
      setText(element, stateWords(match));
    },
  };
}

function stateWords({ state, status, delay_s }: { state: State; status: Status; delay_s: number }): string {
  if (status === "void") return words.remade;
  return state === "delayed" ? words.delayedBy(seconds(Math.round(delay_s))) : words.state[state];
}
