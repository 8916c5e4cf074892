/** Which match comes first on the wall. Pure. */

import type { MatchSummary } from "./contract.ts";

export type Order = "closest" | "swing";

type Ranked = Pick<MatchSummary, "id" | "status" | "p" | "spark">;

/** How far the probability moved over the newest answers, as a share of 1. */
export function swing(match: Pick<Ranked, "spark">, answers = 10): number {
  const recent = match.spark.slice(-answers).map(([, p]) => p);
  return recent.length ? Math.max(...recent) - Math.min(...recent) : 0;
}

/** Live before ended; then by nearness to even odds or by recent movement; unknown last; ties by id. */
export function ranked<T extends Ranked>(matches: readonly T[], order: Order): T[] {
  const rank = (match: T): number => {
    if (match.p === null) return Infinity;
    return order === "closest" ? Math.abs(match.p - 0.5) : -swing(match);
  };
  const over = (match: T): number => Number(match.status !== "live");
  return [...matches].sort((x, y) => over(x) - over(y) || compare(rank(x), rank(y)) || compare(x.id, y.id));
}

const compare = <T>(x: T, y: T): number => (x < y ? -1 : x > y ? 1 : 0);
