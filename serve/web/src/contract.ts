/**
 * The gateway's JSON, as `serve/gateway/schemas.py` states it. Times are UTC milliseconds, clocks are seconds of
 * game time, probabilities are camp A's, contributions are signed for camp A and sum to the logit of p.
 */

export const GROUPS = ["gold", "kill", "tower", "wild", "lane", "hero", "form"] as const;
export type Group = (typeof GROUPS)[number];
export type Groups = Record<Group, number>;
export type Side = "A" | "B";
export type State = "live" | "delayed" | "degraded" | "replay" | "simulated" | "ended";
/** Why answers are worse than they should be. */
export type Cause = "baseline" | "sums" | "starting" | "pipeline";
export type Status = "live" | "ended" | "void";

export interface BrokerState {
  reachable: boolean;
  since_ms: number;
  text: string;
  ready: boolean;
}

export interface ModelName {
  name: string;
  version: string;
  weight_hash: string;
  trained_on: string;
}

/** The part of a card that moves. */
export interface WallDelta {
  id: string;
  status: Status;
  state: State;
  delay_s: number;
  attempt: number;
  clock_s: number | null;
  p: number | null;
  delta_p: number | null;
  top_reason: string;
  key_moment: boolean;
  commentary_en: string | null;
  commentary_zh: string | null;
  commentary_clock_s: number | null;
  spark: [clock_s: number, p: number][];
  winner: Side | null;
  last_id: string | null;
  flags: string[];
  causes: Cause[];
}

export interface MatchSummary extends WallDelta {
  title: string;
  title_name: string;
  sides: [string, string];
  teams: [string, string];
  league: string;
  patch: string;
  origin: string;
  model: ModelName | null;
}

export interface MatchList {
  time_ms: number;
  broker: BrokerState;
  matches: MatchSummary[];
}

export interface CurvePoint {
  id: string;
  attempt: number;
  frame: number;
  clock_s: number;
  event_time_ms: number;
  p: number;
  delta_p: number;
  contributions: Groups;
  changes: Groups;
  scores: Groups;
  weights: Groups;
  top_reason: string;
  key_moment: boolean;
  moment: string;
  commentary_en: string | null;
  commentary_zh: string | null;
  flags: string[];
}

export interface InsightMessage extends CurvePoint {
  match_id: string;
  status: Status;
  winner: Side | null;
  state: State;
  delay_s: number;
  causes: Cause[];
}

export interface EventEntry {
  id: string;
  event_time_ms: number;
  clock_s: number;
  kind: "start" | "score" | "end" | "remake";
  side: Side | null;
  subject: string | null;
  count: number;
  text: string;
}

export interface Swing {
  clock_s: number;
  p: number;
  delta_p: number;
  moment: string;
  top_reason: string;
  text: string;
}

export interface Result {
  winner: Side | null;
  team: string | null;
  swings: Swing[];
}

export interface MatchDetail extends MatchSummary {
  time_ms: number;
  broker: BrokerState;
  groups: string[];
  curve: CurvePoint[];
  events: EventEntry[];
  result: Result | null;
}

export interface StateMessage {
  match_id: string;
  state: State;
  delay_s: number;
  causes: Cause[];
  model: ModelName | null;
  broker: BrokerState;
}

export interface PartitionLag {
  partition: number;
  committed: number;
  end: number;
  lag_s: number;
}

export interface ModelState extends ModelName {
  title: string;
}

export interface HistoryPoint {
  time_ms: number;
  lag_s: number;
  events_per_s: number;
  answers_per_s: number;
  latency_p99_ms: number | null;
}

export interface PipelineOps {
  pipeline: string;
  state: string;
  reason: string;
  healthy: boolean;
  time_ms: number;
  age_s: number;
  started_ms: number;
  source_topic: string;
  lag_s: number;
  lag_records: number;
  events_per_s: number;
  answers_per_s: number;
  /** Null where nothing was answered in the last minute. */
  latency_p50_ms: number | null;
  latency_p99_ms: number | null;
  events_total: number;
  answers_total: number;
  dead_letters_total: number;
  late_total: number;
  shed_total: number;
  results_late_total: number;
  batches_total: number;
  broken_total: number;
  replicas: number;
  ray_nodes: number;
  models: ModelState[];
  partitions: PartitionLag[];
  errors: string[];
  history: HistoryPoint[];
}

export interface Part {
  name: "broker" | "ray" | "replicas" | "gateway";
  ok: boolean | null;
  text: string;
}

export interface Ops {
  time_ms: number;
  healthy: boolean;
  reasons: string[];
  broker: BrokerState;
  parts: Part[];
  pipelines: PipelineOps[];
  gateway: {
    started_ms: number;
    matches: number;
    live: number;
    streams: number;
    slow_clients: number;
    bad_records: number;
  };
}
