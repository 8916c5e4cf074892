/** One bar, two sides: A's share from the left, B's hatched from the right. */

import { h } from "../dom.ts";

export interface Duel {
  element: HTMLElement;
  /** p: camp A's share, 0 to 1. */
  set: (p: number) => void;
}

export function duel(): Duel {
  const a = h("i", { class: "fill-a" });
  const b = h("i", { class: "fill-b" });
  const element = h("div", { class: "duel", "aria-hidden": "true" }, a, b);
  return {
    element,
    set(p) {
      a.style.flexGrow = p.toFixed(4);
      b.style.flexGrow = (1 - p).toFixed(4);
    },
  };
}
