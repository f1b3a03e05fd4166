import * as util from "node:util";
// src/messages/terminal-style.ts
function styled(style, text, isUsed) {
	if (!isUsed || style === void 0 || typeof util.styleText !== "function") return text;
	return util.styleText(style, text, { validateStream: false });
}
// src/messages/terminal-color.ts
function usesColor(stream, env = process.env) {
	if (env.NO_COLOR) return false;
	if (env.FORCE_COLOR !== void 0) return env.FORCE_COLOR !== "0" && env.FORCE_COLOR !== "false";
	return stream.isTTY === true && env.TERM !== "dumb";
}
export { styled as n, usesColor as t };
