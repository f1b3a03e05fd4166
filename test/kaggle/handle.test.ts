import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { formatKaggleHandle } from '../../src/kaggle/handle.js';
import { kaggleEndpoint } from '../../src/kaggle/kaggle-api.js';
import { parseKaggleHandle } from '../../src/kaggle/pasted-handle.js';

describe('handles', () => {
  it.each([
    ['owner/set', undefined],
    ['owner/set/versions/12', 12],
    ['owner/set/3', 3],
    [' owner/set/ ', undefined],
    ['https://www.kaggle.com/datasets/owner/set', undefined],
    ['https://kaggle.com/datasets/owner/set/versions/2?resource=download', 2],
  ])('%s', (text, version) => {
    expect(parseKaggleHandle(text)).toEqual({ owner: 'owner', dataset: 'set', version });
  });

  it.each([
    '',
    'owner',
    '/set',
    'owner/',
    'owner/set/versions',
    'owner/set/versions/0',
    'owner/set/versions/-1',
    'owner/set/versions/1e3',
    'owner/set/latest',
    'owner/set/versions/1/file.csv',
    '../set',
    'owner/..',
    'owner/a b',
    'owner/a%2fb',
    'owner\\set',
    'https://example.com/datasets/owner/set',
  ])('refuses %j', (text) => {
    expect(() => parseKaggleHandle(text)).toThrow(ConfigError);
  });

  it.each([
    ['https://www.kaggle.com/datasets/owner/set/', undefined],
    ['http://kaggle.com/datasets/owner/set', undefined],
    ['HTTPS://WWW.Kaggle.com/Datasets/owner/set', undefined],
    ['www.kaggle.com/datasets/owner/set', undefined],
    ['kaggle.com/owner/set', undefined],
    ['https://www.kaggle.com/owner/set/version/', 'no'],
    ['https://www.kaggle.com/datasets/owner/set?select=train.csv', undefined],
    ['https://www.kaggle.com/datasets/owner/set/data?select=Bone+Break#top', undefined],
    ['https://www.kaggle.com/datasets/owner/set/code', undefined],
    ['https://www.kaggle.com/datasets/owner/set/code?datasetId=1&sortBy=voteCount', undefined],
    ['https://www.kaggle.com/datasets/owner/set/discussion/1234', undefined],
    ['https://www.kaggle.com/datasets/owner/set/discussion?sort=undefined', undefined],
    ['https://www.kaggle.com/datasets/owner/set/versions/3', 3],
    ['https://www.kaggle.com/datasets/owner/set/versions/3/data', 3],
    ['https://www.kaggle.com/datasets/owner/set/versions', undefined],
    ['https://www.kaggle.com/datasets/owner/set/download?datasetVersionNumber=4', 4],
    ['https://www.kaggle.com/datasets/owner/set/croissant/download', undefined],
    ['https://www.kaggle.com/api/v1/datasets/download/owner/set?dataset_version_number=5', 5],
    ['\n  <https://www.kaggle.com/datasets/owner/set>,\n', undefined],
    ['"owner/set"', undefined],
    ['[Bone breaks](https://www.kaggle.com/datasets/owner/set)', undefined],
    ['datasets/owner/set', undefined],
    ['datasets/owner/set/versions/2', 2],
    ['kaggle datasets download -d owner/set', undefined],
    ['!kaggle datasets download owner/set --unzip -p /tmp/x', undefined],
    ['$ kaggle d download --dataset owner/set/3 --force', 3],
    ['kaggle datasets download --dataset=owner/set -q', undefined],
    ['! kaggle datasets download -p data -d "owner/set"', undefined],
    ['curl -L -o ~/Downloads/set.zip\\\n  https://www.kaggle.com/api/v1/datasets/download/owner/set', undefined],
    ['kagglehub.dataset_download("owner/set")', undefined],
    [
      'import kagglehub\n\n# Download latest version\npath = kagglehub.dataset_download("owner/set/versions/7")\n\nprint("Path:", path)',
      7,
    ],
    ["kagglehub.login()\nkagglehub.dataset_download(handle='owner/set', force_download=True)", undefined],
    ['kagglehub.dataset_load(KaggleDatasetAdapter.PANDAS, "owner/set", "a.csv")', undefined],
    ["api.dataset_download_files('owner/set', path='.', unzip=True)", undefined],
    ["od.download('https://www.kaggle.com/datasets/owner/set')", undefined],
  ])('pasted: %s', (text, version) => {
    if (version === 'no') expect(() => parseKaggleHandle(text)).toThrow(ConfigError);
    else expect(parseKaggleHandle(text)).toEqual({ owner: 'owner', dataset: 'set', version });
  });

  it.each([
    'competitions/dogs-vs-cats',
    'c/dogs-vs-cats',
    'https://www.kaggle.com/competitions/dogs-vs-cats',
    'https://www.kaggle.com/competitions/dogs-vs-cats/',
    'https://www.kaggle.com/c/dogs-vs-cats/data',
    'kaggle.com/competitions/dogs-vs-cats/overview/description?x=1#y',
    'https://www.kaggle.com/competitions/dogs-vs-cats/discussion/12',
    'https://inclass.kaggle.com/c/dogs-vs-cats',
    'https://www.kaggle.com/api/v1/competitions/data/download-all/dogs-vs-cats',
    'kaggle competitions download -c dogs-vs-cats',
    '!kaggle competitions download dogs-vs-cats -p data',
    'kagglehub.competition_download("dogs-vs-cats")',
    "api.competition_download_files('dogs-vs-cats', path='.')",
  ])('a competition: %s', (text) => {
    expect(parseKaggleHandle(text)).toEqual({ competition: 'dogs-vs-cats' });
    expect(formatKaggleHandle(parseKaggleHandle(text))).toBe('competitions/dogs-vs-cats');
  });

  it.each([
    ['dogs-vs-cats', /names no Kaggle data set\n.*Give "competitions\/dogs-vs-cats"/],
    ['https://www.kaggle.com/models/google/gemma/keras/2b', /a Kaggle model/],
    ['kagglehub.model_download("google/gemma/keras/2b")', /a Kaggle model/],
    ['https://www.kaggle.com/code/owner/notebook', /a Kaggle notebook/],
    ['https://www.kaggle.com/kernels/owner/notebook', /a Kaggle notebook/],
    ['kaggle kernels output owner/notebook -p x', /a Kaggle notebook/],
    ['kagglehub.notebook_output_download("owner/notebook")', /output of a Kaggle notebook/],
    ['https://www.kaggle.com/discussions/general/1', /a discussion/],
    ['https://www.kaggle.com/someone', /a user's page/],
    ['https://www.kaggle.com/organizations/google', /an organisation's page/],
    ['https://www.kaggle.com/datasets', /no certain data set/],
    ['https://www.kaggle.com/datasets?search=bone', /no certain data set/],
    ['https://www.kaggle.com/competitions', /no certain competition/],
    ['https://www.kaggle.com', /no certain data set/],
    ['https://www.kaggle.com/search?q=x', /a search/],
    ['kaggle datasets download -d owner/set -f a.csv', /a single file/],
    ['kagglehub.dataset_download("owner/set", path="a.csv")', /a single file/],
    ['https://www.kaggle.com/api/v1/datasets/download/owner/set/a.csv', /a single file/],
    ['https://www.kaggle.com/datasets/owner/set/versions/0', /"0" is no version/],
    [
      'https://huggingface.co/datasets/owner/set',
      /on the Hugging Face Hub[\s\S]*HubImageFolder\.download\('owner\/set'\)/,
    ],
    ['hf://datasets/owner/set', /HubImageFolder\.download\('owner\/set'\)/],
    ['https://huggingface.co/owner/model', /fromPretrained\('owner\/model'\)/],
    ['https://kaggle.com.example.org/datasets/owner/set', /kaggle\.com\.example\.org is not Kaggle/],
    ['https://drive.google.com/file/d/1', /drive\.google\.com is not Kaggle/],
    ['https://user@evil.example/www.kaggle.com/datasets/owner/set', /names no Kaggle data set/],
    ['/kaggle/input/set', /is a path[\s\S]*KaggleImageFolder\.fromFolder/],
    ['~/data/set', /is a path/],
    ['C:\\data\\set', /is a path/],
    ['x'.repeat(100_000), /names no Kaggle data set/],
    [`kagglehub.${'a.'.repeat(900)}`, /names no Kaggle data set/],
  ])('says what it is: %s', (text, message) => {
    expect(() => parseKaggleHandle(text)).toThrow(ConfigError);
    expect(() => parseKaggleHandle(text)).toThrow(message);
  });

  it('are written with their version', () => {
    expect(formatKaggleHandle(parseKaggleHandle('a/b/3'))).toBe('a/b/versions/3');
    expect(formatKaggleHandle(parseKaggleHandle('a/b'))).toBe('a/b');
  });
});

describe('endpoints', () => {
  it.each([
    [undefined, 'https://www.kaggle.com'],
    ['', 'https://www.kaggle.com'],
    ['https://mirror.example/', 'https://mirror.example'],
    ['https://mirror.example/kaggle/api/v1/', 'https://mirror.example/kaggle'],
    ['http://localhost:7777', 'http://localhost:7777'],
    ['http://127.0.0.1:80/api/v1', 'http://127.0.0.1'],
    ['http://[::1]:1234', 'http://[::1]:1234'],
  ])('%s', (value, expected) => {
    expect(kaggleEndpoint(value)).toBe(expected);
  });

  it.each([
    'http://mirror.example',
    'http://localhost.example',
    'ftp://localhost',
    'https://me:secret@mirror.example',
    'https://mirror.example/?token=secret',
    'kaggle.com',
  ])('refuses %s', (value) => {
    const parse = (): string => kaggleEndpoint(value);
    expect(parse).toThrow(ConfigError);
    expect(parse).not.toThrow(/secret/);
  });
});
