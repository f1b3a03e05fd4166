// Functions that the kernels import from JavaScript.

/** kernel-instance.ts: bytes start..start+bytes of `rows` rows of a weight, one after the other, to `target`. */
// @ts-ignore: decorator
@external('host', 'copyRows')
export declare function copyRows(weight: i32, row: i32, rows: i32, start: i32, bytes: i32, target: usize): void;
