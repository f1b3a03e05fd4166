/**
 * Moving whole rows: gather, scatter, sums of repeated rows, and the patch merger's blocks. Threads never write the
 * same row.
 */
import { address, integer } from './vector-math';

/** [x, rows, out, columns]: out[i] = x[rows[i]]. */
export function gatherRows(args: usize, start: i32, end: i32): void {
  const rows = address(args, 1);
  const bytes = <usize>integer(args, 3) << 2;
  for (let i = start; i < end; i++) {
    const from = <usize>load<i32>(rows + (<usize>i << 2));
    memory.copy(address(args, 2) + <usize>i * bytes, address(args, 0) + from * bytes, bytes);
  }
}

/** [source or 0, rows, out, columns]: out[rows[i]] = source[i], or zeros. */
export function scatterRows(args: usize, start: i32, end: i32): void {
  const source = address(args, 0);
  const rows = address(args, 1);
  const bytes = <usize>integer(args, 3) << 2;
  for (let i = start; i < end; i++) {
    const to = address(args, 2) + <usize>load<i32>(rows + (<usize>i << 2)) * bytes;
    if (source) memory.copy(to, source + <usize>i * bytes, bytes);
    else memory.fill(to, 0, bytes);
  }
}

/** [dy, starts, places, dx, columns]: dx[r] = Σ dy[places[j]], j from starts[r] to starts[r + 1], in order. */
export function sumRows(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 4);
  const bytes = <usize>columns << 2;
  for (let row = start; row < end; row++) {
    const starts = address(args, 1) + (<usize>row << 2);
    const last = load<i32>(starts, 4);
    const to = address(args, 3) + <usize>row * bytes;
    memory.fill(to, 0, bytes);
    for (let i = load<i32>(starts); i < last; i++) {
      const from = address(args, 0) + <usize>load<i32>(address(args, 2) + (<usize>i << 2)) * bytes;
      let c = 0;
      for (; c + 4 <= columns; c += 4) {
        const at = <usize>c << 2;
        v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)));
      }
      for (; c < columns; c++) {
        const at = <usize>c << 2;
        store<f32>(to + at, load<f32>(to + at) + load<f32>(from + at));
      }
    }
  }
}

/** [x, patches, out, columns, block]: out[i][c·block + j] = x[patches[i·block + j]][c]. */
export function mergePatches(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 3);
  const block = integer(args, 4);
  for (let i = start; i < end; i++) {
    const out = address(args, 2) + (<usize>i * block * columns << 2);
    for (let j = 0; j < block; j++) {
      const patch = <usize>load<i32>(address(args, 1) + (<usize>(i * block + j) << 2));
      const x = address(args, 0) + (patch * columns << 2);
      for (let c = 0; c < columns; c++) {
        store<f32>(out + (<usize>(c * block + j) << 2), load<f32>(x + (<usize>c << 2)));
      }
    }
  }
}

/** [dy, patches, dx, columns, block]: the way back of mergePatches. */
export function splitPatches(args: usize, start: i32, end: i32): void {
  const columns = integer(args, 3);
  const block = integer(args, 4);
  for (let i = start; i < end; i++) {
    const dy = address(args, 0) + (<usize>i * block * columns << 2);
    for (let j = 0; j < block; j++) {
      const patch = <usize>load<i32>(address(args, 1) + (<usize>(i * block + j) << 2));
      const dx = address(args, 2) + (patch * columns << 2);
      for (let c = 0; c < columns; c++) {
        store<f32>(dx + (<usize>c << 2), load<f32>(dy + (<usize>(c * block + j) << 2)));
      }
    }
  }
}
