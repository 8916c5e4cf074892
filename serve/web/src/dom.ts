/** The few lines of DOM building that the views share. */

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | ((event: Event) => void) | null | undefined>;

/**
 * An element: `h("a", { href, class: "chip", onclick: fn }, "text", child)`.
 * `true` sets an empty attribute; `false`, `null` and `undefined` leave it out; functions become listeners.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  append(element, children);
  return element;
}

/** The same for SVG. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  append(element, children);
  return element;
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, ""), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

function append(element: Element, children: Child[]): void {
  for (const child of children) if (child) element.append(child);
}

/** Sets the text only where it differs: an unchanged live region must not be read aloud again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The same for a name that may be cut for want of room: the whole of it on hover. */
export function setName(element: HTMLElement, name: string): void {
  setText(element, name);
  if (element.title !== name) element.title = name;
}

/** Replaces all children. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, children);
}

/** A table for ears: the text equivalent of a chart, out of sight but not out of reach. */
export function hiddenTable(caption: string): {
  element: HTMLElement;
  set: (head: string[], rows: string[][]) => void;
} {
  const table = h("table", {}, h("caption", {}, caption));
  const element = h("div", { class: "visually-hidden" }, table);
  let shown = "";
  return {
    element,
    set(head, rows) {
      const next = JSON.stringify([head, rows]);
      if (next === shown) return;
      shown = next;
      fill(
        table,
        h("caption", {}, caption),
        h("thead", {}, h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((text) => h("td", {}, text))))),
      );
    },
  };
}
