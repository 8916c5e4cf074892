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

/* The store: `serve/gateway/store/schemas.py`. Places are metres on the plan, boxes are pixels of the camera. */

export interface SeenPerson {
  track_id: number;
  person_id: string | null;
  link_score: number | null;
  box: [x0: number, y0: number, x1: number, y1: number];
  feet: [x: number, y: number] | null;
}

export interface CameraView {
  camera_id: string;
  captured_ms: number;
  frame: number;
  heard_ms: number;
  covered: boolean;
  people: SeenPerson[];
}

export interface People {
  time_ms: number;
  cameras: CameraView[];
}

export interface Metric {
  id: string;
  zone_id: string;
  kind: string;
  window_start_ms: number;
  window_end_ms: number;
  revision: number;
  people: number;
  occupancy_mean: number;
  occupancy_max: number;
  occupancy_end: number;
  entered: number;
  left: number;
  dwell_mean_s: number | null;
  dwell_max_s: number | null;
  longest_s: number | null;
  crossed_in: number;
  crossed_out: number;
  labels: string[];
  counts: number[];
}

export interface AlertEntry {
  id: string;
  zone_id: string;
  rule: string;
  kind: string;
  state: string;
  subject: string;
  event_time_ms: number;
  value: number;
  limit: number;
}

export interface Trust {
  time_ms: number;
  state: State;
  delay_s: number;
  causes: Cause[];
  broker: BrokerState;
  embedding: string;
  plan_etag: string;
  stale: string[];
}

export interface StoreCamera {
  name: string;
  size: [width: number, height: number] | null;
  shown: boolean;
  why_not: string;
  purpose: string;
  retention_days: number | null;
}

export interface StoreState extends Trust {
  last_id: string;
  origin: string;
  visits_today: number;
  today_since_ms: number;
  places: Metric[];
  views: CameraView[];
  cameras: StoreCamera[];
  alerts: AlertEntry[];
}

export interface CountPoint {
  time_ms: number;
  occupancy_mean: number;
  occupancy_max: number;
  entered: number;
  left: number;
  crossed_in: number;
  crossed_out: number;
  corrected: boolean;
}

export interface Counts {
  zone_id: string;
  kind: string;
  step_s: number;
  points: CountPoint[];
}

export interface HeatMap {
  since_ms: number;
  until_ms: number;
  width_m: number;
  depth_m: number;
  cell_m: number;
  columns: number;
  cells: number[];
  seconds: number[];
}

export interface Flows {
  since_ms: number;
  until_ms: number;
  visits: number;
  paths: { zones: string[]; visits: number }[];
  flows: { origin: string; target: string; visits: number }[];
}

export type Place = [x: number, y: number];

export interface PlanZone {
  name: string;
  polygon: Place[];
  kind?: string;
  camera?: string;
  min_stay_s?: number;
}

export interface PlanLine {
  name: string;
  start: Place;
  end: Place;
  band?: number;
  camera?: string;
  entrance?: boolean;
}

/** The parts of a plan that the page draws; whatever else it holds goes back as it came. */
export interface PlanTable {
  floor?: { width_m: number; depth_m: number; cell_m?: number };
  zone?: PlanZone[];
  line?: PlanLine[];
  [other: string]: unknown;
}

export interface StoredPlan {
  etag: string;
  saved_ms: number;
  plan: PlanTable;
}

/* The shop: `serve/gateway/shop/schemas.py`. Titles are data: they go into the page as text, never as markup. */

export interface ShopItem {
  item_id: string;
  title: string;
  category: string;
  price: number | null;
  may_be_offered: boolean;
}

export interface ItemList {
  total: number;
  items: ShopItem[];
}

export interface OfferedItem {
  item: ShopItem;
  reasons: { kind: string; item_id: string; title: string; share: number }[];
  why_en: string;
  why_zh: string;
}

export interface Offer {
  session_id: string;
  answer_id: string;
  item_id: string;
  event_time_ms: number;
  emit_time_ms: number;
  explored: boolean;
  experiment: string;
  arm: string;
  model_name: string;
  model_version: string;
  items: OfferedItem[];
}

export interface ShopTrust {
  time_ms: number;
  state: State;
  delay_s: number;
  causes: Cause[];
  broker: BrokerState;
  model: string;
}

export interface ShopState extends ShopTrust {
  last_id: string;
  origin: string;
  items: number;
  categories: { name: string; items: number }[];
}

export interface ShopperEvent {
  session_id: string;
  kind: "view" | "search" | "cart" | "remove" | "purchase" | "impression";
  item_id?: string;
  text?: string;
  items?: string[];
  answer_id?: string;
}

export interface ArmRow {
  experiment: string;
  arm: string;
  sessions: number;
  answers: number;
  clicks: number;
  ctr: number;
  ctr_low: number | null;
  ctr_high: number | null;
  difference: number | null;
  difference_low: number | null;
  difference_high: number | null;
  differs: boolean | null;
}

export interface CtrPoint {
  time_ms: number;
  experiment: string;
  arm: string;
  answers: number;
  clicks: number;
}

export interface ShopFigures {
  since_ms: number;
  until_ms: number;
  step_s: number;
  answers: number;
  arms: ArmRow[];
  points: CtrPoint[];
  items: number;
  items_offered: number;
  cold: number;
  cold_offered: number;
  newest_cold: { item: ShopItem; offered: boolean }[];
}
