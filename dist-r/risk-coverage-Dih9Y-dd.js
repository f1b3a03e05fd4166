import { n as ConfigError, r as DataError, x as oneLine } from "./errors-D4G-NQir.js";
import { g as describeGiven } from "./config-BAD1VLMT.js";
import { x as requireSamples } from "./report-BTHP2jM-.js";
// src/eval/risk-coverage.ts
function riskCoverageCurve(samples) {
	requireSamples(samples, "riskCoverageCurve");
	return curve(samples);
}
function riskCoverageArea(samples) {
	let before = 0;
	let area = 0;
	for (const { answered, risk } of curve(samples)) {
		area += (answered - before) * risk;
		before = answered;
	}
	return samples.length === 0 ? 0 : area / samples.length;
}
function abstainBelow(samples, threshold) {
	requireSamples(samples, "abstainBelow: `samples`");
	requireShare(threshold, "abstainBelow: `threshold`");
	const given = ranked(samples).filter((one) => one.confidence >= threshold);
	const wrong = given.filter((one) => !one.isRight).length;
	return pointOf(threshold, given.length, wrong, samples.length);
}
function thresholdForRisk(samples, risk) {
	requireSamples(samples, "thresholdForRisk: `samples`");
	requireShare(risk, "thresholdForRisk: `risk`");
	return curve(samples).findLast((point) => point.risk <= risk);
}
function curve(samples) {
	const points = [];
	const sorted = ranked(samples);
	let wrong = 0;
	for (const [i, { confidence, isRight }] of sorted.entries()) {
		if (!isRight) wrong++;
		if (confidence !== sorted[i + 1]?.confidence) points.push(pointOf(confidence, i + 1, wrong, samples.length));
	}
	return points;
}
function pointOf(threshold, answered, wrong, count) {
	const share = (part, whole) => whole === 0 ? 0 : part / whole;
	return {
		threshold,
		answered,
		coverage: share(answered, count),
		risk: share(wrong, answered)
	};
}
function ranked(samples) {
	return samples.map(({ id, confidence, predicted, expected }) => {
		if (confidence !== void 0) return {
			confidence,
			isRight: predicted === expected
		};
		throw new DataError(`abstention: sample ${oneLine(id)} has no confidence`, {
			hint: "Evaluate in mode 'scored', which gives the probability of each class.",
			details: { sample: id }
		});
	}).sort((a, b) => b.confidence - a.confidence);
}
function requireShare(value, what) {
	if (typeof value === "number" && value >= 0 && value <= 1) return;
	throw new ConfigError(`${what}: expected a number from 0 to 1, got ${describeGiven(value)}`);
}
export { thresholdForRisk as i, riskCoverageArea as n, riskCoverageCurve as r, abstainBelow as t };
