/** Whether a model's weights fit at all: known before the first of them is read. */
import { OutOfMemoryError } from '../../errors.js';
import { DTYPE_BYTES, type HeldFormat, matrixShape, sizeOf, type WeightSource } from '../../formats/weight-source.js';
import { formatBytes } from '../../messages/format-bytes.js';

type Shaped = Pick<WeightSource, 'shape' | 'dtype' | 'hold' | 'quantState' | 'scale' | 'usage'>;

/** What bitsandbytes and `quantization: 'nf4'` take. */
const USUAL_NF4 = { format: 'nf4', blockSize: 64, doubleQuantization: true } as const;

/** Bytes on the device, as the engine keeps them: absmax as float32, vectors widened. */
export function weightBytes({ shape, dtype, hold, quantState, scale }: Omit<Shaped, 'usage'>): number {
  const size = sizeOf(shape);
  if (shape.length <= 1) return 4 * size;
  const [rows, columns] = matrixShape(shape);
  const format = hold?.format ?? (dtype === 'nf4' ? 'nf4' : undefined);
  if (format === 'nf4') {
    const blockSize = dtype === 'nf4' ? quantState?.blockSize : (hold as typeof USUAL_NF4).blockSize;
    return Math.ceil(size / 2) + 4 * Math.ceil(size / (blockSize ?? USUAL_NF4.blockSize));
  }
  if (format === 'f8_e4m3') {
    const [blockRows, blockColumns] = (dtype === 'f8_e4m3' && scale?.block) || [1, columns];
    return size + 4 * Math.ceil(rows / blockRows) * Math.ceil(columns / blockColumns);
  }
  return size * (dtype === 'f8_e4m3' ? DTYPE_BYTES.bf16 : DTYPE_BYTES[dtype]);
}

const sumOf = (sources: readonly Shaped[]): number => sources.reduce((sum, source) => sum + weightBytes(source), 0);

/** The same with the matrices of decoder layers in another format. */
function bytesAs(sources: readonly Shaped[], hold: HeldFormat): number {
  return sumOf(
    sources.map((source) =>
      typeof source.usage === 'object' && source.shape.length > 1 ? { ...source, hold, dtype: 'bf16' } : source,
    ),
  );
}

/**
 * @param room bytes that the budget leaves
 * @param beside bytes that the smallest pass needs beside the weights
 * @throws OutOfMemoryError with the arithmetic, and the format that would fit
 */
export function requireWeightRoom(sources: readonly Shaped[], room: number, beside: number): void {
  const needed = sumOf(sources);
  if (needed + beside <= room) return;
  const formats = [
    ['fp8', bytesAs(sources, { format: 'f8_e4m3' })],
    ['nf4', bytesAs(sources, USUAL_NF4)],
  ] as const;
  const fitting = formats.find(([, bytes]) => bytes < needed && bytes + beside <= room);
  const [, least] = formats.at(-1)!;
  const smaller = fitting
    ? `quantization: '${fitting[0]}' takes ${formatBytes(fitting[1])} of weights and fits. Or raise`
    : `A smaller model${least < needed ? `: in 4 bits this one takes ${formatBytes(least)}` : ''}. Or raise`;
  throw new OutOfMemoryError(
    `the model does not fit: its weights take ${formatBytes(needed)} as they are to be held and a pass at least ` +
      `${formatBytes(beside)}, the memory budget of the webgpu engine leaves ${formatBytes(room)}`,
    {
      hint: `${smaller} webgpu: { memoryBudget } to ${formatBytes(needed + beside)} or more if the GPU has it.`,
      neededBytes: needed + beside,
      freeBytes: room,
      details: { weightBytes: needed, besideBytes: beside, room },
    },
  );
}
