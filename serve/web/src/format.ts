/** Numbers and times as people read them. Pure; units in the names. */

/** Narrow no-break space: keeps a number with its unit. */
const THIN = "\u202f";
const MINUS = "\u2212";

/** "61", for 0.612; never 0 or 100 while the match is open: "<1" and ">99". */
export function percentNumber(p: number): string {
  if (p > 0.995) return ">99";
  if (p < 0.005) return "<1";
  return String(Math.round(p * 100));
}

/** "61 %". */
export const percent = (p: number): string => `${percentNumber(p)}${THIN}%`;

/** "+0.42", "−1.10", "0.00". */
export function signed(value: number, digits = 2): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : "+") + text;
}

/**
 * Percentage points that brought a probability to `p`: "+9", "−3", "±0". They are counted between the whole per cents
 * that were shown, as in the sentences: from 50 % to 71 % is +21, whatever was rounded.
 */
export function points(p: number, delta_p: number): string {
  const rounded = Math.round(p * 100) - Math.round((p - delta_p) * 100);
  return rounded === 0 ? "±0" : (rounded < 0 ? MINUS : "+") + String(Math.abs(rounded));
}

/** Game clock: "14:05"; "-0:30" before the start. */
export function clock(clock_s: number): string {
  const whole = Math.floor(Math.abs(clock_s));
  const text = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  return clock_s < 0 ? `-${text}` : text;
}

/** A span: "0.4 s", "12 s", "3 min", "2 h". */
export function seconds(span_s: number): string {
  if (span_s < 9.95) return `${span_s.toFixed(1)}${THIN}s`;
  if (span_s < 120) return `${Math.round(span_s)}${THIN}s`;
  if (span_s < 7200) return `${Math.round(span_s / 60)}${THIN}min`;
  return `${Math.round(span_s / 3600)}${THIN}h`;
}

/** A latency: "84 ms", "1.3 s"; "–" where nothing was measured. */
export function milliseconds(span_ms: number | null): string {
  if (span_ms === null || !Number.isFinite(span_ms)) return "–";
  return span_ms < 1000 ? `${Math.round(span_ms)}${THIN}ms` : seconds(span_ms / 1000);
}

/** A rate a second: "0", "0.4", "512", "5.1k". */
export function rate(per_s: number): string {
  if (per_s >= 10_000) return `${(per_s / 1000).toFixed(1)}k`;
  if (per_s >= 10 || Number.isInteger(per_s)) return count(Math.round(per_s));
  return per_s.toFixed(1);
}

/** "12,345". */
export const count = (n: number): string => n.toLocaleString("en-US");

/** The viewer's own time of day, and the UTC instant to show on hover. */
export function timeOfDay(time_ms: number): { local: string; utc: string } {
  const time = new Date(time_ms);
  const local = time.toLocaleTimeString([], {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  return { local, utc: `${time.toISOString().slice(0, 19).replace("T", " ")} UTC` };
}
