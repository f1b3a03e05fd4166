/** Settings of the optimizer steps that benchmarks of training take: those of the tutorial but for the rate. */
export const OPTIMIZER_SETTINGS = {
  learningRate: 1e-4,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  weightDecay: 0,
  maxGradNorm: 0.3,
} as const;
