/** The gateway's REST answers and the addresses of its streams. */

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
export const fetchMatch = (id: string): Promise<MatchDetail> => get(`/api/matches/${encodeURIComponent(id)}`);
export const fetchOps = (): Promise<Ops> => get("/api/ops");

export const WALL_STREAM = "/api/stream";
export const OPS_STREAM = "/api/ops/stream";
export const matchStream = (id: string): string => `/api/matches/${encodeURIComponent(id)}/events`;
