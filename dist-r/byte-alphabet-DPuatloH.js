// src/data/byte-alphabet.ts
function printable(byte) {
	return byte >= 33 && byte <= 126 || byte >= 161 && byte <= 172 || byte >= 174;
}
const BYTE_TO_CHAR = (() => {
	let next = 256;
	return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
})();
const CHAR_TO_BYTE = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));
function tokenBytes(token) {
	const bytes = new Uint8Array(token.length);
	for (let i = 0; i < token.length; i++) {
		const byte = CHAR_TO_BYTE.get(token[i]);
		if (byte === void 0) return void 0;
		bytes[i] = byte;
	}
	return bytes;
}
export { tokenBytes as n, BYTE_TO_CHAR as t };
