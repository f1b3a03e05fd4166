/** What a model takes in float32, and whether that fits: known before the first weight is read. */
import { OutOfMemoryError } from '../../errors.js';
import { DTYPE_BYTES } from '../../formats/weight-source.js';
import type { ModelShapes } from '../engine.js';
import { float32Bytes } from './float32-weight.js';

interface Float32Needs {
  readonly weights: number;
  /** LoRA on every linear layer, to be trained. */
  readonly adapter: number;
  /** The least beside them: temporaries of a pass, or the largest weight a second time while it is handed over. */
  readonly temporaries: number;
}

interface NeedsOptions {
  /** 0 for a model that is not trained. */
  readonly rank: number;
  /** Most attention scores or logits in one array. */
  readonly blockElements: number;
  /** Whether tensors lie in the host's memory, where the optimizer keeps its own copies in any case. */
  readonly onHost: boolean;
}

/** Bytes of one trained element: value and gradient in tensors; on the host both again, and two moments. */
const TENSOR_BYTES_TRAINED = 8;
const HOST_BYTES_TRAINED = 16;
/** Arrays of `blockElements` that live at a time. */
const BLOCKS = 4;

export function float32Needs({ weights, linear }: ModelShapes, options: NeedsOptions): Float32Needs {
  const bytes = weights.map(float32Bytes);
  const trained = linear.reduce((sum, [out, input]) => sum + options.rank * (out! + input!), 0);
  return {
    weights: bytes.reduce((sum, one) => sum + one, 0),
    adapter: trained * (TENSOR_BYTES_TRAINED + (options.onHost ? HOST_BYTES_TRAINED : 0)),
    temporaries: bytes.reduce((most, one) => Math.max(most, one), 4 * BLOCKS * options.blockElements),
  };
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/**
 * @param room bytes that may be taken, and `place`, whose they are
 * @throws OutOfMemoryError with the arithmetic and what to do instead
 */
export function requireFloat32Room(needs: Float32Needs, room: number, place: string, rank: number): void {
  const { weights, adapter, temporaries } = needs;
  const total = weights + adapter + temporaries;
  if (total <= room) return;
  const parts = [
    `${gigabytes(weights)} for the weights alone (${(weights / DTYPE_BYTES.f32 / 1e9).toFixed(2)} billion values of 4 bytes)`,
    ...(adapter > 0 ? [`${gigabytes(adapter)} to train an adapter of rank ${rank} on every linear layer`] : []),
    `at least ${gigabytes(temporaries)} for temporaries`,
  ];
  const smaller = adapter > 0 && total - adapter <= room ? ', or tfjs: { adapterRank: 0 } to generate only' : '';
  throw new OutOfMemoryError(
    `the model does not fit: the tfjs engine holds every value as float32 and needs ${parts.join(', ')}; ${place} ${gigabytes(room)}`,
    {
      hint: `use engine cuda (${gigabytes((weights * DTYPE_BYTES.bf16) / DTYPE_BYTES.f32)} of weights, as bfloat16) or cpu (weights as they are stored), or a smaller model${smaller}`,
      neededBytes: total,
      freeBytes: room,
      details: { ...needs, room },
    },
  );
}
