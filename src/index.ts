/**
 * ministral-tune: LoRA fine-tuning of the Ministral 3 vision-language models in one Node process.
 * Exports stand in the order in which the data flows.
 */
export * from './errors.js';
