/** The gateway's REST answers and the addresses of its streams. */

import { writtenId } from "./address.ts";
import type { MatchDetail, MatchList, Ops } from "./contract.ts";

/** The gateway answered, but not with what was asked for. `status` is the HTTP status. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
    throw new Refused(response.status, typeof problem.detail === "string" ? problem.detail : response.statusText);
  }
  return (await response.json()) as T;
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
