// src/files/crc.ts
const POLYNOMIALS = {
	crc32: 3988292384,
	crc32c: 2197175160
};
const tables = new Map();
var Crc = class {
	#table;
	#state = 4294967295;
	constructor(name) {
		this.#table = tables.get(name) ?? makeTable(name);
	}
	update(bytes) {
		const t = this.#table;
		let crc = this.#state;
		let i = 0;
		for (const end = bytes.length - 7; i < end; i += 8) {
			crc ^= bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | bytes[i + 3] << 24;
			crc = t[1792 + (crc & 255)] ^ t[1536 + (crc >>> 8 & 255)] ^ t[1280 + (crc >>> 16 & 255)] ^ t[1024 + (crc >>> 24)] ^ t[768 + bytes[i + 4]] ^ t[512 + bytes[i + 5]] ^ t[256 + bytes[i + 6]] ^ t[bytes[i + 7]];
		}
		for (; i < bytes.length; i++) crc = t[(crc ^ bytes[i]) & 255] ^ crc >>> 8;
		this.#state = crc;
		return this;
	}
	get value() {
		return (this.#state ^ 4294967295) >>> 0;
	}
	digest() {
		return this.value.toString(16).padStart(8, "0");
	}
};
function makeTable(name) {
	const table = new Uint32Array(2048);
	for (let byte = 0; byte < 256; byte++) {
		let crc = byte;
		for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >>> 1 ^ POLYNOMIALS[name] : crc >>> 1;
		table[byte] = crc;
	}
	for (let i = 256; i < table.length; i++) table[i] = table[table[i - 256] & 255] ^ table[i - 256] >>> 8;
	tables.set(name, table);
	return table;
}
export { Crc as t };
