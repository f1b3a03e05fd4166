/** Rotary position embedding of queries and keys, in one launch. The gradient turns the other way. */
import { EngineError } from '../../../errors.js';
import { WGSL } from '../../../generated/wgsl-kernels.js';
import type { Operation, OperationAttributes } from '../../operations.js';
import { rotaryHeads } from '../../rotary.js';
import { blocks, type TensorStore, type WebgpuTensor } from '../tensor-store.js';

const OPERATION = 'rotary';

type Attributes = OperationAttributes['rotary'];

/** Rotates q and k, either of which may be absent. */
function turn(
  store: TensorStore,
  [q, k]: readonly (WebgpuTensor | undefined)[],
  { headDim, cos, sin, queryScale }: Attributes,
  sign: 1 | -1,
): readonly (WebgpuTensor | undefined)[] {
  // The kernel's first pair is there in any case; it alone is scaled.
  const first = (q ?? k)!;
  const second = q && k;
  const rows = first.shape[0]!;
  const half = headDim / 2;
  const [cosines, sines] = [cos, sin].map((table) =>
    store.matrix(table, OPERATION, 'cos or sin', { rows, columns: half }),
  ) as [WebgpuTensor, WebgpuTensor];
  const scale = queryScale && store.use(queryScale, OPERATION);
  if (scale && scale.size !== rows) throw new EngineError(`${OPERATION}: queryScale has ${scale.size} of ${rows} rows`);
  const [heads, kvHeads] = [first, second].map((of) => (of ? rotaryHeads(of.shape[1]!, headDim) : 0)) as [
    number,
    number,
  ];
  const out = store.create(first.shape);
  const secondOut = second && store.create(second.shape);
  const used = q ? scale : undefined;
  const [n, kvN] = [out.size / 2, (secondOut?.size ?? 0) / 2];
  const tensors = [out, first, cosines, sines, ...(second ? [secondOut!, second] : []), ...(used ? [used] : [])];
  store.apart(tensors, (...ranges) => {
    const [qOut, qIn, cosine, sine, ...rest] = ranges;
    const [kOut, kIn] = second ? rest.splice(0, 2) : [];
    const bindings = { q_out: qOut!, q: qIn!, cosines: cosine!, sines: sine!, k_out: kOut, k: kIn, scale: rest[0] };
    store.kernels.launch(
      WGSL.rotary,
      blocks(n + kvN),
      { ...bindings, n, kv_n: kvN, half, heads, kv_heads: kvHeads, sign },
      { defines: { BOTH: second !== undefined, SCALED: used !== undefined } },
    );
  });
  return q ? [out, secondOut] : [undefined, out];
}

export function rotary(store: TensorStore): Operation<Attributes> {
  return {
    forward(inputs, attributes, record) {
      const q = store.matrix(inputs[0], OPERATION, 'q');
      const k = store.matrix(inputs[1], OPERATION, 'k', { rows: q.shape[0]! });
      const outputs = turn(store, [q, k], attributes, 1) as [WebgpuTensor, WebgpuTensor];
      const { cos, sin, queryScale } = attributes;
      return { outputs, saved: record ? [cos, sin, ...(queryScale ? [queryScale] : [])] : [] };
    },
    backward(_saved, gradients, attributes, needs) {
      const wanted = [0, 1].map((i) => {
        const gradient = needs[i] ? gradients[i] : undefined;
        return gradient && store.matrix(gradient, OPERATION, 'output gradient');
      });
      if (!wanted.some((gradient) => gradient)) return [undefined, undefined];
      return turn(store, wanted, attributes, -1);
    },
  };
}
