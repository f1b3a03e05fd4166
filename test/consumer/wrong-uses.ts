/**
 * Written by test/wrong-use: what is wrong, and whether TypeScript sees it. Never run, and not formatted: a comment is
 * about one line.
 */
import type * as api from 'ministral-tune';
import { ChatTemplate, ConversationDataset, Evaluator, HubImageFolder, ImageFolder, KaggleImageFolder, SftTrainer, VlmCollator, applyLora, checkPushAccess, compareReports, countLabels, createEngine, formatReport, fromPretrained, generate, generateText, loadAdapter, loadModel, loadProcessor, loadTfjs, mergeAdapter, pushToHub, readHistory, saveAdapter, scoreLabels, setAdapter, verifyAdapter, writeReport } from 'ministral-tune';
import { ClassLabel, DataLoader, MersenneTwister, decodeImage, maskView } from 'ministral-tune/data';
import { snapshotDownload } from 'ministral-tune/hub';
import { barChart, contactSheet, escapeMarkdown, renderPng } from 'ministral-tune/charts';
import { SafetensorsFile, writeSafetensors } from 'ministral-tune/safetensors';
import { auditDataset, deduplicate, formatAudit, leakFreeSplit } from 'ministral-tune/audit';
import { accuracyScore, calibrationCurve, confusionMatrix, logLoss, readPredictions } from 'ministral-tune/eval';
import { formatTrainingPlan, plan } from 'ministral-tune/plan';
import { livePage, showProgress, tensorBoard } from 'ministral-tune/monitor';
import { writeRunReport } from 'ministral-tune/report';

declare const engine: api.Engine;
declare const model: api.VisionLanguageModel;
declare const plainModel: api.VisionLanguageModel;
declare const processor: api.ModelProcessor;
declare const adapter: api.LoraAdapter;
declare const collator: api.VlmCollator;
declare const folder: api.ImageFolder;
declare const samples: api.SftExample[];
declare const toExample: (item: api.ImageSample) => api.SftExample;
declare const evaluator: api.Evaluator;
declare const trainDataset: api.IndexedDataset<api.SftExample>;
declare const tokenizer: api.ModelProcessor['tokenizer'];
declare const imageProcessor: api.ModelProcessor['imageProcessor'];
declare const chatTemplate: api.ChatTemplate;
declare const disposedEngine: api.Engine;
declare const disposedModel: api.VisionLanguageModel;
declare const disposedAdapter: api.LoraAdapter;
declare const trainer: api.SftTrainer;
declare const batch: api.VlmBatch;
declare const report: api.EvaluationReport;

