/** The line on top of every page but the overlay: brand, pages, state of the connection, language. */

import type { BrokerState } from "../contract.ts";
import { h, setText, svg } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { lang, link } from "../settings.ts";
import type { Link } from "../stream.ts";

export interface Header {
  element: HTMLElement;
  /** Page-specific things go between the navigation and the connection. */
  middle: HTMLElement;
  /** Shows a lost connection in words; an open one says nothing. */
  setLink: (link: Link) => void;
  /** Says so where Kafka cannot be read: the page then shows what is known, and nothing new can come. */
  setBroker: (broker: BrokerState) => void;
}

type PageName = "wall" | "store" | "shop" | "ops";

export function header(current: PageName | null): Header {
  const connection = h("span", {
    class: "chip",
    "data-state": "lost",
    title: words.reconnectingHelp,
    role: "status",
    hidden: true,
  });
  const broker = h("span", {
    class: "chip",
    "data-state": "lost",
    "data-testid": "broker-away",
    role: "status",
    hidden: true,
  });
  const middle = h("div", { class: "top-middle" });
  const page = (name: PageName, path: string): HTMLElement =>
    h("a", { href: link(path), "aria-current": current === name ? "page" : null }, words[name]);
  const other = lang === "zh" ? "en" : "zh";
  const element = h(
    "header",
    { class: "top" },
    h(
      "a",
      { class: "brand", href: link("/"), "aria-label": "Sightline", title: words.brandLine },
      mark(),
      h("span", { class: "brand-name" }, "Sightline"),
    ),
    h("nav", {}, page("wall", "/"), page("store", "/store"), page("shop", "/shop"), page("ops", "/ops")),
    middle,
    h("span", { class: "spread" }),
    broker,
    connection,
    h(
      "a",
      { class: "lang", href: link(location.pathname, { lang: other }), "aria-label": words.switchLangName },
      words.switchLang,
    ),
  );
  return {
    element,
    middle,
    setLink(state) {
      connection.hidden = state === "open";
      setText(connection, state === "lost" ? words.reconnecting : words.connecting);
    },
    setBroker({ reachable, ready, text }) {
      broker.hidden = reachable && ready;
      broker.title = text;
      setText(broker, reachable ? words.readingBack : words.brokerAway);
    },
  };
}

function mark(): SVGElement {
  const line = { fill: "none", "stroke-width": 3, "stroke-linecap": "round" };
  return svg(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": true },
    svg("path", { ...line, d: "M4 22c5 0 6-12 12-12", stroke: "var(--side-a)" }),
    svg("path", { ...line, d: "M16 10c6 0 6 12 12 12", stroke: "var(--side-b)" }),
  );
}
