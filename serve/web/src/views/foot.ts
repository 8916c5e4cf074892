/** The line at the foot of a page: where programs find what people see here. */

import { h } from "../dom.ts";
import { words } from "../i18n/index.ts";
import { link } from "../settings.ts";

export const docsLink = (): HTMLElement => h("a", { class: "foot-link", href: link("/docs") }, words.docs);

export const foot = (): HTMLElement => h("footer", { class: "foot muted small" }, docsLink());
