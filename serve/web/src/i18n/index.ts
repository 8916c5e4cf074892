/** The words of the viewer's language, and names that depend on the match. */

import type { CurvePoint, Group, MatchSummary, Side } from "../contract.ts";
import { lang } from "../settings.ts";
import { en, type Words } from "./en.ts";
import { zh } from "./zh.ts";

/** All fixed words of the pages. */
export const words: Words = lang === "zh" ? zh : en;

type Named = Pick<MatchSummary, "sides" | "teams" | "title" | "title_name">;

/** "Blue". */
export function sideName(match: Named, side: Side): string {
  const name = match.sides[side === "A" ? 0 : 1];
  return words.sides[name] ?? name;
}

/** The team's name, the side's where the team is unknown. */
export function teamName(match: Named, side: Side): string {
  return match.teams[side === "A" ? 0 : 1] || sideName(match, side);
}

/** "League of Legends". */
export const titleName = (match: Named): string => words.titles[match.title] ?? match.title_name;

/** "LoL". */
export const shortTitleName = (match: Named): string => words.shortTitles[match.title] ?? titleName(match);

/** "Gold"; the name itself for a group that this page does not know. */
export const groupName = (group: string): string => words.groups[group as Group] ?? group;

/** "Blue dragon" for "A:dragons"; the weightiest group where no event stands behind the moment. */
export function momentName(match: Named, point: Pick<CurvePoint, "moment" | "top_reason">): string {
  const [side, subject] = point.moment.split(":");
  if ((side === "A" || side === "B") && subject) {
    const called =
      words.titleSubjects[match.title]?.[subject] ?? words.subjects[subject] ?? subject.replaceAll("_", " ");
    return words.moment(sideName(match, side), called);
  }
  return groupName(point.top_reason);
}

/** The sentence in the viewer's language; English where the other is missing. */
export function commentary(said: Pick<CurvePoint, "commentary_en" | "commentary_zh">): string | null {
  return (lang === "zh" ? said.commentary_zh : said.commentary_en) ?? said.commentary_en;
}

/** Who is ahead: the side, and its own probability, from camp A's. */
export function leader(p: number): { side: Side; p: number } {
  return p >= 0.5 ? { side: "A", p } : { side: "B", p: 1 - p };
}
