/** Moving whole rows: gather, scatter, and the patch merger's blocks. Listed rows are distinct, so writes never meet. */
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
