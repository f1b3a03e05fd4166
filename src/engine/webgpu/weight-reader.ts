/** What a launch that includes weight-values.wgsl is given of a frozen weight. */
import type { WebgpuWeight, WeightPart } from './frozen-weight.js';

/** Bindings and uniforms by the names of weight-values.wgsl. Kernels that use none of the uniforms take 0 for them. */
export function weightParameters({ columns, block }: WebgpuWeight, { values, factors }: WeightPart) {
  const [blockRows, blockColumns] = block;
  return {
    weight: values,
    factors,
    weight_columns: columns,
    block_rows: blockRows,
    block_columns: blockColumns,
    factors_across: Math.ceil(columns / blockColumns),
  };
}

/** Whether `weight_values4` may be used: four neighbours lie in one row and share a factor. */
export function isWide({ columns, format, block }: WebgpuWeight): boolean {
  if (columns % 4 !== 0) return false;
  return (format !== 'e4m3' && format !== 'nf4') || block[1] % 4 === 0;
}
