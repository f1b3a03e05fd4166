/** Addition and activations, alone and gating another row. Backward computes an activation's slope from its input. */
import type { Activation, Operation, OperationAttributes } from '../../operations.js';
import type { TensorStore } from '../tensor-store.js';
import type { TfNamespace, TfTensor } from '../tf-namespace.js';

/** √(2/π) and the cubic coefficient of the tanh form of GELU. */
const TANH_SCALE = Math.sqrt(2 / Math.PI);
const TANH_CUBIC = 0.044715;

interface Curve {
  value(tf: TfNamespace, x: TfTensor): TfTensor;
  slope(tf: TfNamespace, x: TfTensor): TfTensor;
}

/** Φ(x) of the standard normal distribution. */
function normalCdf(tf: TfNamespace, x: TfTensor): TfTensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
}

/** tanh(√(2/π)·(x + c·x³)) */
function tanhOf(tf: TfNamespace, x: TfTensor): TfTensor {
  const cubic = tf.add(tf.mul(tf.square(x), TANH_CUBIC * TANH_SCALE), TANH_SCALE);
  return tf.tanh(tf.mul(cubic, x));
}

const CURVES: Readonly<Record<Activation, Curve>> = {
  silu: {
    value: (tf, x) => tf.mul(x, tf.sigmoid(x)),
    // σ·(1 + x·(1 - σ))
    slope: (tf, x) => {
      const sigmoid = tf.sigmoid(x);
      return tf.mul(tf.add(tf.mul(tf.sub(1, sigmoid), x), 1), sigmoid);
    },
  },
  gelu: {
    value: (tf, x) => tf.mul(x, normalCdf(tf, x)),
    // Φ + x·φ
    slope: (tf, x) => {
      const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return tf.add(normalCdf(tf, x), tf.mul(x, density));
    },
  },
  gelu_tanh: {
    value: (tf, x) => tf.mul(x, tf.mul(tf.add(tanhOf(tf, x), 1), 0.5)),
    // (1 + t)/2 + x/2·(1 - t²)·√(2/π)·(1 + 3c·x²)
    slope: (tf, x) => {
      const t = tanhOf(tf, x);
      const inner = tf.add(tf.mul(tf.square(x), 1.5 * TANH_CUBIC * TANH_SCALE), 0.5 * TANH_SCALE);
      const bend = tf.mul(tf.mul(tf.sub(1, tf.square(t)), inner), x);
      return tf.add(tf.mul(tf.add(t, 1), 0.5), bend);
    },
  },
  relu: { value: (tf, x) => tf.relu(x), slope: (tf, x) => tf.step(x) },
};

export function activation(store: TensorStore): Operation<OperationAttributes['activation']> {
  const operation = 'activation';
  return {
    forward([input], { activation: kind }, record) {
      const x = store.use(input, operation, 'x');
      const y = store.one(operation, (tf) => CURVES[kind].value(tf, x.data));
      return { outputs: [y], saved: record ? [x] : [] };
    },
    backward([input], [gradient], { activation: kind }, needs) {
      if (!gradient || !needs[0]) return [undefined];
      const x = store.use(input, operation, 'saved x');
      const dy = store.like(gradient, x, operation, 'output gradient');
      return [store.one(operation, (tf) => tf.mul(CURVES[kind].slope(tf, x.data), dy.data))];
    },
  };
}

export function gatedActivation(store: TensorStore): Operation<OperationAttributes['gatedActivation']> {
  const operation = 'gatedActivation';
  return {
    forward(inputs, { activation: kind }, record) {
      const gate = store.use(inputs[0], operation, 'gate');
      const up = store.like(inputs[1], gate, operation, 'up');
      const y = store.one(operation, (tf) => tf.mul(CURVES[kind].value(tf, gate.data), up.data));
      return { outputs: [y], saved: record ? [gate, up] : [] };
    },
    backward(saved, [gradient], { activation: kind }, needs) {
      if (!gradient || !needs.includes(true)) return [undefined, undefined];
      const gate = store.use(saved[0], operation, 'saved gate');
      const up = store.use(saved[1], operation, 'saved up');
      const dy = store.like(gradient, gate, operation, 'output gradient');
      const made = store.run(operation, (tf) => [
        ...(needs[0] ? [tf.mul(tf.mul(CURVES[kind].slope(tf, gate.data), up.data), dy.data)] : []),
        ...(needs[1] ? [tf.mul(CURVES[kind].value(tf, gate.data), dy.data)] : []),
      ]);
      return needs.map((need) => (need ? made.shift() : undefined));
    },
  };
}

export function add(store: TensorStore): Operation<OperationAttributes['add']> {
  return {
    forward(inputs) {
      const a = store.use(inputs[0], 'add', 'a');
      const b = store.like(inputs[1], a, 'add', 'b');
      return { outputs: [store.one('add', (tf) => tf.add(a.data, b.data))], saved: [] };
    },
    backward: (_saved, [gradient], _attributes, needs) => store.shared(gradient, needs),
  };
}
