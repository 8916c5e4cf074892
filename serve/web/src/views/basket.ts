/** What the visitor looks at, and what lies in the basket. */

import type { ShopItem } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { leafOf, priceOf, titleOf, totalOf } from "../shop/visit.ts";

export interface Basket {
  element: HTMLElement;
  look: (item: ShopItem) => void;
  change: (changed: ReadonlyMap<string, ShopItem>) => void;
  /** What is wrong with what was done last; empty once something went well. */
  warn: (text: string) => void;
}

interface Actions {
  add: (item: ShopItem) => void;
  takeOut: (item: ShopItem) => void;
  /** One item; false where that is not known to be written. */
  buy: (item: ShopItem) => Promise<boolean>;
  renew: () => void;
}

export function basketPanel(actions: Actions): Basket {
  let looked: ShopItem | null = null;
  let basket: ShopItem[] = [];
  let paying = false;
  // Apart: an act that ends after a purchase takes back what was wrong, not the thanks.
  let thanks = "";
  let wrong = "";
  const category = h("bdi", { class: "muted small" });
  const title = h("bdi", { class: "looked-title" });
  const price = h("span", { class: "good-price" });
  const hint = h("p", { class: "muted" }, words.shopPage.lookedAtHint);
  const add = h("button", { type: "button", class: "button primary", "data-testid": "add", onclick: put });
  const detail = h("div", { class: "looked-item", hidden: true }, category, title, price, add);
  const list = h("ul", { class: "basket-list" });
  const total = h("strong", { "data-testid": "basket-total" });
  const buy = h("button", { type: "button", class: "button primary", "data-testid": "buy", onclick: () => void pay() });
  buy.textContent = words.shopPage.buy;
  const sum = h("div", { class: "basket-sum" }, h("span", {}, words.shopPage.total, " ", total), buy);
  const said = h("p", { class: "shop-said small", role: "status", "data-testid": "said" });
  const renew = h(
    "button",
    { type: "button", class: "button", title: words.shopPage.newVisitorHelp, onclick: actions.renew },
    words.shopPage.newVisitor,
  );
  const looking = h(
    "section",
    { class: "panel looked", "data-testid": "looked" },
    h("h2", {}, words.shopPage.lookedAt),
    hint,
    detail,
  );
  const holding = h(
    "section",
    { class: "panel basket", "data-testid": "basket" },
    h("h2", {}, words.shopPage.basket),
    list,
    sum,
  );
  const element = h("aside", { class: "shop-side" }, looking, holding, said, renew);

  function put(): void {
    if (!looked || basket.some(({ item_id }) => item_id === looked?.item_id)) return;
    basket = [...basket, looked];
    thanks = "";
    actions.add(looked);
    draw();
  }

  /** What was bought is out of the basket at once: where the rest fails, nothing is bought twice. */
  async function pay(): Promise<void> {
    const items = basket.filter(({ may_be_offered }) => may_be_offered);
    paying = true;
    thanks = "";
    draw();
    let bought = true;
    for (const { item_id } of items) {
      const item = basket.find((one) => one.item_id === item_id);
      if (!item?.may_be_offered) continue; // taken out, or withdrawn meanwhile
      if (!(bought = await actions.buy(item))) break;
      basket = basket.filter((one) => one.item_id !== item_id);
      draw();
    }
    paying = false;
    if (bought) thanks = words.shopPage.bought;
    draw();
  }

  function draw(): void {
    hint.hidden = looked !== null;
    detail.hidden = looked === null;
    if (looked) {
      const isIn = basket.some(({ item_id }) => item_id === looked?.item_id);
      setText(category, leafOf(looked.category));
      setText(title, titleOf(looked));
      setText(price, priceOf(looked.price));
      add.disabled = isIn || !looked.may_be_offered;
      setText(
        add,
        !looked.may_be_offered ? words.shopPage.gone : isIn ? words.shopPage.inBasket : words.shopPage.toBasket,
      );
      detail.dataset["item"] = looked.item_id;
    }
    if (basket.length) fill(list, ...basket.map(line));
    else fill(list, h("li", { class: "muted" }, words.shopPage.basketEmpty));
    setText(total, priceOf(totalOf(basket)));
    speak();
    sum.hidden = basket.length === 0;
    looking.dataset["empty"] = String(looked === null);
    holding.dataset["empty"] = String(basket.length === 0);
    buy.disabled = paying || !basket.some(({ may_be_offered }) => may_be_offered);
  }

  function speak(): void {
    setText(said, wrong || thanks);
  }

  function line(item: ShopItem): HTMLElement {
    const takeOut = (): void => {
      basket = basket.filter((other) => other !== item);
      actions.takeOut(item);
      draw();
    };
    return h(
      "li",
      { class: "basket-line" },
      h("bdi", { class: "basket-title", title: titleOf(item) }, titleOf(item)),
      h(
        "span",
        { class: item.may_be_offered ? "" : "muted" },
        item.may_be_offered ? priceOf(item.price) : words.shopPage.gone,
      ),
      h(
        "button",
        { type: "button", class: "basket-out", "aria-label": words.shopPage.takeOut(titleOf(item)), onclick: takeOut },
        "×",
      ),
    );
  }

  draw();
  return {
    element,
    look(item) {
      looked = item;
      thanks = "";
      draw();
    },
    change(changed) {
      if (looked) looked = changed.get(looked.item_id) ?? looked;
      basket = basket.map((item) => changed.get(item.item_id) ?? item);
      draw();
    },
    warn(text) {
      wrong = text;
      speak();
    },
  };
}
