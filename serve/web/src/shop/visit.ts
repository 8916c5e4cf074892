/** A visit to the shop, and what its operator sees, as data. Pure. */

import type { CtrPoint, Offer, OfferedItem, ShopItem } from "../contract.ts";
import type { Lang } from "../settings.ts";

const KEY = "sightline.shop.session";
const BYTES = 16;

type Store = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The id of this visit: made by chance, kept as long as the tab. */
export function sessionOf(store: Store): string {
  const known = store.getItem(KEY);
  if (known) return known;
  const made = [...crypto.getRandomValues(new Uint8Array(BYTES))].map((byte) => byte.toString(16).padStart(2, "0"));
  const session = `visit-${made.join("")}`;
  store.setItem(KEY, session);
  return session;
}

export const forgetSession = (store: Store): void => store.removeItem(KEY);

/** What stands for an item that has no title. */
export const titleOf = (item: ShopItem): string => item.title.trim() || item.item_id;

/** The narrowest level of a category. */
export const leafOf = (category: string): string => category.split(">").at(-1)!.trim();

/** "24.90"; empty where it is not known. */
export const priceOf = (price: number | null): string =>
  price === null ? "" : price.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** The reason as a sentence in the viewer's language. */
export const whyOf = (offered: OfferedItem, lang: Lang): string => (lang === "zh" ? offered.why_zh : offered.why_en);

/** Whether the reason is something else that was done: any other one says "this", and belongs on its card. */
const isOfElse = ({ item, reasons }: OfferedItem): boolean =>
  reasons[0] !== undefined && reasons[0].item_id !== "" && reasons[0].item_id !== item.item_id;

/**
 * The sentence about something else that most of these items share, said once above them; of equals that of the item
 * that stands first. Empty where there is none.
 */
export function sharedWhy(shown: readonly OfferedItem[], lang: Lang): string {
  const counts = new Map<string, number>();
  for (const offered of shown.filter(isOfElse)) {
    const why = whyOf(offered, lang);
    counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  let best = "";
  for (const [why, count] of counts) if (count > (counts.get(best) ?? 0)) best = why;
  return best;
}

/** An offer with what is now known of its items: prices that changed, and without what may not be offered any more. */
export function refreshed(offer: Offer, changed: ReadonlyMap<string, ShopItem>): Offer {
  const items = offer.items
    .map((offered) => ({ ...offered, item: changed.get(offered.item.item_id) ?? offered.item }))
    .filter(({ item }) => item.may_be_offered);
  return { ...offer, items };
}

/** Sum of the prices of what can still be had. */
export const totalOf = (basket: readonly ShopItem[]): number =>
  basket.reduce((sum, item) => sum + (item.may_be_offered ? (item.price ?? 0) : 0), 0);

export interface CtrLines {
  times_ms: number[];
  names: string[];
  /** Per cent, one array of values for each name; null where no row of that arm was shown. */
  values: (number | null)[][];
}

/** Names of the lines without an arm. */
export interface LineNames {
  /** No test is on. */
  everybody: string;
  /** Some are on, and this answer was in none of them. */
  noTest: string;
}

/** The name of an arm among those of these tests. */
export function armName(
  row: { experiment: string; arm: string },
  tests: ReadonlySet<string>,
  names: LineNames,
): string {
  if (!row.experiment) return tests.size ? names.noTest : names.everybody;
  return tests.size > 1 ? `${row.experiment}: ${row.arm}` : row.arm;
}

export const testsOf = (rows: readonly { experiment: string }[]): Set<string> =>
  new Set(rows.map(({ experiment }) => experiment).filter(Boolean));

/** By name; what was in no test comes last. */
export const armsFirst = <Row extends { experiment: string; arm: string }>(rows: readonly Row[]): Row[] =>
  [...rows].sort(
    (a, b) =>
      Number(!a.experiment) - Number(!b.experiment) ||
      a.experiment.localeCompare(b.experiment) ||
      a.arm.localeCompare(b.arm),
  );

/** Clicks a row over time, one line an arm. */
export function ctrLines(points: readonly CtrPoint[], step_s: number, lineNames: LineNames): CtrLines {
  const times = points.map(({ time_ms }) => time_ms);
  const steps = points.length ? (Math.max(...times) - Math.min(...times)) / 1000 / step_s + 1 : 0;
  const times_ms = Array.from({ length: steps }, (_, step) => Math.min(...times) + step * step_s * 1000);
  const tests = testsOf(points);
  const nameOf = (point: CtrPoint): string => armName(point, tests, lineNames);
  const names = [...new Set(armsFirst(points).map(nameOf))];
  const at = new Map(times_ms.map((time, index) => [time, index]));
  const values = names.map(() => times_ms.map((): number | null => null));
  for (const point of points) {
    const rate = point.answers ? (100 * point.clicks) / point.answers : null;
    values[names.indexOf(nameOf(point))]![at.get(point.time_ms)!] = rate;
  }
  return { times_ms, names, values };
}
