/** Goods as plain cards: all there is, and the row that is offered. A title is data, and goes in as text. */

import type { OfferedItem, ShopItem } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { leafOf, priceOf, titleOf } from "../shop/visit.ts";

export type Pick = (item: ShopItem) => void;

export interface CardList {
  element: HTMLElement;
  /** Shows these, in this order; `why` is said below where it is not empty. Cards that stay are left alone. */
  set: (cards: readonly { item: ShopItem; why: string }[]) => void;
}

export const plainCards = (items: readonly ShopItem[]): { item: ShopItem; why: string }[] =>
  items.map((item) => ({ item, why: "" }));

/** Cards with the reason that each has for itself, beside the one that is said above them all. */
export const offeredCards = (
  offered: readonly OfferedItem[],
  why: (one: OfferedItem) => string,
  said: string,
): { item: ShopItem; why: string }[] =>
  offered.map((one) => ({ item: one.item, why: why(one) === said ? "" : why(one) }));

export function cardList(className: string, pick: Pick): CardList {
  const element = h("ul", { class: className });
  const cards = new Map<string, Card>();
  return {
    element,
    set(wanted) {
      const kept = new Set(wanted.map(({ item }) => item.item_id));
      for (const [id, card] of cards) {
        if (kept.has(id)) continue;
        leave(card.element);
        cards.delete(id);
      }
      let before: ChildNode | null = element.firstChild;
      for (const { item, why } of wanted) {
        let card = cards.get(item.item_id);
        if (!card) cards.set(item.item_id, (card = makeCard(pick)));
        card.set(item, why);
        if (card.element === before) before = before.nextSibling;
        else element.insertBefore(card.element, before);
      }
    },
  };
}

/** Takes a card away; where it had the focus, its neighbour has it then. */
function leave(card: HTMLElement): void {
  if (card.contains(document.activeElement)) {
    const neighbour = card.nextElementSibling ?? card.previousElementSibling;
    neighbour?.querySelector("button")?.focus();
  }
  card.remove();
}

interface Card {
  element: HTMLElement;
  set: (item: ShopItem, why: string) => void;
}

function makeCard(pick: Pick): Card {
  let shown: ShopItem | null = null;
  const category = h("bdi", { class: "good-category muted small" });
  const title = h("bdi", { class: "good-title" });
  const price = h("span", { class: "good-price" });
  const why = h("span", { class: "good-why small" });
  const button = h(
    "button",
    { type: "button", class: "good-card", onclick: () => shown && pick(shown) },
    category,
    title,
    why,
    price,
  );
  const element = h("li", { class: "good", "data-testid": "good" }, button);
  return {
    element,
    set(item, reason) {
      shown = item;
      element.dataset["item"] = item.item_id;
      setText(category, leafOf(item.category));
      setText(title, titleOf(item));
      title.title = titleOf(item);
      setText(price, priceOf(item.price));
      setText(why, reason);
      why.title = reason;
      why.hidden = !reason;
    },
  };
}
