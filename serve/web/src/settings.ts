/** What the address asks for: ?lang=en|zh, ?theme=dark|light. Both travel along in every link between pages. */

export type Lang = "en" | "zh";
export type Theme = "dark" | "light";

const query = new URLSearchParams(location.search);

/** The page's language: asked for, else the browser's if it is Chinese, else English. */
export const lang: Lang = readLang(query.get("lang"), navigator.language);

function readLang(asked: string | null, browser: string): Lang {
  return (asked ?? browser).toLowerCase().startsWith("zh") ? "zh" : "en";
}

const themeChanged = new EventTarget();

/** The theme now: asked for, else what the system prefers; over video the system's taste says nothing. */
export function theme(): Theme {
  const asked = query.get("theme");
  if (asked === "dark" || asked === "light") return asked;
  if (document.documentElement.dataset["page"] === "overlay") return "dark";
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
}

/**
 * Calls back whenever the system changes its theme: charts must be redrawn, the rest is CSS.
 * Returns what ends it.
 */
export function onThemeChange(redraw: () => void): () => void {
  themeChanged.addEventListener("change", redraw);
  return () => themeChanged.removeEventListener("change", redraw);
}

/** True where the viewer asked the system for less motion. */
export const calm = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Marks the document so that the style sheets can act; called once, before the page is drawn. */
export function applySettings(page: string): void {
  const root = document.documentElement;
  root.lang = lang === "zh" ? "zh-Hans" : "en";
  root.dataset["page"] = page;
  root.dataset["theme"] = theme();
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => {
    root.dataset["theme"] = theme();
    themeChanged.dispatchEvent(new Event("change"));
  });
}

/** An address of ours with the viewer's language and theme carried along. */
export function link(path: string, changes: Record<string, string> = {}): string {
  const kept = new URLSearchParams();
  for (const name of ["lang", "theme"]) {
    const value = changes[name] ?? query.get(name);
    if (value) kept.set(name, value);
  }
  const text = kept.toString();
  return text ? `${path}?${text}` : path;
}
