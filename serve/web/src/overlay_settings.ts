/** What the overlay's address asks for: its parts and its size. Pure. */

export type OverlayPart = "bar" | "reasons" | "sentence";

const PARTS: readonly OverlayPart[] = ["bar", "reasons", "sentence"];

/** Width the overlay is drawn for, and what each part takes of its height, in CSS pixels. */
const BASE_WIDTH = 960;
const HEIGHTS: Record<OverlayPart, number> = { bar: 148, reasons: 40, sentence: 88 };

/** `parts=bar,reasons,sentence`; the bar is always there, unknown names are passed over: nothing may fail on air. */
export function overlayParts(asked: string | null): Set<OverlayPart> {
  const names = (asked ?? "bar").split(",").map((name) => name.trim());
  return new Set<OverlayPart>(["bar", ...PARTS.filter((part) => names.includes(part))]);
}

/** The box in pixels, and how much larger than its base size everything in it is drawn. */
export function overlayBox(
  query: URLSearchParams,
  parts: ReadonlySet<OverlayPart>,
  screen: { width: number; height: number },
): { width: number; scale: number } {
  const width = pixels(query.get("w")) ?? Math.min(screen.width, BASE_WIDTH);
  const height = pixels(query.get("h")) ?? screen.height;
  const needed = [...parts].reduce((sum, part) => sum + HEIGHTS[part], 0);
  return { width, scale: Math.min(width / BASE_WIDTH, height / needed) };
}

function pixels(text: string | null): number | null {
  const value = Number(text);
  return text && Number.isFinite(value) && value >= 1 ? value : null;
}
