import wandb from '@wandb/sdk';
import { scalarsOf, type TrainerCallback } from 'ministral-tune/monitor';

export function weightsAndBiases(project: string): TrainerCallback {
  return {
    name: 'W&B',
    onStart: async ({ config }) => void (await wandb.init({ project, config })),
    onEvent: (event) => {
      const values = scalarsOf(event);
      if (Object.keys(values).length > 0) wandb.log({ ...values }, event.step);
    },
    onClose: (error) => wandb.finish(error === undefined ? 0 : 1),
  };
}
