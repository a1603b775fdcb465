import type { BenchStep } from "./context.ts";
import { bandwidth } from "./steps/bandwidth/bandwidth.ts";
import { latency } from "./steps/latency.ts";
import { metadata } from "./steps/metadata.ts";
import { packing } from "./steps/packing/packing.ts";
import { bodies } from "./steps/bodies/bodies.ts";
import { gateway } from "./steps/gateway/gateway.ts";
import { speed } from "./steps/speed/speed.ts";
import { views } from "./steps/views.ts";
import { waiting } from "./steps/waiting.ts";
import { workers } from "./steps/workers/workers.ts";

/** What `make bench` measures, in this order. */
export const steps: readonly BenchStep[] = [
  speed,
  workers,
  latency,
  bandwidth,
  waiting,
  views,
  packing,
  metadata,
  gateway,
  bodies,
];
