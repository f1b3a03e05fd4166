import { u as requireInteger } from "./config-BAD1VLMT.js";
// src/random.ts
const MOST = Number.MAX_SAFE_INTEGER;
var MersenneTwister = class {
	#state = new Int32Array(624);
	#next = 624;
	constructor(seed) {
		requireInteger(seed, "MersenneTwister: `seed`", -MOST, MOST);
		const state = this.#state;
		state[0] = seed;
		for (let i = 1; i < 624; i++) {
			const mixed = state[i - 1] ^ state[i - 1] >>> 30;
			state[i] = Math.imul(1812433253, mixed) + i;
		}
	}
	nextUint32() {
		if (this.#next === 624) {
			refill(this.#state);
			this.#next = 0;
		}
		return temper(this.#state[this.#next++]) >>> 0;
	}
	nextFloat() {
		return (this.nextUint32() & 16777215) * 2 ** -24;
	}
	fillFloats(target) {
		const state = this.#state;
		for (let at = 0; at < target.length;) {
			if (this.#next === 624) {
				refill(state);
				this.#next = 0;
			}
			const from = this.#next;
			const count = Math.min(624 - from, target.length - at);
			for (let i = 0; i < count; i++) target[at + i] = (temper(state[from + i]) & 16777215) * 2 ** -24;
			this.#next += count;
			at += count;
		}
	}
	nextNormal() {
		return Math.sqrt(-2 * Math.log(1 - this.nextFloat())) * Math.cos(2 * Math.PI * this.nextFloat());
	}
};
function refill(state) {
	for (let i = 0; i < 227; i++) state[i] = state[i + 397] ^ twist(state[i], state[i + 1]);
	for (let i = 227; i < 623; i++) state[i] = state[i - 227] ^ twist(state[i], state[i + 1]);
	state[623] = state[396] ^ twist(state[623], state[0]);
}
function twist(word, next) {
	return (word & 2147483648 | next & 2147483647) >>> 1 ^ -(next & 1) & 2567483615;
}
function temper(word) {
	let y = word;
	y ^= y >>> 11;
	y ^= y << 7 & 2636928640;
	y ^= y << 15 & 4022730752;
	return y ^ y >>> 18;
}
function randomPermutation(n, seed) {
	return Array.from(packedPermutation(n, seed));
}
function packedPermutation(n, seed) {
	requireInteger(n, "randomPermutation: `n`", 0, 4294967295);
	requireInteger(seed, "randomPermutation: `seed`", -MOST, MOST);
	const generator = new MersenneTwister(seed);
	const order = new Uint32Array(n);
	for (let i = 1; i < n; i++) order[i] = i;
	for (let i = 0; i < n - 1; i++) {
		const j = i + generator.nextUint32() % (n - i);
		const taken = order[j];
		order[j] = order[i];
		order[i] = taken;
	}
	return order;
}
function mix(x) {
	let y = Math.imul(x ^ x >>> 16, 2146121005);
	y = Math.imul(y ^ y >>> 15, 2221713035);
	return (y ^ y >>> 16) >>> 0;
}
function counterHash(seed, counter) {
	return mix(mix(counter ^ Math.imul(seed, 2654435769)) ^ seed);
}
function dropoutThreshold(p) {
	return Math.min(65535, Math.round(p * 65536));
}
function dropoutScale(p) {
	return 65536 / (65536 - dropoutThreshold(p));
}
function dropoutMask(rowKeys, columns, seed, p) {
	const mask = new Float32Array(rowKeys.length * columns);
	const [threshold, scale] = [dropoutThreshold(p), dropoutScale(p)];
	let at = 0;
	for (const rowKey of rowKeys) {
		let state = mix(rowKey ^ seed);
		const step = Math.imul(state, 2654435769) ^ rowKey | 1;
		for (let column = 0; column < columns; column += 2, state = state + step | 0) {
			const hash = pairHash(state);
			if (bitsOfColumn(hash, 0) >= threshold) mask[at] = scale;
			if (column + 1 < columns && bitsOfColumn(hash, 1) >= threshold) mask[at + 1] = scale;
			at += Math.min(2, columns - column);
		}
	}
	return mask;
}
const NOISE_SEED = 698298832;
function uniformNoise({ rowKeys, bounds }, columns) {
	const noise = new Float32Array(rowKeys.length * columns);
	let at = 0;
	for (const [row, rowKey] of rowKeys.entries()) {
		const unit = bounds[row] / 65536;
		let state = mix(rowKey ^ NOISE_SEED);
		const step = Math.imul(state, 2654435769) ^ rowKey | 1;
		for (let column = 0; column < columns; column += 2, state = state + step | 0) {
			const hash = pairHash(state);
			noise[at++] = unit * (2 * bitsOfColumn(hash, 0) - 65535);
			if (column + 1 < columns) noise[at++] = unit * (2 * bitsOfColumn(hash, 1) - 65535);
		}
	}
	return noise;
}
function pairHash(state) {
	return Math.imul(state ^ state >>> 15, 2221713035);
}
function bitsOfColumn(hash, column) {
	return (column & 1 ? hash + (hash << 16) : hash) >>> 16;
}
export { dropoutScale as a, randomPermutation as c, dropoutMask as i, uniformNoise as l, NOISE_SEED as n, dropoutThreshold as o, counterHash as r, packedPermutation as s, MersenneTwister as t };
