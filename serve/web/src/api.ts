/** The gateway's REST answers and the addresses of its streams. */

import { writtenId } from "./address.ts";
import type {
  Counts,
  Flows,
  HeatMap,
  ItemList,
  MatchDetail,
  MatchList,
  Ops,
  PlanTable,
  ShopFigures,
  ShopperEvent,
  ShopState,
  StoredPlan,
  StoreState,
} from "./contract.ts";

/** The gateway answered, but not with what was asked for. `status` is the HTTP status. */
export class Refused extends Error {
  readonly status: number;
  /** Name of the shape of a plan that the refusal is about. */
  readonly thing: string | null;

  constructor(status: number, detail: string, thing: string | null = null) {
    super(detail);
    this.status = status;
    this.thing = thing;
  }
}

const get = <T>(path: string): Promise<T> => ask<T>(path, { headers: { accept: "application/json" } });

async function ask<T>(path: string, how: RequestInit): Promise<T> {
  const response = await fetch(path, how);
  if (!response.ok) throw await refusal(response);
  return (await response.json()) as T;
}

async function refusal(response: Response): Promise<Refused> {
  const problem = (await response.json().catch(() => ({}))) as { detail?: unknown; thing?: unknown };
  const detail = typeof problem.detail === "string" ? problem.detail : response.statusText;
  return new Refused(response.status, detail, typeof problem.thing === "string" ? problem.thing : null);
}

export const fetchMatches = (): Promise<MatchList> => get("/api/matches");
export const fetchMatch = (id: string): Promise<MatchDetail> => get(`/api/matches/${writtenId(id)}`);
export const fetchOps = (): Promise<Ops> => get("/api/ops");

/** The interface for programs, as the gateway states it. */
export const OPENAPI = "/api/openapi.json";
export const fetchInterface = <T>(): Promise<T> => get(OPENAPI);

export const WALL_STREAM = "/api/stream";
export const OPS_STREAM = "/api/ops/stream";
export const matchStream = (id: string): string => `/api/matches/${writtenId(id)}/events`;

const STORE = "/api/v1/store";
export const STORE_STREAM = `${STORE}/events`;
export const fetchStore = (): Promise<StoreState> => get(STORE);
export const fetchHeat = (minutes: number): Promise<HeatMap> => get(`${STORE}/heat?minutes=${minutes}`);
export const fetchFlows = (minutes: number): Promise<Flows> => get(`${STORE}/flows?minutes=${minutes}`);
export const fetchCounts = (zone: string, since_ms: number, step_s: number): Promise<Counts> =>
  get(`${STORE}/counts?zone=${encodeURIComponent(zone)}&since_ms=${since_ms}&step_s=${step_s}`);
export const fetchPlan = (): Promise<StoredPlan> => get(`${STORE}/plan`);

/** Replaces the plan, unless somebody else has since this version was read: then it is refused with 412. */
export const putPlan = (plan: PlanTable, etag: string): Promise<StoredPlan> =>
  ask(`${STORE}/plan`, {
    method: "PUT",
    headers: { "content-type": "application/json", "if-match": `"${etag}"` },
    body: JSON.stringify(plan),
  });

/** The newest frame of a camera taken after a moment; null where there is none yet. */
export async function fetchFrame(
  camera: string,
  after_ms: number,
): Promise<{ captured_ms: number; jpeg: Blob } | null> {
  const response = await fetch(`${STORE}/cameras/${encodeURIComponent(camera)}/frame?after_ms=${after_ms}`);
  if (!response.ok) throw await refusal(response);
  if (response.status === 204) return null;
  return { captured_ms: Number(response.headers.get("sightline-captured-ms")), jpeg: await response.blob() };
}

const SHOP = "/api/v1/shop";
export const fetchShop = (): Promise<ShopState> => get(SHOP);
export const fetchShopFigures = (minutes: number): Promise<ShopFigures> => get(`${SHOP}/figures?minutes=${minutes}`);
export const shopStream = (session: string): string => `${SHOP}/events?session=${encodeURIComponent(session)}`;

export interface ItemQuery {
  category: string;
  search: string;
  start: number;
  limit: number;
}

export function fetchItems({ category, search, start, limit }: ItemQuery): Promise<ItemList> {
  const query = new URLSearchParams({ category, search, start: String(start), limit: String(limit) });
  return get(`${SHOP}/items?${query.toString()}`);
}

/** Resolves once the event lies on the topic. */
export const sendEvent = (event: ShopperEvent): Promise<unknown> =>
  ask(`${SHOP}/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(event),
  });
