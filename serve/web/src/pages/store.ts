/** `/store`: who is where, is anything wrong, what did the day bring? And the zones that all of it is counted by. */

import "../styles/store.css";

import { fetchCounts, fetchFlows, fetchHeat, fetchPlan, fetchStore, Refused, STORE_STREAM } from "../api.ts";
import type { AlertEntry, CameraView, Flows, Metric, People, StoredPlan, StoreState, Trust } from "../contract.ts";
import { fill, h, setText } from "../dom.ts";
import { count, seconds, timeOfDay } from "../format.ts";
import { words } from "../i18n/index.ts";
import * as edit from "../store/editor.ts";
import { newer, openAlerts, peopleOnFloor } from "../store/figures.ts";
import { Stream } from "../stream.ts";
import { cameraTiles } from "../views/camera_tiles.ts";
import { floorPlan, pathList } from "../views/floor_plan.ts";
import { foot } from "../views/foot.ts";
import { header } from "../views/header.ts";
import { causeWords, stateChip } from "../views/state.ts";
import { countChart } from "../views/store_counts.ts";
import { alertList, placeList } from "../views/store_lists.ts";
import { zoneEditor } from "../views/zone_editor.ts";

const SPAN_MIN = 60;
const STEP_S = 60;
/** Heat, flows and counts are asked for this often at most. */
const REFRESH_MS = 5000;
const RETRY_MS = 2000;
/** Who was not heard of for so long stands on the plan no more. */
const GONE_MS = 5000;
const MOST_ALERTS = 100;

