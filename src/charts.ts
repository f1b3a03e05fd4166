/** `ministral-tune/charts`: results as images and as Markdown. */
export { barChart } from './chart/bar-chart.js';
export { contactSheet, writeContactSheet } from './chart/contact-sheet.js';
export { lineChart } from './chart/line-chart.js';
export { renderPng } from './chart/render.js';
export { confusionChart } from './eval/confusion-chart.js';
export { comparisonMarkdown, reportMarkdown } from './eval/report.js';
export { escapeMarkdown } from './messages/markdown.js';
export type { BarChartOptions } from './chart/bar-chart.js';
export type { ContactSheetItem, ContactSheetOptions } from './chart/contact-sheet.js';
export type { LineChartOptions, Point } from './chart/line-chart.js';
export type { RenderOptions } from './chart/render.js';
export type { ConfusionChartOptions } from './eval/confusion-chart.js';
