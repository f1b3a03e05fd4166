/** Rotary position embedding, half-split: (x₁, x₂) → (x₁·cos - x₂·sin, x₂·cos + x₁·sin) with x₂ half a head away. */
import { address, float, integer } from './vector-math';

/** [x, out, cos, sin, rowScale or 0, heads, headDim, sign]; sign -1 turns back, which is the gradient. */
export function rotary(args: usize, start: i32, end: i32): void {
  const scales = address(args, 4);
  const heads = integer(args, 5);
  const half = integer(args, 6) >> 1;
  const sign = float(args, 7);
  const whole = half & ~3;
  const far = <usize>half << 2;
  for (let row = start; row < end; row++) {
    const offset = <usize>row * heads * half << 3;
    let x = address(args, 0) + offset;
    let out = address(args, 1) + offset;
    const cos = address(args, 2) + (<usize>row * half << 2);
    const sin = address(args, 3) + (<usize>row * half << 2);
    const scale: f32 = scales ? load<f32>(scales + (<usize>row << 2)) : 1.0;
    const scale4 = f32x4.splat(scale);
    const sign4 = f32x4.splat(sign);
    for (let head = 0; head < heads; head++) {
      let i = 0;
      for (; i < whole; i += 4) {
        const at = <usize>i << 2;
        const c = v128.load(cos + at);
        const s = f32x4.mul(v128.load(sin + at), sign4);
        const a = v128.load(x + at);
        const b = v128.load(x + far + at);
        v128.store(out + at, f32x4.mul(f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), scale4));
        v128.store(out + far + at, f32x4.mul(f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)), scale4));
      }
      for (; i < half; i++) {
        const at = <usize>i << 2;
        const c = load<f32>(cos + at);
        const s = load<f32>(sin + at) * sign;
        const a = load<f32>(x + at);
        const b = load<f32>(x + far + at);
        store<f32>(out + at, (a * c - b * s) * scale);
        store<f32>(out + far + at, (b * c + a * s) * scale);
      }
      x += far << 1;
      out += far << 1;
    }
  }
}
