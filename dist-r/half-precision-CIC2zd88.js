import { a as EngineError } from "./errors-D4G-NQir.js";
// src/formats/weight-source.ts
const DTYPE_BYTES = {
	f32: 4,
	bf16: 2,
	f16: 2,
	f8_e4m3: 1,
	nf4: .5
};
function requireBytes({ name, shape, dtype, byteLength }) {
	const needed = Math.ceil(sizeOf(shape) * DTYPE_BYTES[dtype]);
	if (byteLength === needed) return;
	throw new EngineError(`loadWeight: ${name} has ${byteLength} bytes, [${shape.join(", ")}] of ${dtype} needs ${needed}`);
}
function sizeOf(shape) {
	let size = 1;
	for (const extent of shape) size *= extent;
	return size;
}
function matrixShape(shape) {
	return [sizeOf(shape.slice(0, -1)), shape.at(-1) ?? 1];
}
// src/formats/half-precision.ts
const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);
function bfloat16Bits(bits) {
	if ((bits & 2147483647) > 2139095040) return bits >>> 16 | 64;
	return bits + 32767 + (bits >>> 16 & 1) >>> 16 & 65535;
}
function float16Bits(bits) {
	const sign = bits >>> 16 & 32768;
	const magnitude = bits & 2147483647;
	if (magnitude > 2139095040) return sign | 32256 | magnitude >>> 13 & 511;
	if (magnitude >= 1199566848) return sign | 31744;
	if (magnitude >= 947912704) return sign | magnitude - 939524096 + 4095 + (magnitude >>> 13 & 1) >>> 13;
	if (magnitude <= 855638016) return sign;
	const shift = 126 - (magnitude >>> 23);
	const mantissa = magnitude & 8388607 | 8388608;
	const quotient = mantissa >>> shift;
	const rest = mantissa & (1 << shift) - 1;
	const half = 1 << shift - 1;
	return sign | quotient + (rest > half || rest === half && (quotient & 1) === 1 ? 1 : 0);
}
function bitsOf(values) {
	return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
function float32ToBfloat16(values, target = new Uint16Array(values.length)) {
	const bits = bitsOf(values);
	for (let i = 0; i < bits.length; i++) target[i] = bfloat16Bits(bits[i]);
	return target;
}
function bfloat16ToFloat32(values, target = new Float32Array(values.length)) {
	const bits = bitsOf(target);
	for (let i = 0; i < values.length; i++) bits[i] = values[i] << 16;
	return target;
}
function float32ToFloat16(values, target = new Uint16Array(values.length)) {
	const bits = bitsOf(values);
	for (let i = 0; i < bits.length; i++) target[i] = float16Bits(bits[i]);
	return target;
}
function float16ToFloat32(values, target = new Float32Array(values.length)) {
	const bits = bitsOf(target);
	for (let i = 0; i < values.length; i++) {
		const half = values[i];
		const sign = (half & 32768) << 16;
		const exponent = half >>> 10 & 31;
		const mantissa = half & 1023;
		if (exponent === 0) {
			scratch[0] = mantissa * 2 ** -24;
			bits[i] = scratchBits[0] | sign;
		} else bits[i] = sign | (exponent === 31 ? 255 : exponent + 112) << 23 | mantissa << 13;
	}
	return target;
}
function widen({ buffer, byteOffset, byteLength }, dtype) {
	if (dtype === "f32") return new Float32Array(buffer, byteOffset, byteLength / 4);
	return (dtype === "bf16" ? bfloat16ToFloat32 : float16ToFloat32)(new Uint16Array(buffer, byteOffset, byteLength / 2));
}
function roundToDtype(values, dtype) {
	if (dtype === "bf16") {
		const bits = bitsOf(values);
		for (let i = 0; i < bits.length; i++) bits[i] = bfloat16Bits(bits[i]) << 16;
	} else if (dtype === "f16") float16ToFloat32(float32ToFloat16(values), values);
	return values;
}
export { roundToDtype as a, matrixShape as c, float32ToFloat16 as i, requireBytes as l, float16ToFloat32 as n, widen as o, float32ToBfloat16 as r, DTYPE_BYTES as s, bfloat16ToFloat32 as t, sizeOf as u };
