/** Chooses the page by its address. Each page is its own bundle, so that the overlay never loads a chart. */

import { readId } from "./address.ts";
import { applySettings } from "./settings.ts";

export type Page = (root: HTMLElement) => void | Promise<void>;

const ROUTES: [name: string, path: RegExp, load: () => Promise<{ page: (root: HTMLElement, id: string) => void }>][] = [
  ["wall", /^\/$/, () => import("./pages/wall.ts")],
  ["match", /^\/matches\/(.+)$/, () => import("./pages/match.ts")],
  ["overlay", /^\/overlay\/(.+)$/, () => import("./pages/overlay.ts")],
  ["store", /^\/store\/?$/, () => import("./pages/store.ts")],
  ["shop", /^\/shop\/?$/, () => import("./pages/shop.ts")],
  ["ops", /^\/ops\/?$/, () => import("./pages/ops.ts")],
  ["docs", /^\/docs\/?$/, () => import("./pages/docs.ts")],
];

async function start(): Promise<void> {
  const root = document.getElementById("page")!;
  for (const [name, path, load] of ROUTES) {
    const found = path.exec(location.pathname);
    const id = found && readId(found[1] ?? "");
    if (!found || id === null) continue;
    applySettings(name);
    const { page } = await load();
    page(root, id);
    return;
  }
  applySettings("missing");
  const { page } = await import("./pages/missing.ts");
  page(root);
}

void start();
