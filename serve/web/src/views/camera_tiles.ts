/** A tile a camera: its newest frame with heads blurred, boxes and short ids drawn here; who is there, in words too. */

import { fetchFrame, Refused } from "../api.ts";
import type { CameraView, PlanTable, StoreCamera } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { seconds } from "../format.ts";
import { words } from "../i18n/index.ts";
import { onThemeChange } from "../settings.ts";
import { shortId, viewAt } from "../store/figures.ts";
import { zonesOf } from "../store/editor.ts";
import { faded, palette, rimmedText } from "../charts/paint.ts";

/** Between two frames of one camera, where all can be shown that often. */
const FRAME_MS = 500;
/** Views that wait for their picture, which comes two seconds later or three: eight seconds at five a second. */
const RECENT = 40;
/** A camera of which nothing was heard for so long says so. */
const SILENT_MS = 5000;

interface Tile {
  element: HTMLElement;
  camera: StoreCamera;
  view: CameraView | null;
  /** Views of the last seconds, oldest first: a picture comes later than who is in it. */
  recent: CameraView[];
  picture: { bitmap: ImageBitmap; captured_ms: number } | null;
  why: string;
  draw: (now_ms: number, plan: PlanTable) => void;
}

export interface CameraTiles {
  element: HTMLElement;
  setCameras: (cameras: readonly StoreCamera[]) => void;
  setView: (view: CameraView) => void;
  setPlan: (plan: PlanTable) => void;
  /** The gateway's time now. */
  tick: (now_ms: number) => void;
  close: () => void;
}

export function cameraTiles(): CameraTiles {
  const tiles = new Map<string, Tile>();
  const grid = h("ul", { class: "tiles-grid" });
  const note = h("p", { class: "muted small" }, words.storePage.blurred);
  const element = h(
    "section",
    { class: "panel store-cameras", "aria-label": words.storePage.cameras },
    h("div", { class: "panel-head" }, h("h2", {}, words.storePage.cameras), note),
    grid,
  );
  let plan: PlanTable = {};
  let now_ms = 0;
  let ended = false;

  const draw = (tile: Tile): void => tile.draw(now_ms, plan);
  const endTheme = onThemeChange(() => tiles.forEach(draw));

  /** One frame at a time, camera by camera: the browser has six connections to the gateway, and one is the stream. */
  async function look(): Promise<void> {
    while (!ended) {
      const began = performance.now();
      for (const tile of [...tiles.values()]) {
        if (ended || document.hidden || !tile.camera.shown || !inSight(tile.element)) continue;
        try {
          const frame = await fetchFrame(tile.camera.name, tile.picture?.captured_ms ?? 0);
          if (!frame) continue;
          const bitmap = await createImageBitmap(frame.jpeg);
          tile.picture?.bitmap.close();
          tile.picture = { bitmap, captured_ms: frame.captured_ms };
          tile.why = "";
        } catch (problem) {
          tile.why = problem instanceof Refused ? problem.message : "";
        }
        draw(tile);
      }
      await new Promise((done) => setTimeout(done, Math.max(100, FRAME_MS - (performance.now() - began))));
    }
  }
  void look();

  return {
    element,
    setCameras(cameras) {
      const kept = new Set(cameras.map(({ name }) => name));
      for (const [name, tile] of tiles) {
        if (kept.has(name)) continue;
        tile.element.remove();
        tiles.delete(name);
      }
      for (const camera of cameras) {
        const known = tiles.get(camera.name);
        if (known) known.camera = camera;
        else {
          const tile = cameraTile(camera);
          tiles.set(camera.name, tile);
          grid.append(tile.element);
        }
      }
      note.hidden = !cameras.some(({ shown }) => shown);
      tiles.forEach(draw);
    },
    setView(view) {
      const tile = tiles.get(view.camera_id);
      if (!tile) return;
      tile.view = view;
      tile.recent = [...tile.recent, view].slice(-RECENT);
      draw(tile);
    },
    setPlan(next) {
      plan = next;
      tiles.forEach(draw);
    },
    tick(next_ms) {
      now_ms = next_ms;
      tiles.forEach(draw);
    },
    close() {
      ended = true;
      endTheme();
    },
  };
}

