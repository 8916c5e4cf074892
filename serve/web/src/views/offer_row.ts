/** The row that is offered, with the reason that most of it shares said above. */

import type { Offer, ShopItem } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { lang } from "../settings.ts";
import { refreshed, sharedWhy, whyOf } from "../shop/visit.ts";
import { cardList, offeredCards, type Pick } from "./goods.ts";

/** So many fit on one line of a laptop. */
const SHOWN = 6;
const SLOW_MS = 5000;

export interface OfferRow {
  element: HTMLElement;
  /** What is to be said beside the sentence. */
  status: HTMLElement;
  /** The sentence above the row. */
  sentence: () => string;
  set: (offer: Offer) => void;
  /** An answer is waited for; `said` once it has come, or will not come. */
  wait: (waits: boolean, said?: string) => void;
  change: (changed: ReadonlyMap<string, ShopItem>) => void;
  /** Ids of what is shown now. */
  shown: () => string[];
}

export function offerRow(pick: Pick, onDraw: () => void): OfferRow {
  const cards = cardList("offer-cards", pick);
  cards.element.dataset["empty"] = words.shopPage.forYou;
  const status = h("span", { class: "offer-status muted small", role: "status", "data-testid": "offer-status" });
  const element = h(
    "section",
    { class: "shop-offer", "aria-label": words.shopPage.forYou, "data-testid": "offer" },
    cards.element,
  );
  let offer: Offer | null = null;
  let slow: ReturnType<typeof setTimeout> | undefined;

  const shown = (): Offer["items"] => offer?.items.slice(0, SHOWN) ?? [];
  const sentence = (): string => {
    if (!offer) return words.shopPage.begin;
    if (!shown().length) return words.shopPage.nothing;
    return sharedWhy(shown(), lang) || words.shopPage.forYou;
  };

  function draw(): void {
    cards.set(offeredCards(shown(), (one) => whyOf(one, lang), sentence()));
    element.dataset["answer"] = offer?.answer_id ?? "";
    onDraw();
  }

  return {
    element,
    status,
    sentence,
    set(next) {
      offer = refreshed(next, new Map());
      draw();
    },
    wait(waits, said = "") {
      clearTimeout(slow);
      element.dataset["waits"] = String(waits);
      setText(status, waits ? words.shopPage.waiting : said);
      if (waits) slow = setTimeout(() => setText(status, words.shopPage.slow), SLOW_MS);
    },
    change(changed) {
      if (!offer) return;
      offer = refreshed(offer, changed);
      draw();
    },
    shown: () => shown().map(({ item }) => item.item_id),
  };
}
