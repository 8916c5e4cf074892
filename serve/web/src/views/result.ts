/** After the end: who won, the biggest swings, a link to share. */

import type { MatchSummary, Result, Swing } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { clock, points } from "../format.ts";
import { momentName, sideName, words } from "../i18n/index.ts";
import { link } from "../settings.ts";

export interface ResultView {
  element: HTMLElement;
  set: (match: MatchSummary, result: Result | null) => void;
}

export function resultView(onSwing: (clock_s: number | null) => void): ResultView {
  const title = h("p", { class: "result-winner" });
  const list = h("ol", { class: "swings" });
  const copied = h("span", { class: "muted small", role: "status" });
  const button = h("button", { class: "button", type: "button", onclick: () => void share() }, words.share);
  const address = h("input", { class: "share-address", readonly: true, "aria-label": words.share });
  address.hidden = true;
  const element = h(
    "section",
    { class: "panel result", "data-testid": "result", "aria-live": "polite" },
    h("div", { class: "panel-head" }, title, h("span", { class: "share" }, copied, button)),
    address,
    h("h2", { class: "muted small" }, words.biggestSwings),
    list,
  );
  element.hidden = true;

  async function share(): Promise<void> {
    const url = new URL(link(location.pathname), location.href).href;
    try {
      await navigator.clipboard.writeText(url);
      setText(copied, words.copied);
    } catch {
      // Without HTTPS browsers keep pages from the clipboard: show the address to copy by hand.
      address.value = url;
      address.hidden = false;
      address.select();
    }
  }

  return {
    element,
    set(match, result) {
      element.hidden = !result;
      if (!result) return;
      element.dataset["winner"] = result.winner ?? "";
      title.className = `result-winner ${result.winner ? `side-${result.winner.toLowerCase()}` : ""}`;
      setText(title, result.winner ? words.wonBy(winnerName(match, result)) : words.noWinner);
      fill(list, ...result.swings.map((swing) => swingRow(match, swing)));
    },
  };

  function swingRow(match: MatchSummary, swing: Swing): HTMLElement {
    const [towards, p] = swing.delta_p >= 0 ? (["A", swing.p] as const) : (["B", 1 - swing.p] as const);
    const row = h(
      "li",
      { class: "swing", tabindex: 0 },
      h("span", { class: "muted" }, clock(swing.clock_s)),
      h(
        "strong",
        { class: `side-${towards.toLowerCase()}` },
        `${sideName(match, towards)} ${points(p, Math.abs(swing.delta_p))}`,
      ),
      h("span", {}, momentName(match, swing)),
    );
    for (const name of ["mouseenter", "focus"]) row.addEventListener(name, () => onSwing(swing.clock_s));
    for (const name of ["mouseleave", "blur"]) row.addEventListener(name, () => onSwing(null));
    return row;
  }
}

function winnerName(match: MatchSummary, result: Result): string {
  const unnamed = !result.team || result.team === match.sides[result.winner === "A" ? 0 : 1];
  return unnamed ? sideName(match, result.winner!) : result.team!;
}
