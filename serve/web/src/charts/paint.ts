/** Colours and patterns for canvases, taken from the design tokens of the theme in force. */

export interface Palette {
  ground: string;
  panel: string;
  line: string;
  text: string;
  muted: string;
  sideA: string;
  sideB: string;
  sideAText: string;
  sideBText: string;
  good: string;
  warn: string;
  hatch: string;
  sans: string;
}

/** The tokens now; read again when the theme changes. */
export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const token = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: token("ground"),
    panel: token("panel"),
    line: token("line"),
    text: token("text"),
    muted: token("muted"),
    sideA: token("side-a"),
    sideB: token("side-b"),
    sideAText: token("side-a-text"),
    sideBText: token("side-b-text"),
    good: token("good"),
    warn: token("warn"),
    hatch: token("hatch"),
    sans: token("sans"),
  };
}

/** `share` of the first colour, the rest of the second; both "#rrggbb". */
export function mix(first: string, second: string, share: number): string {
  const channels = [1, 3, 5].map((at) => {
    const [a, b] = [first, second].map((colour) => Number.parseInt(colour.slice(at, at + 2), 16)) as [number, number];
    return Math.round(a * share + b * (1 - share));
  });
  return `rgb(${channels.join(" ")})`;
}

/** The same colour, see-through. */
export const faded = (colour: string, opacity: number): string =>
  colour +
  Math.round(opacity * 255)
    .toString(16)
    .padStart(2, "0");

/** Camp B's hatching over a colour: the sides differ in pattern, not in colour alone. */
export function hatched(
  ctx: CanvasRenderingContext2D,
  colour: string,
  hatch: string,
  pixelRatio: number,
): CanvasPattern {
  const size = Math.round(6 * pixelRatio);
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const paint = tile.getContext("2d")!;
  paint.fillStyle = colour;
  paint.fillRect(0, 0, size, size);
  paint.strokeStyle = hatch;
  paint.lineWidth = size / 4;
  for (const shift of [-size, 0, size]) {
    paint.beginPath();
    paint.moveTo(shift - 1, size + 1);
    paint.lineTo(shift + size + 1, -1);
    paint.stroke();
  }
  return ctx.createPattern(tile, "repeat")!;
}

/** Text with a rim of the ground behind it, legible over lines and areas. Positions and size in canvas pixels. */
export function rimmedText(
  ctx: CanvasRenderingContext2D,
  text: string,
  x: number,
  y: number,
  { colour, rim, width }: { colour: string; rim: string; width: number },
): void {
  ctx.lineJoin = "round";
  ctx.lineWidth = width;
  ctx.strokeStyle = rim;
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}