export async function wrongUses(): Promise<void> {
  // Data: folders and tables
  { ImageFolder.load('./xray'); }
  { ImageFolder.load('~/xrays'); }
  { ImageFolder.load('file:///xrays'); }
  { ImageFolder.load('./notes.txt'); }
  { ImageFolder.load('./empty'); }
  { ImageFolder.load('./xrays/broken'); }
  // @ts-expect-error
  { ImageFolder.load({ path: './xrays' }); }
  // @ts-expect-error
  { ImageFolder.load(new URL('file:///xrays')); }
  // @ts-expect-error
  { ImageFolder.load('./xrays', { split: 'train' }); }
  // @ts-expect-error
  { ImageFolder.load('./xrays', { onBadImage: 'ignore' }); }
  // @ts-expect-error
  { new ImageFolder('./xrays'); }
  { folder.train.get(100); }
  // @ts-expect-error
  { folder.train.map('toExample'); }
  { folder.train.select([99]); }
  // @ts-expect-error
  { folder.train.shuffle('42'); }
  { folder.train.split({ test: 20 }); }
  // @ts-expect-error
  { folder.train.split({ test: '20%' }); }
  // @ts-expect-error
  { folder.train.split({ test_size: 0.2 }); }
  { KaggleImageFolder.download('bone breaks'); }
  { HubImageFolder.download('two words/set'); }
  { ConversationDataset.fromFile('./train.csv'); }
  { ConversationDataset.fromFile('./train.jsonl'); }
  { ConversationDataset.fromFile('./xrays'); }
  // @ts-expect-error
  { ConversationDataset.fromRows('./train.jsonl'); }
  // @ts-expect-error
  { new ClassLabel(['cat', 'dog']).int2str('0'); }
  { new ClassLabel(['cat', 'dog']).str2int('bird'); }
  // Data: images
  { decodeImage('./no.png'); }
  { decodeImage('https://example.com/a.png'); }
  { decodeImage('~/a.png'); }
  { decodeImage('data:image/png;base64,iVBORw0KGgo='); }
  { decodeImage('iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAA'); }
  // @ts-expect-error
  { decodeImage(new URL('https://example.com/a.png')); }
  // @ts-expect-error
  { decodeImage({ path: './xrays/broken/Train/0.png' }); }
  { decodeImage({ width: 2, height: 2, data: new Uint8Array(16) }); }
  { decodeImage(new Uint8Array([1, 2, 3])); }
  // Data: conversations and batches
  { new ChatTemplate('llama-3'); }
  { new ChatTemplate('./model/chat_template.jinja'); }
  { new ChatTemplate('{% for m in messages %}'); }
  // @ts-expect-error
  { chatTemplate.render({ role: 'user', content: 'Hi' }); }
  // @ts-expect-error
  { chatTemplate.render([{ from: 'human', value: 'Hi' }]); }
  // @ts-expect-error
  { tokenizer.encode(['a', 'b']); }
  // @ts-expect-error
  { tokenizer.encode('Hi', { add_special_tokens: false }); }
  // @ts-expect-error
  { new VlmCollator(tokenizer, imageProcessor); }
  // @ts-expect-error
  { new VlmCollator(Promise.resolve(processor)); }
  // @ts-expect-error
  { new VlmCollator(processor, { maxLength: 4096 }); }
  // @ts-expect-error
  { new VlmCollator({ tokenizer, imageProcessor, chatTemplate: 'llama' }); }
  // @ts-expect-error
  { new VlmCollator({ tokenizer, imageProcessor, chatTemplate, max_length: 512 }); }
  // @ts-expect-error
  { new VlmCollator({ tokenizer, imageProcessor, chatTemplate, overlong: 'truncate' }); }
  // @ts-expect-error
  { collator.collate(samples[0]); }
  // @ts-expect-error
  { collator.collate(folder.train); }
  // @ts-expect-error
  { collator.collate([folder.train.get(0)]); }
  // @ts-expect-error
  { collator.collate([await folder.train.get(0)]); }
  // @ts-expect-error
  { collator.collate([{ messages: 'What is it?' }]); }
  // @ts-expect-error
  { collator.collate([{ messages: [{ role: 'human', content: 'Hi' }] }]); }
  { collator.collate([{ messages: [{ role: 'user', content: 'Hi' }] }]); }
  // @ts-expect-error
  { collator.collate([{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'a.png' } }] }] }]); }
  // @ts-expect-error
  { collator.collate([{ conversations: [] }]); }
  // @ts-expect-error
  { countLabels(samples); }
  // @ts-expect-error
  { maskView(collator, samples[0]); }
  // @ts-expect-error
  { new DataLoader({ dataset: trainDataset, collator, shuffle: true }); }
  // Engines
  // @ts-expect-error
  { createEngine('gpu'); }
  // @ts-expect-error
  { createEngine('cuda:0'); }
  // @ts-expect-error
  { createEngine({ threads: 2 }); }
  // @ts-expect-error
  { createEngine('cpu', { threads: '2' }); }
  // @ts-expect-error
  { createEngine('cuda', { memoryBudget: 16 * 2 ** 30 }); }
  { createEngine('cuda', { cuda: { memoryBudget: 16 } }); }
  // @ts-expect-error
  { createEngine('cuda', { cuda: { memoryBudget: '16GB' } }); }
  // @ts-expect-error
  { createEngine('cuda', { cuda: { device: 'cuda:0' } }); }
  // @ts-expect-error
  { createEngine('cuda', { deviceMap: 'balanced' }); }
  { createEngine('cpu', { deviceMap: 'auto' }); }
  // @ts-expect-error
  { createEngine('cuda', { deviceMap: 'auto', maxMemory: { 0: '20GiB', 1: '20GiB' } }); }
  { createEngine('cuda', { deviceMap: 'auto', maxMemory: { 0: 20, 1: 20 } }); }
  { createEngine('cuda', { maxMemory: { 0: 20 * 2 ** 30 } }); }
  { createEngine('cuda', { deviceMap: 'auto', cuda: { device: 0 } }); }
  // @ts-expect-error
  { createEngine('webgpu', { memoryBudget: 16 * 2 ** 30 }); }
  { createEngine('webgpu', { webgpu: { memoryBudget: 16 } }); }
  // @ts-expect-error
  { createEngine('webgpu', { device: 0 }); }
  { createEngine('tfjs'); }
  // @ts-expect-error
  { createEngine('tfjs', { tf: 'tfjs-node' }); }
  // @ts-expect-error
  { createEngine('tfjs', { tf: Promise.resolve({}) }); }
  // @ts-expect-error
  { loadTfjs('tensorflow'); }
  // Models
  // @ts-expect-error
  { fromPretrained({ model: './model' }); }
  { fromPretrained('mistralai/Ministral 3 3B'); }
  { fromPretrained('https://huggingface.co/mistralai/Ministral-3-3B-Instruct-2512-BF16'); }
  { fromPretrained('Ministral-3-3B-Instruct-2512-BF16'); }
  { fromPretrained('file:///models/ministral'); }
  // @ts-expect-error
  { fromPretrained(new URL('file:///models/ministral')); }
  { fromPretrained('./nowhere'); }
  { fromPretrained('~/model'); }
  { fromPretrained('./xrays'); }
  { fromPretrained('./notes.txt'); }
  // @ts-expect-error
  { fromPretrained('./model', engine); }
  // @ts-expect-error
  { fromPretrained('./model', { engine: createEngine('cpu') }); }
  // @ts-expect-error
  { fromPretrained('./model', { engine, device_map: 'auto' }); }
  { fromPretrained('./model', { engine, deviceMap: 'auto' }); }
  // @ts-expect-error
  { fromPretrained('./model', { engine, load_in_4bit: true }); }
  // @ts-expect-error
  { fromPretrained('./model', { engine, quantization: 'int4' }); }
  // @ts-expect-error
  { fromPretrained('./model', { engine, signal: new AbortController() }); }
  { loadModel('./adapter', { engine }); }
  { loadProcessor('./empty'); }
  { generate(disposedModel, batch); }
  { loadModel('./model', { engine: disposedEngine }); }
  // LoRA adapters
  // @ts-expect-error
  { applyLora({ model: plainModel, r: 8 }); }
  // @ts-expect-error
  { applyLora(fromPretrained('./model', { engine }), { r: 8 }); }
  { applyLora(model, { r: 8 }); }
  // @ts-expect-error
  { applyLora(plainModel, { r: '16' }); }
  { applyLora(plainModel, { r: 0 }); }
  // @ts-expect-error
  { applyLora(plainModel, { r: 8, lora_alpha: 16 }); }
  { applyLora(plainModel, { r: 8, dropout: 5 }); }
  { applyLora(plainModel, { r: 8, targetModules: ['q_prj'] }); }
  { applyLora(plainModel, { r: 8, targetModules: ['lm_head'] }); }
  // @ts-expect-error
  { applyLora(plainModel, { r: 8, bias: 'all' }); }
  // @ts-expect-error
  { saveAdapter(model, './out'); }
  // @ts-expect-error
  { saveAdapter('./out', adapter); }
  { saveAdapter(adapter, '~/adapter'); }
  { saveAdapter(adapter, './notes.txt'); }
  { saveAdapter(disposedAdapter, './out'); }
  // @ts-expect-error
  { loadAdapter(plainModel, './adapter'); }
  { loadAdapter('./model', plainModel); }
  { loadAdapter('./adapter/adapter_model.safetensors', plainModel); }
  { setAdapter(model, 'other'); }
  // @ts-expect-error
  { verifyAdapter(model, './adapter'); }
  // @ts-expect-error
  { mergeAdapter('./model', './adapter', './merged'); }
  // @ts-expect-error
  { mergeAdapter({ checkpointDir: './model', adapterDir: './adapter', outputDir: './merged' }, { batchSize: 4 }); }
  // @ts-expect-error
  { mergeAdapter({ model: './model', adapterDir: './adapter', outputDir: './merged' }); }
  { mergeAdapter({ checkpointDir: './model', adapterDir: './empty', outputDir: './merged' }); }
  { mergeAdapter({ checkpointDir: './model', adapterDir: './adapter', outputDir: './model' }); }
  // Training
  // @ts-expect-error
  { new SftTrainer(model, collator, samples); }
  { new SftTrainer({ model: plainModel, collator, trainDataset }); }
  // @ts-expect-error
  { new SftTrainer({ model: './model', collator, trainDataset }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator: processor, trainDataset }); }
  // @ts-expect-error
  { new SftTrainer({ model, tokenizer, trainDataset }); }
  { new SftTrainer({ model, collator, trainDataset: [] }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset: folder }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset: './train.jsonl' }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset: { train: samples } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset: folder.train }).train(); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, args: { learningRate: 1e-4 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, learningRate: 1e-4 }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, peftConfig: { r: 8 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, callbacks: console.log }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, callbacks: [livePage] }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { learning_rate: 1e-4 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { learningRate: '1e-4' } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { learningRate: -1e-4 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset }, { learningRate: 1e-4 }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { verbose: true } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { outputDir: '~/runs' } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { epochs: 3 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { batchSize: 2 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { fp16: true } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { precision: 'fp16' } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { precision: 'fp8' } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { warmupRatio: 10 } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { warmupSteps: 2.5 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { maxSeqLength: 512 } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { reportTo: 'wandb' } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { packing: true } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { optim: 'sgd' } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { lrSchedulerType: 'cosin' } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { memoryBudget: 24 } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { evalStrategy: 'epoch' } }); }
  // @ts-expect-error
  { new SftTrainer({ model, collator, trainDataset, config: { evalStrategy: 'epochs' } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { loadBestModelAtEnd: true } }); }
  { new SftTrainer({ model, collator, trainDataset, config: { outputDir: './notes.txt' } }).train(); }
  // @ts-expect-error
  { trainer.train('./run/checkpoint-1'); }
  // @ts-expect-error
  { trainer.train({ resume: true }); }
  { trainer.train({ resumeFromCheckpoint: true }); }
  { trainer.train({ resumeFromCheckpoint: './adapter' }); }
  { trainer.train({ resumeFromCheckpoint: './empty' }); }
  { trainer.train({ resumeFromCheckpoint: './notes.txt' }); }
  // @ts-expect-error
  { trainer.train({ signal: new AbortController() }); }
  { trainer.evaluate(); }
  // @ts-expect-error
  { trainer.evaluate(folder); }
  { const run = trainer.train(); await trainer.train(); }
  { readHistory('./xrays'); }
  // Generation
  // @ts-expect-error
  { generate(model); }
  // @ts-expect-error
  { generate(batch, model); }
  // @ts-expect-error
  { generate(model, 'What is it?'); }
  // @ts-expect-error
  { generate(model, samples); }
  { generate(model, await collator.collate(samples)); }
  // @ts-expect-error
  { generateText(model, processor, batch); }
  // @ts-expect-error
  { generateText(model, batch); }
  // @ts-expect-error
  { generate(model, batch, 20); }
  // @ts-expect-error
  { generate(model, batch, { max_new_tokens: 20 }); }
  // @ts-expect-error
  { generate(model, batch, { maxNewTokens: '20' }); }
  { generate(model, batch, { temperature: 0.7 }); }
  { generate(model, batch, { topP: 90, doSample: true }); }
  { generate(model, batch, { choices: ['cat', 'dog'] }); }
  // @ts-expect-error
  { scoreLabels(model, batch, ['cat', 'dog']); }
  // @ts-expect-error
  { scoreLabels(model, tokenizer, batch, 'cat'); }
  // Evaluation
  // @ts-expect-error
  { new Evaluator(); }
  // @ts-expect-error
  { new Evaluator({ classNames: ['a', 'b'], generate: async () => [] }, { batchSize: 4 }); }
  // @ts-expect-error
  { new Evaluator({ class_names: ['a'], generate: async () => [] }); }
  // @ts-expect-error
  { new Evaluator({ classNames: 'cat, dog', generate: async () => [] }); }
  // @ts-expect-error
  { new Evaluator({ classNames: ['a', 'b'], generate: async () => [], mode: 'logits' }); }
  { new Evaluator({ classNames: ['cat', 'dog'], generate: async (examples) => examples.map(() => 'cat') }).evaluate(folder.test, { toExample }); }
  { new Evaluator({ classNames: folder.classNames, generate: async () => ['broken'] }).evaluate(folder.test, { toExample }); }
  // @ts-expect-error
  { evaluator.evaluate(folder, { toExample }); }
  // @ts-expect-error
  { evaluator.evaluate(folder.test, toExample); }
  // @ts-expect-error
  { evaluator.evaluate(trainDataset, { toExample: (sample) => sample }); }
  // @ts-expect-error
  { evaluator.evaluate(folder.test, { toExample: (sample) => { toExample(sample); } }); }
  { evaluator.evaluate(folder.test, { toExample, limit: 0.5 }); }
  // @ts-expect-error
  { formatReport(evaluator); }
  // @ts-expect-error
  { formatReport(evaluator.evaluate(folder.test, { toExample })); }
  // @ts-expect-error
  { compareReports(report); }
  // @ts-expect-error
  { writeReport('./report.json', report); }
  // @ts-expect-error
  { accuracyScore([0, 1], [0, 1]); }
  { confusionMatrix([0, 3], [0, 1], 2); }
  // @ts-expect-error
  { logLoss([0, 1], [0.5, 0.5]); }
  // @ts-expect-error
  { calibrationCurve([0.5, 0.6], [0.9, 0.1]); }
  // @ts-expect-error
  { readPredictions('./notes.txt'); }
  // Audit, plan, monitor, report
  // @ts-expect-error
  { auditDataset(Promise.resolve(folder)); }
  // @ts-expect-error
  { auditDataset('./xrays'); }
  { auditDataset(folder, { minCorrelation: 95 }); }
  // @ts-expect-error
  { formatAudit(folder); }
  // @ts-expect-error
  { deduplicate(folder); }
  // @ts-expect-error
  { leakFreeSplit(folder, { test: 0.2 }); }
  // @ts-expect-error
  { plan('3B'); }
  { plan({ model: '70B', trainDataset }); }
  { plan({ model: '3B', trainDataset: './xray' }); }
  // @ts-expect-error
  { plan({ model: '3B', trainDataset, collator, cards: 'h100' }); }
  { plan({ model: '3B', trainDataset, collator, cards: ['rtx 9999'] }); }
  // @ts-expect-error
  { plan({ model: '3B', trainDataset, collator, formats: ['int4'] }); }
  { plan({ model: '3B', trainDataset, collator, cuda: { memoryBudget: 24 } }); }
  // @ts-expect-error
  { formatTrainingPlan(plan({ model: './model', trainDataset, collator, cards: ['h200'], formats: ['bf16'] })); }
  // @ts-expect-error
  { livePage(7070); }
  // @ts-expect-error
  { livePage({ port: '7070' }); }
  { livePage({ token: 'abc' }); }
  { livePage({ host: 'http://localhost' }).open(); }
  // @ts-expect-error
  { tensorBoard('./runs'); }
  // @ts-expect-error
  { tensorBoard({ folder: './runs' }, { flushSecs: 5 }); }
  // @ts-expect-error
  { showProgress({ stream: 'stdout' }); }
  { writeRunReport('./nowhere'); }
  { writeRunReport('./empty'); }
  // @ts-expect-error
  { writeRunReport('./run', { images: './xrays' }); }
  // Hub, charts, files
  { snapshotDownload('owner name'); }
  { snapshotDownload('owner/name', { token: 'hf_with space' }); }
  { snapshotDownload('owner/name', { endpoint: 'huggingface.co' }); }
  // @ts-expect-error
  { snapshotDownload('owner/name', { signal: 5 }); }
  { checkPushAccess('user/name', { token: false }); }
  // @ts-expect-error
  { pushToHub(adapter, 'user/name'); }
  { pushToHub('user/name', './adapter'); }
  { pushToHub('./adapter', 'user/na me'); }
  { pushToHub('./xrays', 'user/name'); }
  // @ts-expect-error
  { pushToHub('./adapter', 'user/name', { private: 'yes' }); }
  // @ts-expect-error
  { renderPng(report, './report.png'); }
  { barChart({ title: 't', labels: ['a', 'b'], series: [{ name: 's', values: [1] }] }); }
  // @ts-expect-error
  { contactSheet([{ image: './a.png', caption: 'a' }]); }
  // @ts-expect-error
  { escapeMarkdown(5); }
  { SafetensorsFile.open('./notes.txt'); }
  { SafetensorsFile.open('./empty'); }
  // @ts-expect-error
  { writeSafetensors('./a.safetensors', { w: [1, 2] }); }
  // @ts-expect-error
  { new MersenneTwister('42'); }
}
