/**
 * Small tiles for products on a processor, where compiling a kernel takes nearly all the time: every value that a thread loads
 * and every row that it holds is code of its own. products.test.ts checks the tiles of GPUs, one by one.
 */
import { TILES, type Tile } from '../../../src/engine/webgpu/products.js';

/** One vector of each operand for each thread, and rows and columns enough that several workgroups share small products. */
const SMALL: Tile = {
  ...{ bm: 32, bn: 32, bk: 8, rowGroups: 1, columnGroups: 1, stages: 1, loader: 'vector', unroll: 1 },
};

/** From here on, and in the whole process, products are computed in small tiles, whatever the plan chooses. */
export function useSmallTiles(): void {
  const tiles: Record<string, Tile> = TILES;
  for (const name of Object.keys(tiles)) tiles[name] = SMALL;
}
