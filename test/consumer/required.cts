/** A program in CommonJS: what it requires has the types that modules import. */
import tune = require('ministral-tune');

import { decodeImage } from 'ministral-tune/data';

export const config: tune.LoraConfig = new tune.LoraConfig({ r: 8 });
export const isFault = (error: unknown): error is tune.TuneError => error instanceof tune.TuneError;
export const pixels = (bytes: Uint8Array): ReturnType<typeof decodeImage> => decodeImage(bytes);
