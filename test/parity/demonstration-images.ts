/** The images of the example's demonstration, drawn by as many processes as there are cores: one takes half a minute. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';

import { DEMONSTRATION_SEED, FRACTURE_CLASSES, radiographOf } from '../../src/demo/radiographs.js';

export interface DrawnImage {
  readonly className: string;
  readonly grey: Uint8Array;
}

/** Images per class of each split. */
export interface ImageCounts {
  readonly Train: number;
  readonly Test: number;
}

/** Set in a process that was started for its share of the images alone. */
const SHARE = 'DRAW_IMAGES';

function draw(split: keyof ImageCounts, counts: ImageCounts, isMine: (index: number) => boolean): DrawnImage[] {
  return FRACTURE_CLASSES.flatMap((className) =>
    Array.from({ length: counts[split] }, (_, i) => i)
      .filter(isMine)
      .map((i) => ({ className, grey: radiographOf(className, DEMONSTRATION_SEED, split, i) })),
  );
}

/**
 * In such a process draws, sends, and never returns; in any other does nothing. To be awaited before all else, as the
 * process runs the same program.
 */
export async function drawShare(): Promise<void> {
  const share = process.env[SHARE];
  if (share === undefined) return;
  const { first, step, counts } = JSON.parse(share) as { first: number; step: number; counts: ImageCounts };
  const isMine = (index: number): boolean => index % step === first;
  const made = { Train: draw('Train', counts, isMine), Test: draw('Test', counts, isMine) };
  await new Promise<never>(() => process.send!(made, () => process.exit()));
}

/** By split, class by class, each in the order of the folder that the example makes. */
export async function drawImages(counts: ImageCounts): Promise<Record<keyof ImageCounts, DrawnImage[]>> {
  const step = Math.min(16, availableParallelism());
  const shares = await Promise.all(
    Array.from({ length: step }, async (_, first) => {
      const env = { ...process.env, [SHARE]: JSON.stringify({ first, step, counts }) };
      const child = fork(process.argv[1]!, [], { env, serialization: 'advanced' });
      const [made] = await Promise.race([
        once(child, 'message'),
        once(child, 'exit').then(([code]) => Promise.reject(new Error(`drawing images ended with ${code}`))),
      ]);
      return made as Record<keyof ImageCounts, DrawnImage[]>;
    }),
  );
  const inOrder = (split: keyof ImageCounts): DrawnImage[] =>
    FRACTURE_CLASSES.flatMap((className) => {
      const parts = shares.map((share) => share[split].filter((image) => image.className === className));
      return Array.from({ length: counts[split] }, (_, i) => parts[i % step]![Math.floor(i / step)]!);
    });
  return { Train: inOrder('Train'), Test: inOrder('Test') };
}
