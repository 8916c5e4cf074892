/** The line at the foot of a match: what the page shows, and what its weights know. */

import type { MatchSummary } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { titleName, words } from "../i18n/index.ts";
import { docsLink } from "./foot.ts";

export interface Provenance {
  element: HTMLElement;
  set: (match: MatchSummary) => void;
}

export function provenance(): Provenance {
  const state = h("span", { "data-testid": "footer-state" });
  const trained = h("span", { "data-testid": "trained-on" });
  const model = h("span");
  const element = h("footer", { class: "provenance muted small" }, state, trained, model, docsLink());
  return {
    element,
    set(match) {
      const patch = match.patch ? `${words.patch} ${match.patch}` : "";
      const origin = match.origin === "simulated" ? "simulated" : match.origin === "replay" ? "replay" : match.state;
      setText(state, [titleName(match), match.league, patch, words.stateHelp[origin]].filter(Boolean).join(" · "));
      setText(trained, match.model?.trained_on ? words.trainedOn(match.model.trained_on) : words.trainedOnUnknown);
      setText(model, match.model ? `${match.model.name} ${match.model.version} · ${match.model.weight_hash}` : "");
    },
  };
}
