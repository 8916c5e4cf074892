/** An address that leads nowhere. */

import { h } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { link } from "../settings.ts";
import { header } from "../views/header.ts";

export function page(root: HTMLElement): void {
  const top = header(null);
  top.setLink("open");
  const body = h("p", {}, words.pageMissing);
  root.append(
    top.element,
    h("main", { class: "empty" }, body, h("a", { class: "button", href: link("/") }, words.toWall)),
  );
}
