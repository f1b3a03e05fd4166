/**
 * `ministral-tune/plan`: what a run takes, before a card is rented. `plan` counts tokens, memory, operations and time from
 * texts, headers of images and the configuration of a model; `formatTrainingPlan` shows them in a terminal.
 */
export { formatTrainingPlan } from './plan/format-training-plan.js';
export type { LinkName } from './plan/links.js';
export { plan, type TrainingPlanOptions } from './plan/plan.js';
export type {
  CardPlan,
  CardRun,
  DataParallelPlan,
  DataParallelStep,
  DataPlan,
  FormatPlan,
  MemoryPlan,
  PlannedEngine,
  PlannedSample,
  RecomputationPlan,
  RunTimes,
  SampleFault,
  TrainingPlan,
  WeightFormat,
} from './plan/training-plan.js';
