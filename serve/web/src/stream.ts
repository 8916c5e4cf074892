/**
 * Follows one server-sent stream for as long as the page is open.
 *
 * The browser's own reconnect gives up on an HTTP error (a gateway that restarts behind a proxy) and cannot wait less
 * or longer, so each break closes the source and opens a new one, with the last id seen in the address. Messages
 * without an id (state, ticks) do not move the position.
 */

export type Link = "connecting" | "open" | "lost";
export type Handlers = Record<string, (data: unknown) => void>;

export interface Options {
  path: string;
  /** One handler for each event name. */
  on: Handlers;
  /** Position to start from; null for the stream's own start. */
  lastId?: string | null;
  onLink?: (link: Link) => void;
  /** Called when the stream opens again after a break: the time to fetch what may have been missed. */
  onReopen?: () => void;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;
/** A connection may die without a word. The gateway says something every ten seconds, be it only a beat. */
const SILENCE_MS = 35_000;

export class Stream {
  private source: EventSource | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private opened = false;
  private lastId: string | null;
  private readonly options: Options;

  constructor(options: Options) {
    this.options = options;
    this.lastId = options.lastId ?? null;
    globalThis.addEventListener?.("online", () => this.reopenNow());
    // A page that the browser kept for "back" comes without its connections.
    globalThis.addEventListener?.("pageshow", (event) => (event as PageTransitionEvent).persisted && this.reopenNow());
    this.open();
  }

  /** Goes on from another position, as after a fresh load of the match. */
  resumeFrom(lastId: string | null): void {
    this.lastId = lastId;
    this.reopenNow();
  }

  /** Moves the position without touching the connection: what came by another way need not come again. */
  seen(lastId: string | null): void {
    this.lastId = lastId;
  }

  close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private open(): void {
    this.close();
    const { path, on } = this.options;
    const joint = path.includes("?") ? "&" : "?";
    const source = new EventSource(this.lastId ? `${path}${joint}last_id=${encodeURIComponent(this.lastId)}` : path);
    this.source = source;
    source.onopen = () => this.onOpen();
    source.onerror = () => this.onError();
    source.addEventListener("beat", () => this.listen());
    for (const [name, handle] of Object.entries(on)) {
      source.addEventListener(name, (event) => {
        const message = event as MessageEvent<string>;
        if (message.lastEventId) this.lastId = message.lastEventId;
        this.listen();
        handle(JSON.parse(message.data));
      });
    }
  }

  private onOpen(): void {
    this.failures = 0;
    this.options.onLink?.("open");
    if (this.opened) this.options.onReopen?.();
    this.opened = true;
    this.listen();
  }

  private onError(): void {
    this.close();
    this.options.onLink?.(this.opened ? "lost" : "connecting");
    const wait_ms = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures);
    this.failures += 1;
    // Spread by up to a half: a hundred pages must not come back in the same instant.
    this.timer = setTimeout(() => this.open(), wait_ms * (1 + Math.random() / 2));
  }

  private reopenNow(): void {
    this.failures = 0;
    this.open();
  }

  private listen(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), SILENCE_MS);
  }
}
