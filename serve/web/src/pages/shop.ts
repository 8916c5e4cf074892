/** `/shop`: click, and see what is offered and why; and, for who runs it, what the offers are worth. */

import "../styles/shop.css";

import { fetchShop, fetchShopFigures, Refused, sendEvent, shopStream } from "../api.ts";
import type { Offer, ShopItem, ShopperEvent, ShopTrust } from "../contract.ts";
import { h, setText } from "../dom.ts";
import { milliseconds } from "../format.ts";
import { words } from "../i18n/index.ts";
import { calm } from "../settings.ts";
import { forgetSession, sessionOf } from "../shop/visit.ts";
import { Stream } from "../stream.ts";
import { basketPanel } from "../views/basket.ts";
import { foot } from "../views/foot.ts";
import { goodsList } from "../views/goods_list.ts";
import { header } from "../views/header.ts";
import { offerRow } from "../views/offer_row.ts";
import { figuresView } from "../views/shop_figures.ts";
import { causeWords, stateChip } from "../views/state.ts";

const RETRY_MS = 2000;
const FIGURES_MS = 5000;
const FIGURES_MIN = 60;

type View = "shopper" | "operator";
/** What became of an event; one that was not taken now may be later. */
type Sent = "taken" | "later" | "refused";

export function page(root: HTMLElement): void {
  const session = sessionOf(sessionStorage);
  const top = header("shop");
  const message = h("p", { class: "muted shop-message", role: "status" }, words.connecting);
  const headline = h("h1", { class: "shop-sentence", "data-testid": "why" });
  const chip = stateChip();
  const cause = h("p", { class: "notice small" });
  const views: [View, string][] = [
    ["shopper", words.shopPage.shopper],
    ["operator", words.shopPage.operator],
  ];
  const buttons = views.map(([name, text]) =>
    h("button", { type: "button", "data-view": name, onclick: () => show(name) }, text),
  );
  const row = offerRow((item) => void pick(item, true), drawHeadline);
  const goods = goodsList(
    (item) => void pick(item, false),
    (text) => void send({ session_id: session, kind: "search", text }),
  );
  const side = basketPanel({
    add: (item) => void send({ session_id: session, kind: "cart", item_id: item.item_id }),
    takeOut: (item) => void send({ session_id: session, kind: "remove", item_id: item.item_id }),
    buy: async ({ item_id }) => (await send({ session_id: session, kind: "purchase", item_id })) === "taken",
    renew: () => {
      forgetSession(sessionStorage);
      location.reload();
    },
  });
  const figures = figuresView();
  const body = h(
    "main",
    { class: "shop" },
    h(
      "div",
      { class: "shop-top" },
      h(
        "div",
        { class: "shop-head" },
        headline,
        row.status,
        h("span", { class: "spread" }),
        chip.element,
        h("div", { class: "switch shop-switch", role: "group", "aria-label": words.shopPage.views }, ...buttons),
      ),
      cause,
    ),
    row.element,
    side.element,
    goods.element,
    figures.element,
  );
  body.hidden = true;
  root.append(top.element, message, body, foot());

  let origin = "live";
  let answer: Offer | null = null;
  /** Of the offer whose items were told to have been seen. */
  let seen = "";
  let awaited: { item_id: string; since_ms: number } | null = null;
  let view: View = new URLSearchParams(location.search).get("view") === "operator" ? "operator" : "shopper";

  function show(next: View): void {
    view = next;
    body.dataset["view"] = view;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset["view"] === view)));
    drawHeadline();
    void refreshFigures();
  }

  function drawHeadline(): void {
    setText(headline, row.element.checkVisibility() ? row.sentence() : words.shopPage.worth);
    if (answer) sayShown(answer.answer_id);
  }

  /** Once an offer is on the screen, the shop is told what of it was. */
  function sayShown(answer_id: string): void {
    const items = row.shown();
    const onScreen = row.element.checkVisibility() && document.visibilityState === "visible";
    if (!onScreen || !items.length || seen === answer_id) return;
    seen = answer_id;
    void insist({ session_id: session, kind: "impression", answer_id, items });
  }

  /** Say it until it is taken or refused. For what counts once, however often it is said, as impressions do. */
  async function insist(event: ShopperEvent): Promise<void> {
    while ((await send(event)) === "later") await new Promise((over) => setTimeout(over, RETRY_MS));
  }

  async function send(event: ShopperEvent): Promise<Sent> {
    try {
      await sendEvent(event);
      side.warn("");
      return "taken";
    } catch (problem) {
      const status = problem instanceof Refused ? problem.status : 0;
      const said = { 403: words.shopPage.mayNot, 429: words.shopPage.tooFast }[status];
      side.warn(said ?? (status === 400 ? (problem as Refused).message : words.shopPage.notSent));
      return status === 0 || status === 429 || status >= 500 ? "later" : "refused";
    }
  }

  async function pick(item: ShopItem, offered: boolean): Promise<void> {
    side.look(item);
    row.wait(true);
    awaited = { item_id: item.item_id, since_ms: performance.now() };
    scrollTo({ top: 0, behavior: calm() ? "instant" : "smooth" });
    const clicked = offered && answer ? { answer_id: answer.answer_id } : {};
    const mine = awaited;
    const sent = await send({ session_id: session, kind: "view", item_id: item.item_id, ...clicked });
    if (sent !== "taken" && awaited === mine) stopWaiting();
  }

  function stopWaiting(said = ""): void {
    awaited = null;
    row.wait(false, said);
  }

  function take(offer: Offer): void {
    answer = offer;
    if (awaited?.item_id === offer.item_id) {
      const span = words.shopPage.answeredIn(milliseconds(performance.now() - awaited.since_ms));
      stopWaiting(offer.explored ? `${span} · ${words.shopPage.byChance}` : span);
    }
    row.set(offer);
  }

  function change(items: readonly ShopItem[]): void {
    const changed = new Map(items.map((item) => [item.item_id, item]));
    row.change(changed);
    goods.change(changed);
    side.change(changed);
  }

  function showTrust(trust: ShopTrust): void {
    chip.set({ state: trust.state, status: "live", delay_s: trust.delay_s, origin });
    top.setBroker(trust.broker);
    figures.setModel(trust.model);
    setText(cause, causeWords({ causes: trust.causes, status: "live" }));
    cause.hidden = !cause.textContent;
  }

  async function load(): Promise<string | null> {
    try {
      const state = await fetchShop();
      origin = state.origin;
      goods.setCategories(state.categories);
      await goods.load();
      body.hidden = false;
      message.hidden = true;
      showTrust(state);
      show(view);
      return state.last_id;
    } catch (problem) {
      const none = problem instanceof Refused && problem.status === 404;
      message.hidden = !body.hidden;
      setText(message, none ? `${words.shopPage.noShop} ${words.shopPage.noShopHelp}` : words.waitingForGateway);
      if (!none) setTimeout(() => void begin(), RETRY_MS);
      return null;
    }
  }

  let asking = false;

  async function refreshFigures(): Promise<void> {
    if (asking || !figures.element.checkVisibility() || document.visibilityState !== "visible") return;
    asking = true;
    try {
      figures.set(await fetchShopFigures(FIGURES_MIN));
    } catch {
      // Asked again soon; until then what is shown stays.
    } finally {
      asking = false;
    }
  }

  let stream: Stream | null = null;

  async function begin(): Promise<void> {
    const lastId = await load();
    if (lastId === null || stream) return;
    stream = new Stream({
      path: shopStream(session),
      lastId,
      onLink: top.setLink,
      on: {
        items: (data) => change((data as { items: ShopItem[] }).items),
        offer: (data) => take(data as Offer),
        state: (data) => showTrust(data as ShopTrust),
        resync: () => void load().then((next) => next !== null && stream?.resumeFrom(next)),
      },
    });
    setInterval(() => void refreshFigures(), FIGURES_MS);
    document.addEventListener("visibilitychange", drawHeadline);
    addEventListener("resize", drawHeadline);
    addEventListener("pagehide", () => stream?.close());
  }

  void begin();
}
