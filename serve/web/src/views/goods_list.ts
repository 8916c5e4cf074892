/** All goods: by category, by search, a page at a time. */

import { fetchItems } from "../api.ts";
import type { ShopItem, ShopState } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { count } from "../format.ts";
import { words } from "../i18n/index.ts";
import { cardList, type Pick, plainCards } from "./goods.ts";

const PAGE = 30;
const MOST_AT_ONCE = 100;
const TYPING_MS = 300;
/** After changes of the catalogue the list is asked for anew, this often at most. */
const REFRESH_MS = 2000;

export interface GoodsList {
  element: HTMLElement;
  setCategories: (categories: ShopState["categories"]) => void;
  /** Asks for the first page. */
  load: () => Promise<void>;
  /** Items have changed: what may not be offered goes at once, the rest is asked for soon. */
  change: (changed: ReadonlyMap<string, ShopItem>) => void;
}

export function goodsList(pick: Pick, onSearch: (text: string) => void): GoodsList {
  const cards = cardList("goods-grid", pick);
  const total = h("span", { class: "muted small", "data-testid": "goods-total", role: "status" });
  const none = h("p", { class: "muted", hidden: true }, words.shopPage.noGoods);
  const category = h("select", { class: "select", "aria-label": words.shopPage.category, onchange: () => void load() });
  const search = h("input", {
    type: "search",
    class: "field",
    "aria-label": words.shopPage.search,
    placeholder: words.shopPage.searchHint,
    maxlength: 200,
    oninput: () => typed(),
  });
  const more = h("button", { type: "button", class: "button", onclick: () => void loadMore() }, words.shopPage.more);
  const form = h("form", { class: "goods-tools", role: "search", onsubmit: submit }, search, category);
  const element = h(
    "section",
    { class: "panel shop-goods", "data-testid": "goods" },
    h("div", { class: "panel-head" }, h("h2", {}, words.shopPage.goods), total, form),
    h("div", { class: "goods-scroll" }, none, cards.element, more),
  );
  let items: ShopItem[] = [];
  let fitting = 0;
  let asked = 0;
  let typing: ReturnType<typeof setTimeout> | undefined;
  let planned: ReturnType<typeof setTimeout> | undefined;
  let told = "";

  function draw(): void {
    cards.set(plainCards(items));
    setText(total, words.shopPage.fits(count(fitting)));
    none.hidden = items.length > 0;
    more.hidden = items.length >= fitting;
    element.dataset["shown"] = String(items.length);
  }

  async function load(limit = PAGE): Promise<void> {
    const mine = ++asked;
    const found = await fetchItems({ category: category.value, search: search.value, start: 0, limit });
    if (mine !== asked) return; // something else was asked for meanwhile
    items = found.items;
    fitting = found.total;
    draw();
  }

  async function loadMore(): Promise<void> {
    const mine = ++asked;
    const place = { category: category.value, search: search.value, start: items.length, limit: PAGE };
    const found = await fetchItems(place).catch(() => null);
    if (!found || mine !== asked) return;
    const known = new Set(items.map(({ item_id }) => item_id));
    items = [...items, ...found.items.filter(({ item_id }) => !known.has(item_id))];
    fitting = found.total;
    draw();
  }

  function typed(): void {
    clearTimeout(typing);
    typing = setTimeout(() => void look(), TYPING_MS);
  }

  function submit(event: Event): void {
    event.preventDefault();
    clearTimeout(typing);
    void look();
    const text = search.value.trim();
    if (!text || text === told) return;
    told = text;
    onSearch(text);
  }

  const look = (): Promise<void> => load().catch(() => undefined);

  return {
    element,
    load: () => load(),
    setCategories(categories) {
      const kept = category.value;
      fill(
        category,
        h("option", { value: "" }, words.shopPage.allCategories),
        ...categories.map(({ name, items }) => h("option", { value: name }, `${name} (${count(items)})`)),
      );
      category.value = kept;
      if (category.selectedIndex < 0) category.value = "";
    },
    change(changed) {
      const before = items.length;
      items = items.map((item) => changed.get(item.item_id) ?? item).filter(({ may_be_offered }) => may_be_offered);
      fitting -= before - items.length;
      draw();
      planned ??= setTimeout(() => {
        planned = undefined;
        if (items.length <= MOST_AT_ONCE) void load(Math.max(PAGE, items.length)).catch(() => undefined);
      }, REFRESH_MS);
    },
  };
}
