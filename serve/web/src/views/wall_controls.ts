/** Order and filters of the wall, kept in the address so that a reload or a shared link shows the same. */

import type { MatchSummary } from "../contract.ts";
import { fill, h } from "../dom.ts";
import { words } from "../i18n/index.ts";
import type { Order } from "../wall_order.ts";

export interface WallControls {
  element: HTMLElement;
  order: () => Order;
  fits: (match: MatchSummary) => boolean;
  setChoices: (titles: Map<string, string>, leagues: Set<string>) => void;
}

export function wallControls(onChange: () => void): WallControls {
  const address = new URL(location.href);
  const asked = (name: string): string => address.searchParams.get(name) ?? "";
  const remember = (name: string, value: string): void => {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
    history.replaceState(null, "", address);
    onChange();
  };

  const orders: [Order, string][] = [
    ["closest", words.closest],
    ["swing", words.biggestSwing],
  ];
  const order = (): Order => (asked("order") === "swing" ? "swing" : "closest");
  const buttons = orders.map(([name, text]) => h("button", { type: "button", onclick: () => choose(name) }, text));
  function choose(name: Order): void {
    remember("order", name === "closest" ? "" : name);
    press();
  }
  function press(): void {
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(orders[index]![0] === order())));
  }
  press();

  const titles = filter("title", words.title, words.allTitles);
  const leagues = filter("league", words.league, words.allLeagues);
  function filter(
    name: string,
    label: string,
    all: string,
  ): { element: HTMLSelectElement; set: (choices: [string, string][]) => void } {
    const element = h("select", { class: "select", "aria-label": label });
    element.addEventListener("change", () => remember(name, element.value));
    let shown = "";
    return {
      element,
      set(choices) {
        const next = JSON.stringify(choices);
        if (next === shown) return;
        shown = next;
        fill(element, h("option", { value: "" }, all), ...choices.map(([value, text]) => h("option", { value }, text)));
        element.value = asked(name);
        element.hidden = choices.length < 2 && !asked(name);
      },
    };
  }

  return {
    element: h(
      "div",
      { class: "wall-controls" },
      h("div", { class: "switch", role: "group", "aria-label": words.order }, ...buttons),
      titles.element,
      leagues.element,
    ),
    order,
    fits: (match) =>
      (!asked("title") || match.title === asked("title")) && (!asked("league") || match.league === asked("league")),
    setChoices(titleNames, leagueNames) {
      titles.set([...titleNames].sort(([, x], [, y]) => x.localeCompare(y)));
      leagues.set([...leagueNames].sort().map((name) => [name, name]));
    },
  };
}
