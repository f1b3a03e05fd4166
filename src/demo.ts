/**
 * `ministral-tune/demo`: drawn X-ray images and a tiny checkpoint of random weights, so that a program can be tried and
 * tested without a download, an account or a card.
 */
export {
  DEMONSTRATION_CONFIG,
  type Demonstration,
  type DemonstrationOptions,
  prepareDemonstration,
} from './demo/demonstration.js';
export {
  type DrawRadiographsOptions,
  drawRadiograph,
  drawRadiographs,
  FRACTURE_CLASSES,
  RADIOGRAPH_HEIGHT,
  RADIOGRAPH_WIDTH,
} from './demo/radiographs.js';
export { type TinyCheckpointOptions, writeTinyCheckpoint } from './demo/tiny-checkpoint.js';
