/** What is used of the package of Weights & Biases, as version 0.5.1 declares it; it is not installed here. */
declare module '@wandb/sdk' {
  const wandb: {
    init(options: { project?: string; name?: string; config?: unknown }): Promise<unknown>;
    log(data: Record<string, unknown>, step?: number): void;
    finish(code?: number): Promise<void>;
  };
  export default wandb;
}