export function page(root: HTMLElement): void {
  const top = header("store");
  const message = h("p", { class: "muted store-message", role: "status" }, words.connecting);
  const chip = stateChip();
  const people = h("span", { class: "store-people", "data-testid": "people-now" });
  const peopleWord = h("span", { class: "store-people-word" });
  const facts = h("ul", { class: "store-facts" });
  const cause = h("p", { class: "notice small" });
  const stale = h("p", { class: "notice small", "data-testid": "stale" });
  const embedding = h("p", { class: "muted small", "data-testid": "embedding" });
  const editButton = h("button", { type: "button", class: "button", "data-testid": "edit" }, words.storePage.edit);
  const newest = new Map<string, Metric>();
  const views = new Map<string, CameraView>();
  let alerts: AlertEntry[] = [];
  let stored: StoredPlan | null = null;
  let state: StoreState | null = null;
  let clockOffset_ms = 0;
  let askedAt = 0;
  let asking = false;

  const places = placeList();
  const told = alertList();
  const paths = pathList();
  const tiles = cameraTiles();
  const chart = countChart(() => void refreshCounts());
  const plan = floorPlan({
    draw: (at) => editor.change((now) => edit.drawn(now, at)),
    finish: () => editor.change(edit.finished),
    undo: () => editor.change(edit.undone),
    select: (name) => editor.change((now) => edit.select(now, name)),
    move: (name, corner, to, begins) => editor.change((now) => edit.moved(now, name, corner, to, begins)),
  });
  const editor = zoneEditor(drawPlan, (next) => {
    stored = next;
    drawPlan();
    drawPlaces();
    void load();
  });
  editButton.addEventListener("click", () => stored && editor.open(stored));

  const body = h(
    "main",
    { class: "store" },
    h(
      "div",
      { class: "store-top" },
      h(
        "div",
        { class: "store-head" },
        h("h1", { class: "store-headline" }, people, peopleWord),
        facts,
        h("span", { class: "spread" }),
        chip.element,
        editButton,
      ),
      cause,
      stale,
    ),
    plan.element,
    h("div", { class: "store-middle" }, tiles.element, chart.element),
    h("div", { class: "store-side" }, editor.element, told.element, places.element, paths.element, embedding),
  );
  body.hidden = true;
  root.append(top.element, message, body, foot());

  const now_ms = (): number => Date.now() + clockOffset_ms;

  function drawPlan(): void {
    const editing = editor.editor();
    const shown = editing?.plan ?? stored?.plan ?? {};
    plan.setPlan(shown, new Set(editor.faults().keys()), editing);
    tiles.setPlan(shown);
    body.dataset["editing"] = String(editing !== null);
    setText(editButton, editing ? words.storePage.done : words.storePage.edit);
  }

  function drawPlaces(): void {
    if (!stored) return;
    places.set(stored.plan, newest);
    const names = [...edit.zonesOf(stored.plan), ...edit.linesOf(stored.plan)].map(({ name }) => name);
    chart.setChoices(["store", ...names]);
  }

  function drawPeople(): void {
    plan.setPeople(peopleOnFloor([...views.values()], now_ms() - GONE_MS));
    tiles.tick(now_ms());
  }

  function drawFacts(): void {
    const whole = newest.get("store");
    setText(people, whole ? String(whole.occupancy_end) : "–");
    setText(peopleWord, whole ? words.storePage.peopleNow(whole.occupancy_end) : words.storePage.notCounted);
    const queues = stored ? edit.zonesOf(stored.plan).filter(({ kind }) => kind === "queue") : [];
    const waiting = queues.reduce((sum, { name }) => sum + (newest.get(name)?.occupancy_end ?? 0), 0);
    const waits = queues.flatMap(({ name }) => newest.get(name)?.dwell_mean_s ?? []);
    const wait = waits.length ? `, ${words.storePage.wait(seconds(Math.max(...waits)))}` : "";
    const open = openAlerts(alerts).size;
    const fact = (text: string, name: string, bad = false): HTMLElement =>
      h("li", { class: bad ? "bad" : "", "data-testid": name }, text);
    fill(
      facts,
      state && fact(visits(state), "visits"),
      queues.length > 0 && fact(words.storePage.queueNow(waiting) + wait, "queue"),
      fact(words.storePage.openAlerts(open), "open-alerts", open > 0),
      whole && h("li", { class: "muted" }, words.storePage.countedUntil(timeOfDay(whole.window_end_ms).local)),
    );
  }

  function showTrust(trust: Trust): void {
    clockOffset_ms = trust.time_ms - Date.now();
    chip.set({ state: trust.state, status: "live", delay_s: trust.delay_s, origin: state?.origin ?? "live" });
    top.setBroker(trust.broker);
    setText(cause, causeWords({ causes: trust.causes, status: "live" }));
    cause.hidden = !cause.textContent;
    setText(stale, trust.stale.length ? words.storePage.restart(trust.stale.join(", ")) : "");
    stale.hidden = !stale.textContent;
    setText(embedding, trust.embedding ? words.storePage.embedding(trust.embedding) : "");
    embedding.hidden = !embedding.textContent;
    if (stored && trust.plan_etag !== stored.etag) void loadPlan();
  }

  async function loadPlan(): Promise<void> {
    stored = await fetchPlan();
    editor.setStored(stored);
    drawPlan();
    drawPlaces();
  }

  async function load(): Promise<StoreState | null> {
    try {
      const next = await fetchStore();
      if (!stored || stored.etag !== next.plan_etag) await loadPlan();
      state = next;
      newest.clear();
      next.places.forEach((place) => newest.set(place.zone_id, place));
      views.clear();
      alerts = next.alerts;
      tiles.setCameras(next.cameras);
      body.hidden = false;
      message.hidden = true;
      showTrust(next);
      next.views.forEach(put);
      told.set(alerts);
      drawPlaces();
      drawPeople();
      drawFacts();
      await refresh();
      return next;
    } catch (problem) {
      const none = problem instanceof Refused && problem.status === 404;
      message.hidden = !body.hidden;
      setText(message, none ? `${words.storePage.noStore} ${words.storePage.noStoreHelp}` : words.waitingForGateway);
      if (!none) setTimeout(() => void begin(), RETRY_MS);
      return null;
    }
  }

  function put(view: CameraView): void {
    views.set(view.camera_id, view);
    tiles.setView(view);
  }

  async function refresh(): Promise<void> {
    if (asking || Date.now() - askedAt < REFRESH_MS) return;
    asking = true;
    askedAt = Date.now();
    try {
      const hasFloor = stored?.plan.floor !== undefined;
      const [heat, flows] = await Promise.all([hasFloor ? fetchHeat(SPAN_MIN) : null, fetchFlows(SPAN_MIN)]);
      plan.setHeat(heat);
      showFlows(flows);
      await refreshCounts();
    } catch {
      // The next window asks again; until then what is shown stays.
    } finally {
      asking = false;
    }
  }

  function showFlows(flows: Flows): void {
    plan.setFlows(flows);
    paths.set(flows);
  }

  async function refreshCounts(): Promise<void> {
    const place = chart.place();
    const until_ms = newest.get(place)?.window_end_ms ?? now_ms();
    const midnight = new Date(until_ms).setHours(0, 0, 0, 0);
    const counts = await fetchCounts(place, midnight, STEP_S);
    if (place === chart.place()) chart.set(counts);
  }

  let stream: Stream | null = null;

  async function begin(): Promise<void> {
    const loaded = await load();
    if (!loaded || stream) return;
    stream = new Stream({
      path: STORE_STREAM,
      lastId: loaded.last_id,
      onLink: top.setLink,
      on: {
        metric: (data) => {
          const metric = data as Metric;
          newest.set(metric.zone_id, newer(newest.get(metric.zone_id), metric));
          if (metric.zone_id === "store" && state && metric.revision === 0)
            state = { ...state, visits_today: state.visits_today + metric.entered };
          drawSoon();
        },
        alert: (data) => {
          alerts = [data as AlertEntry, ...alerts].slice(0, MOST_ALERTS);
          told.set(alerts);
          drawSoon();
        },
        people: (data) => {
          (data as People).cameras.forEach(put);
          drawPeople();
        },
        state: (data) => showTrust(data as Trust),
        resync: () => void load().then((next) => next && stream?.resumeFrom(next.last_id)),
      },
    });
    setInterval(drawPeople, 1000);
    addEventListener("pagehide", () => {
      stream?.close();
      tiles.close();
    });
  }

  let planned = 0;

  /** A window closes with a row for every place: they are drawn together. */
  function drawSoon(): void {
    if (planned) return;
    planned = requestAnimationFrame(() => {
      planned = 0;
      drawPlaces();
      drawFacts();
      void refresh();
    });
  }

  void begin();
}

function visits(state: StoreState): string {
  const midnight = new Date(state.time_ms).setHours(0, 0, 0, 0);
  const said = count(state.visits_today);
  if (state.today_since_ms - midnight < 60_000) return words.storePage.visitsToday(said);
  return words.storePage.visitsSince(said, timeOfDay(state.today_since_ms).local);
}