function inSight(element: HTMLElement): boolean {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

function cameraTile(first: StoreCamera): Tile {
  const canvas = h("canvas", { class: "tile-picture", "aria-hidden": "true" });
  const state = h("span", { class: "chip" });
  const who = h("span", { class: "muted small tile-who", "data-testid": "tile-who" });
  const why = h("p", { class: "muted small tile-why" });
  const element = h(
    "li",
    { class: "camera-tile", "data-camera": first.name, "data-testid": "camera-tile" },
    h("div", { class: "tile-host" }, canvas, why),
    h("div", { class: "tile-line" }, h("span", { class: "tile-name" }, first.name), state),
    who,
  );
  const tile: Tile = {
    element,
    camera: first,
    view: null,
    recent: [],
    picture: null,
    why: "",
    draw(now_ms, plan) {
      const { camera, view, picture } = tile;
      const silent_ms = view ? now_ms - view.heard_ms : Infinity;
      const fresh = view !== null && silent_ms < SILENT_MS;
      state.dataset["state"] = view?.covered ? "degraded" : fresh ? "live" : "lost";
      setText(state, view?.covered ? words.storePage.covered : fresh ? words.state.live : silent(silent_ms));
      const people = fresh ? view.people : [];
      setText(who, [words.storePage.seenNow(people.length), people.map(shortId).join(" ")].filter(Boolean).join(": "));
      element.dataset["people"] = String(people.length);
      element.dataset["seen"] = String(view?.captured_ms ?? "");
      element.dataset["captured"] = String(picture?.captured_ms ?? "");
      element.title = camera.purpose && words.storePage.purpose(camera.purpose, camera.retention_days ?? 0);
      const missing = camera.shown ? tile.why || words.storePage.waitsForPicture : words.storePage.noPicture;
      fill(why, picture ? "" : missing);
      why.title = camera.why_not;
      paint(canvas, tile, fresh, plan);
    },
  };
  return tile;
}

const silent = (span_ms: number): string =>
  Number.isFinite(span_ms) ? words.storePage.silent(seconds(span_ms / 1000)) : words.storePage.waitsForPicture;

function paint(canvas: HTMLCanvasElement, tile: Tile, fresh: boolean, plan: PlanTable): void {
  const { camera, picture } = tile;
  const view = picture ? viewAt(tile.recent, picture.captured_ms) : tile.view;
  const boxes = fresh && view ? view.people : [];
  const [width, height] = camera.size ?? (picture ? [picture.bitmap.width, picture.bitmap.height] : [1280, 720]);
  // Boxes are in the camera's pixels; the canvas has those of the screen.
  const shown = Math.round((canvas.clientWidth || 320) * devicePixelRatio);
  const scale = shown / width;
  if (canvas.width !== shown || canvas.height !== Math.round(height * scale)) {
    canvas.width = shown;
    canvas.height = Math.round(height * scale);
  }
  const ctx = canvas.getContext("2d")!;
  const colours = palette();
  ctx.fillStyle = colours.ground;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  if (picture) ctx.drawImage(picture.bitmap, 0, 0, canvas.width, canvas.height);
  const px = devicePixelRatio;
  ctx.font = `600 ${12 * px}px ${colours.sans}`;
  ctx.textBaseline = "bottom";
  for (const zone of zonesOf(plan).filter((one) => one.camera === camera.name)) {
    ctx.beginPath();
    zone.polygon.forEach(([x, y]) => ctx.lineTo(x * scale, y * scale));
    ctx.closePath();
    ctx.fillStyle = faded(colours.sideA, 0.15);
    ctx.fill();
    ctx.lineWidth = 1.5 * px;
    ctx.strokeStyle = colours.sideA;
    ctx.stroke();
  }
  // Over a picture of any brightness: light on dark, whatever the theme.
  for (const person of boxes) {
    const [x0, y0, x1, y1] = person.box.map((side) => side * scale) as [number, number, number, number];
    for (const [colour, wide] of [
      ["#0e1116", 4],
      ["#3fb68b", 2],
    ] as const) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = wide * px;
      ctx.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    const at = Math.max(14 * px, y0 - 2 * px);
    rimmedText(ctx, shortId(person), x0 + 2 * px, at, { colour: "#e6eaf0", rim: "#0e1116", width: 4 * px });
  }
}
