import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { Stream, type Link } from "../src/stream.ts";

/** An EventSource driven by hand. */
class FakeSource extends EventTarget {
  static made: FakeSource[] = [];
  static get last(): FakeSource {
    return FakeSource.made.at(-1)!;
  }

  readonly url: string;
  closed = false;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;

  constructor(url: string) {
    super();
    this.url = url;
    FakeSource.made.push(this);
  }

  close(): void {
    this.closed = true;
  }

  say(name: string, data: unknown, lastEventId = ""): void {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data), lastEventId }));
  }
}

Object.assign(globalThis, { EventSource: FakeSource });

beforeEach(() => {
  FakeSource.made = [];
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

function follow(lastId: string | null = null): {
  heard: unknown[];
  links: Link[];
  reopened: () => number;
  stream: Stream;
} {
  const heard: unknown[] = [];
  const links: Link[] = [];
  let reopened = 0;
  const stream = new Stream({
    path: "/s",
    lastId,
    on: { insight: (data) => heard.push(data), state: () => undefined },
    onLink: (link) => links.push(link),
    onReopen: () => (reopened += 1),
  });
  return { heard, links, reopened: () => reopened, stream };
}

test("it goes on from the last id seen, in the address", () => {
  const { heard, links, reopened } = follow("1-0 a");
  assert.equal(FakeSource.last.url, "/s?last_id=1-0%20a");
  FakeSource.last.onopen!();
  FakeSource.last.say("insight", { p: 0.5 }, "1-1");
  FakeSource.last.say("state", {});
  FakeSource.last.onerror!();
  assert.equal(FakeSource.last.closed, true);
  mock.timers.tick(1000);
  assert.equal(FakeSource.made.length, 2);
  assert.equal(FakeSource.last.url, "/s?last_id=1-1");
  FakeSource.last.onopen!();
  assert.deepEqual(heard, [{ p: 0.5 }]);
  assert.deepEqual(links, ["open", "lost", "open"]);
  assert.equal(reopened(), 1);
});

test("it tries again for ever, at most five seconds and a half of them apart", () => {
  follow();
  for (let attempt = 1; attempt <= 20; attempt += 1) {
    assert.equal(FakeSource.made.length, attempt);
    FakeSource.last.onerror!();
    mock.timers.tick(7500);
  }
});

test("before the first connection it is connecting, not lost", () => {
  const { links } = follow();
  FakeSource.last.onerror!();
  assert.deepEqual(links, ["connecting"]);
});

test("a connection that died without a word is opened anew", () => {
  follow();
  FakeSource.last.onopen!();
  mock.timers.tick(34_000);
  FakeSource.last.say("state", {});
  mock.timers.tick(34_000);
  assert.equal(FakeSource.made.length, 1);
  mock.timers.tick(1000);
  assert.equal(FakeSource.made.length, 2);
  assert.equal(FakeSource.made[0]!.closed, true);
});

test("a quiet stream that beats is never opened anew", () => {
  const { heard, reopened } = follow();
  FakeSource.last.onopen!();
  for (let ten_s = 0; ten_s < 360; ten_s += 1) {
    mock.timers.tick(10_000);
    FakeSource.last.say("beat", null);
  }
  assert.equal(FakeSource.made.length, 1);
  assert.equal(reopened(), 0);
  assert.deepEqual(heard, []);
});

test("a closed stream stays closed", () => {
  const { stream } = follow();
  FakeSource.last.onerror!();
  stream.close();
  mock.timers.tick(60_000);
  assert.equal(FakeSource.made.length, 1);
});

test("after a resync it follows from the position of the fresh load", () => {
  const { stream } = follow("1-0");
  FakeSource.last.onopen!();
  stream.resumeFrom("1-50");
  assert.equal(FakeSource.last.url, "/s?last_id=1-50");
});
