/** Data sets as they are published, in small: each is read right, or refused with a message that says what to write. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageFolderOptions, ImageTableOptions } from '../../src/data/image-folder.js';
import { loadFolder, loadTable, plant } from './image-tree.js';

let base: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'public-layouts-'));
});
afterAll(() => rm(base, { recursive: true }));

type Counts = Record<string, Record<string, number>>;

interface PublicSet {
  readonly name: string;
  readonly files: readonly string[];
  /** What `ImageFolder.load` gives. */
  readonly counts?: Counts;
  readonly warning?: RegExp | readonly RegExp[];
  readonly refused?: RegExp | readonly RegExp[];
  /** What the message says to write, and what that gives. */
  readonly options?: ImageFolderOptions;
  readonly table?: readonly [path: string | readonly string[], options?: ImageTableOptions];
  readonly asWritten?: Counts;
}

const numbered = (prefix: string, n: number, ending = '.jpg') =>
  Array.from({ length: n }, (_, i) => `${prefix}${i + 1}${ending}`);

const both = (...names: string[]) => Object.fromEntries(names.map((name) => [name, 1]));

const SETS: readonly PublicSet[] = [
  {
    name: 'cats and dogs: training_set/training_set',
    files: [
      ...['training_set/training_set/cats/cat.1.jpg', 'training_set/training_set/dogs/dog.1.jpg'],
      ...['training_set/training_set/cats/_DS_Store=x', 'test_set/test_set/cats/cat.4001.jpg'],
      'test_set/test_set/dogs/dog.4001.jpg',
    ],
    counts: { train: both('cats', 'dogs'), test: both('cats', 'dogs') },
  },
  {
    name: 'PetImages',
    files: ['PetImages/Cat/0.jpg', 'PetImages/Cat/Thumbs.db=x', 'PetImages/Dog/0.jpg', 'readme[1].txt=x'],
    counts: { train: both('Cat', 'Dog') },
  },
  {
    name: 'dogs vs. cats, the competition',
    files: [
      ...[...numbered('train/cat.', 3), ...numbered('train/dog.', 3), ...numbered('test1/', 3)],
      'sampleSubmission.csv=id,label\n1,0\n2,0\n3,0\n',
    ],
    refused: [
      /9 images lie directly in `test1`, `train`, which are splits/,
      /file name tells the class \(`cat`, `dog`\): `classOf/,
    ],
    options: { classOf: (path) => /([^/]*[^/\d._ -])[._ -]*\d+\.\w+$/.exec(path)?.[1] },
    asWritten: { train: { cat: 3, dog: 3 } },
  },
  {
    name: 'Intel scenes',
    files: [
      ...['seg_train/seg_train/sea/1.jpg', 'seg_train/seg_train/street/2.jpg', 'seg_test/seg_test/sea/3.jpg'],
      ...['seg_test/seg_test/street/4.jpg', 'seg_pred/seg_pred/5.jpg', 'seg_pred/seg_pred/6.jpg'],
    ],
    counts: { train: both('sea', 'street'), test: both('sea', 'street') },
    warning: /`seg_pred`: 2 images without class folders, left out/,
  },
  {
    name: 'chest X-ray, which holds a copy of itself',
    files: ['chest_xray', 'chest_xray/chest_xray'].flatMap((dir) =>
      ['train', 'test', 'val'].flatMap((split) => [
        `${dir}/${split}/NORMAL/a.jpeg`,
        `${dir}/${split}/PNEUMONIA/b.jpeg`,
      ]),
    ),
    counts: {
      train: both('NORMAL', 'PNEUMONIA'),
      test: both('NORMAL', 'PNEUMONIA'),
      validation: both('NORMAL', 'PNEUMONIA'),
    },
    warning: /`chest_xray`: a copy of what lies beside it, left out with its 6 images/,
  },
  {
    name: 'HAM10000',
    files: [
      ...['HAM10000_images_part_1/ISIC_0024306.jpg', 'HAM10000_images_part_2/ISIC_0029306.jpg'],
      'HAM10000_metadata.csv=lesion_id,image_id,dx,dx_type,age,sex\nH_1,ISIC_0024306,nv,histo,80,male\nH_2,ISIC_0029306,mel,histo,60.0,female\n',
      'hmnist_8_8_L.csv=pixel0000,pixel0001,label\n1,2,0\n',
    ],
    refused: [
      /look like parts of an archive/,
      /HAM10000_metadata\.csv \(columns `lesion_id`, `image_id`, `dx`/,
      /ImageFolder\.fromTable\("\.\/HAM10000_metadata\.csv".*labelColumn: "dx"/,
    ],
    table: ['HAM10000_metadata.csv'],
    asWritten: { train: both('mel', 'nv') },
  },
  {
    name: 'NIH chest',
    files: [
      ...['images_001/images/00000001_000.png', 'images_002/images/00001336_000.png'],
      'Data_Entry_2017.csv=Image Index,Finding Labels,Follow-up #,Patient ID\n00000001_000.png,Cardiomegaly|Emphysema,0,1\n00001336_000.png,Cardiomegaly,0,2\n',
      'BBox_List_2017.csv=Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_000.png,Mass,1,2,3,4,,,\n',
    ],
    refused: [/Data_Entry_2017\.csv \(columns `Image Index`, `Finding Labels`/, /labelColumn: "Finding Labels"/],
    table: [
      'Data_Entry_2017.csv',
      { labelOf: (row) => (row['Finding Labels']!.includes('|') ? undefined : row['Finding Labels']) },
    ],
    asWritten: { train: { Cardiomegaly: 1 } },
  },
  {
    name: 'PlantVillage with a copy in another case',
    files: ['PlantVillage', 'plantvillage/PlantVillage'].flatMap((dir) => [
      `${dir}/Tomato_healthy/1.JPG`,
      `${dir}/Potato___Early_blight/2.JPG`,
    ]),
    counts: { train: both('Potato___Early_blight', 'Tomato_healthy') },
    warning: /`plantvillage`: a copy of `PlantVillage`, left out with its 2 images/,
  },
  {
    name: 'PlantVillage in colour, grey and segmented',
    files: ['color', 'grayscale', 'segmented'].flatMap((dir) => [
      `plantvillage dataset/${dir}/Apple___scab/1.JPG`,
      `plantvillage dataset/${dir}/Grape___rot/2.JPG`,
    ]),
    refused: [/`color`, `grayscale`, `segmented` hold folders of equal names/, /layout: '\*\/class'/],
    options: { layout: '*/class', ignore: ['grayscale', 'segmented'] },
    asWritten: { train: both('Apple___scab', 'Grape___rot') },
  },
  {
    name: 'brain MRI: yes, no, and a copy of both',
    files: ['', 'brain_tumor_dataset/'].flatMap((dir) => [`${dir}no/1 no.jpeg`, `${dir}yes/Y1.jpg`]),
    counts: { train: both('no', 'yes') },
    warning: /`brain_tumor_dataset`: a copy/,
  },
  {
    name: 'brain tumours: Training and Testing',
    files: ['Training', 'Testing'].flatMap((split) => [`${split}/glioma/1.jpg`, `${split}/notumor/2.jpg`]),
    counts: { train: both('glioma', 'notumor'), test: both('glioma', 'notumor') },
  },
  {
    name: 'cassava',
    files: [
      ...[
        'train_images/1.jpg',
        'train_images/2.jpg',
        'test_images/3.jpg',
        'train.csv=image_id,label\n1.jpg,3\n2.jpg,0\n',
      ],
      'label_num_to_disease_map.json={"0":"Bacterial Blight","1":"b","2":"c","3":"Mosaic Disease","4":"Healthy"}',
      'sample_submission.csv=image_id,label\n3.jpg,4\n',
    ],
    refused: [
      /train\.csv \(columns `image_id`, `label`\) names images/,
      /fileColumn: "image_id", labelColumn: "label"/,
    ],
    table: ['train.csv'],
    asWritten: { train: both('Bacterial Blight', 'Mosaic Disease') },
  },
  {
    name: 'COVID radiography: images beside masks',
    files: [
      ...['COVID', 'Normal'].flatMap((name) => [`D/${name}/images/${name}-1.png`, `D/${name}/masks/${name}-1.png`]),
      'D/COVID.metadata.xlsx=x',
    ],
    counts: { train: both('COVID', 'Normal') },
    warning: /`masks` in 2 class folders: 2 images left out as masks/,
  },
  {
    name: 'Roboflow, class folders',
    files: [
      ...['train', 'valid', 'test'].flatMap((split) => [`${split}/a/1.jpg`, `${split}/b/2.jpg`]),
      'README.roboflow.txt=x',
    ],
    counts: { train: both('a', 'b'), test: both('a', 'b'), validation: both('a', 'b') },
  },
  {
    name: 'Roboflow, YOLO',
    files: [
      ...['train', 'valid'].flatMap((split) => [`${split}/images/1.jpg`, `${split}/labels/1.txt=0 1 1 1 1`]),
      'data.yaml=x',
    ],
    refused: [/looks like a detection or segmentation data set/, /`data\.yaml`/, /there are no class folders/],
  },
  {
    name: 'Roboflow, COCO',
    files: ['train', 'valid'].flatMap((split) => [`${split}/1.jpg`, `${split}/_annotations.coco.json={}`]),
    refused: /looks like a detection or segmentation data set \(`_annotations\.coco\.json`\)/,
  },
  {
    name: 'Roboflow, multi-class CSV',
    files: [
      ...['train/1.jpg', 'train/2.jpg', 'train/_classes.csv=filename, cat, dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n'],
      ...['valid/3.jpg', 'valid/_classes.csv=filename, cat, dog\n3.jpg, 0, 1\n'],
    ],
    refused: /_classes\.csv \(columns `filename`, `cat`, `dog`\).*\n.*ImageFolder\.fromTable\("\."\)/,
    table: ['.'],
    asWritten: { train: both('cat', 'dog'), validation: { cat: 0, dog: 1 } },
  },
  {
    name: 'COCO',
    files: ['train2017/09.jpg', 'val2017/39.jpg', 'annotations/instances_train2017.json={}'],
    refused: /detection or segmentation data set \(`instances_train2017\.json`\)/,
  },
  {
    name: 'YOLO with images/train',
    files: ['images/train/1.jpg', 'images/val/2.jpg', 'labels/train/1.txt=0', 'labels/val/2.txt=0'],
    refused: /detection or segmentation/,
  },
  {
    name: 'Pascal VOC',
    files: [
      ...[
        'VOC/VOC2012/JPEGImages/2007_27.jpg',
        'VOC/VOC2012/Annotations/2007_27.xml=<x/>',
        'VOC/VOC2012/SegmentationClass/2007_32.png',
      ],
      ...['VOC/VOC2012/SegmentationObject/2007_32.png', 'VOC/VOC2012/ImageSets/Main/train.txt=x'],
    ],
    refused: /detection or segmentation data set \(Pascal VOC's `Annotations\/\*\.xml`/,
  },
  {
    name: 'vehicles with a class called train',
    files: ['bus/1.png', 'car/2.png', 'train/3.png', 'truck/4.png'],
    counts: { train: both('bus', 'car', 'train', 'truck') },
  },
  {
    name: 'the same in splits',
    files: ['train', 'test'].flatMap((split) => ['bus', 'train', 'truck'].map((name) => `${split}/${name}/1.png`)),
    counts: { train: both('bus', 'train', 'truck'), test: both('bus', 'train', 'truck') },
  },
  {
    name: 'the same with splits in the classes',
    files: ['bus', 'train', 'truck'].flatMap((name) => ['train', 'test'].map((split) => `${name}/${split}/1.png`)),
    counts: { train: both('bus', 'train', 'truck'), test: both('bus', 'train', 'truck') },
  },
  {
    name: 'Tiny ImageNet',
    files: [
      ...['n01443537', 'n01629819'].flatMap((id) => [
        `t/train/${id}/images/${id}_0.JPEG`,
        `t/train/${id}/${id}_boxes.txt=x`,
      ]),
      ...['t/val/images/val_0.JPEG', 't/val/val_annotations.txt=val_0.JPEG\tn01443537\t0\t32\t44\t62\n'],
      ...['t/test/images/test_0.JPEG', 't/wnids.txt=x'],
    ],
    counts: { train: both('n01443537', 'n01629819') },
    warning: [
      /`t\/val`: 1 images without class folders, left out; classes may be in t\/val\/val_annotations\.txt/,
      /`t\/test`: 1 images/,
    ],
    table: ['t/val/val_annotations.txt', { header: false, separator: '\t', fileColumn: 0, labelColumn: 1 }],
    asWritten: { validation: { n01443537: 1 } },
  },
  {
    name: 'Oxford pets',
    files: [
      ...[...numbered('images/Abyssinian_', 2), ...numbered('images/yorkshire_terrier_', 2)],
      ...['annotations/trimaps/Abyssinian_1.png', 'annotations/xmls/Abyssinian_1.xml=<x/>', 'annotations/list.txt=x'],
    ],
    refused: /detection or segmentation.*\n.*file name tells the class \(`Abyssinian`, `yorkshire_terrier`\): `classOf/,
    options: { ignore: ['annotations'], classOf: (path) => /([^/]*[^/\d._ -])[._ -]*\d+\.\w+$/.exec(path)?.[1] },
    asWritten: { train: { Abyssinian: 2, yorkshire_terrier: 2 } },
  },
  {
    name: 'MURA',
    files: ['train', 'valid'].flatMap((split) =>
      ['XR_ELBOW', 'XR_HAND'].flatMap((part) => [
        `MURA/${split}/${part}/patient00011/study1_positive/image1.png`,
        `MURA/${split}/${part}/patient00012/study1_negative/image1.png`,
      ]),
    ),
    refused: [
      /are the classes `XR_ELBOW`, `XR_HAND`, or what folders below them say/,
      /classOf: \(path\) => \/positive\|negative\/\.exec/,
    ],
    options: { classOf: (path) => /positive|negative/.exec(path)?.[0] },
    asWritten: { train: { negative: 2, positive: 2 }, validation: { negative: 2, positive: 2 } },
  },
  {
    name: 'breast ultrasound, masks beside their images',
    files: [
      'D/benign/benign (1).png',
      'D/benign/benign (1)_mask.png',
      'D/benign/benign (1)_mask_1.png',
      'D/normal/normal (1).png',
    ],
    counts: { train: both('benign', 'normal') },
    warning: /`\*_mask\.\*` in 1 class folders: 2 images left out as masks/,
  },
  {
    name: 'German traffic signs',
    files: [
      ...['Train/0/1.png', 'Train/1/2.png', 'Test/00000.png', 'Meta/0.png'],
      'Train.csv=Width,ClassId,Path\n27,0,Train/0/1.png\n27,1,Train/1/2.png\n',
      'Test.csv=Width,ClassId,Path\n53,1,Test/00000.png\n',
    ],
    counts: { train: both('0', '1') },
    warning: /`Test`: 1 images without class folders, left out; classes may be in Test\.csv/,
    table: [['Train.csv', 'Test.csv']],
    asWritten: { train: both('0', '1'), test: { 0: 0, 1: 1 } },
  },
  {
    name: 'sign-language letters, loose test images',
    files: ['asl_train/asl_train/A/A1.jpg', 'asl_train/asl_train/B/B1.jpg', 'asl_test/asl_test/A_test.jpg'],
    counts: { train: both('A', 'B') },
    warning: /`asl_test`: 1 images without class folders/,
  },
  {
    name: 'MVTec AD, all objects',
    files: ['bottle', 'cable'].flatMap((object) => [
      ...[`${object}/train/good/0.png`, `${object}/test/good/0.png`, `${object}/test/broken/0.png`],
      `${object}/ground_truth/broken/0_mask.png`,
    ]),
    refused: [
      /folders in each split \(`broken`, `good`\): are these the classes, or `bottle`, `cable`\?/,
      /layout: '\*\/split\/class'/,
    ],
    options: { layout: '*/split/class', ignore: ['ground_truth'] },
    asWritten: { train: { broken: 0, good: 2 }, test: { broken: 2, good: 2 } },
  },
  {
    name: 'Office-31: domains above classes',
    files: ['amazon', 'dslr', 'webcam'].flatMap((dir) => [`${dir}/images/bike/1.jpg`, `${dir}/images/mug/2.jpg`]),
    refused: /`amazon`, `dslr`, `webcam` hold folders of equal names \(`bike`, `mug`\)/,
    options: { layout: '*/*/class' },
    asWritten: { train: { bike: 3, mug: 3 } },
  },
  {
    name: 'breast histology: patients above classes',
    files: ['10253', '10254', '10255'].flatMap((patient) => [`${patient}/0/a.png`, `${patient}/1/b.png`]),
    refused: /hold folders of equal names \(`0`, `1`\)/,
    options: { layout: '*/class' },
    asWritten: { train: { 0: 3, 1: 3 } },
  },
  {
    name: 'leukaemia in folds',
    files: ['fold_0', 'fold_1'].flatMap((fold) => [`${fold}/all/1.png`, `${fold}/hem/2.png`]),
    refused: /`fold_0`, `fold_1` hold folders of equal names \(`all`, `hem`\)/,
    options: { splits: { fold_0: 'train', fold_1: 'test' } },
    asWritten: { train: both('all', 'hem'), test: both('all', 'hem') },
  },
  {
    name: 'Food-101',
    files: ['food-101/images/apple_pie/1.jpg', 'food-101/images/waffles/2.jpg', 'food-101/meta/classes.txt=x'],
    counts: { train: both('apple_pie', 'waffles') },
  },
  {
    name: 'birds with a CSV that agrees',
    files: [
      ...['train', 'valid', 'test'].flatMap((split) => [`${split}/BALD EAGLE/1.jpg`, `${split}/ZEBRA DOVE/1.jpg`]),
      ...['images to test/1.jpg', 'EfficientNet.h5=x'],
      'birds.csv=class id,filepaths,labels,data set\n0.0,train/BALD EAGLE/1.jpg,BALD EAGLE,train\n1.0,train/ZEBRA DOVE/1.jpg,ZEBRA DOVE,train\n',
    ],
    counts: {
      train: both('BALD EAGLE', 'ZEBRA DOVE'),
      test: both('BALD EAGLE', 'ZEBRA DOVE'),
      validation: both('BALD EAGLE', 'ZEBRA DOVE'),
    },
    warning: /`images to test`: 1 images without class folders/,
  },
  {
    name: 'dog breeds',
    files: ['train/aa.jpg', 'train/bb.jpg', 'test/cc.jpg', 'labels.csv=id,breed\naa,boston_bull\nbb,dingo\n'],
    refused: /labels\.csv \(columns `id`, `breed`\) names images/,
    table: ['labels.csv'],
    asWritten: { train: both('boston_bull', 'dingo') },
  },
  {
    name: 'butterflies, equal names in train and test',
    files: [
      ...['train/Image_1.jpg', 'train/Image_2.jpg', 'test/Image_1.jpg', 'Testing_set.csv=filename\nImage_1.jpg\n'],
      'Training_set.csv=filename,label\nImage_1.jpg,ATLAS MOTH\nImage_2.jpg,ADONIS\n',
    ],
    refused: /Training_set\.csv \(columns `filename`, `label`\)/,
    table: ['.'],
    asWritten: { train: both('ADONIS', 'ATLAS MOTH') },
  },
  {
    name: 'plant pathology, one column a class',
    files: [
      ...['images/Train_0.jpg', 'images/Train_1.jpg', 'images/Test_0.jpg', 'test.csv=image_id\nTest_0\n'],
      'train.csv=image_id,healthy,multiple_diseases,rust,scab\nTrain_0,0,0,0,1\nTrain_1,0,1,0,0\n',
    ],
    refused: /labelColumn: \["healthy","multiple_diseases","rust","scab"\]/,
    table: ['train.csv'],
    asWritten: { train: both('multiple_diseases', 'scab') },
  },
  {
    name: 'ISIC 2019',
    files: [
      ...[
        'ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_0.jpg',
        'ISIC_2019_Training_Input/ISIC_2019_Training_Input/ISIC_1.jpg',
      ],
      'ISIC_2019_Training_GroundTruth.csv=image,MEL,NV,UNK\nISIC_0,0.0,1.0,0.0\nISIC_1,1.0,0.0,0.0\n',
      'ISIC_2019_Training_Metadata.csv=image,age_approx,sex\nISIC_0,55.0,female\nISIC_1,30.0,female\n',
    ],
    refused:
      /folders and table give different classes.*ISIC_2019_Training_GroundTruth\.csv.*\n.*labelColumn: \["MEL","NV","UNK"\]/,
    table: ['ISIC_2019_Training_GroundTruth.csv'],
    asWritten: { train: both('MEL', 'NV') },
  },
  {
    name: 'retinopathy grades (APTOS)',
    files: [
      ...['train_images/000c.png', 'train_images/001b.png', 'test_images/0005.png', 'test.csv=id_code\n0005\n'],
      'train.csv=id_code,diagnosis\n000c,2\n001b,10\n',
    ],
    refused: /train\.csv \(columns `id_code`, `diagnosis`\)/,
    table: ['train.csv', { classes: { 2: 'moderate', 10: 'other' } }],
    asWritten: { train: both('moderate', 'other') },
  },
  {
    name: "Hugging Face's image folder, a table a split",
    files: [
      ...['train/1.png', 'train/2.png', 'train/metadata.csv=file_name,label\n1.png,cat\n2.png,dog\n'],
      ...['test/1.png', 'test/metadata.csv=file_name,label\n1.png,dog\n'],
    ],
    counts: { train: both('cat', 'dog'), test: { cat: 0, dog: 1 } },
  },
  {
    name: 'Hugging Face, metadata.parquet',
    files: ['train/1.png', 'train/metadata.parquet=PAR1'],
    refused: /metadata\.parquet: this table may hold the classes, and Parquet is not read here/,
  },
  {
    name: 'Hugging Face, saved to disk',
    files: ['train/data-00000-of-00001.arrow=x', 'train/state.json={}', 'dataset_dict.json={}'],
    refused: /no images in this folder or below, but 2 \.json, 1 \.arrow\n.*not read: unpack them/,
  },
];

describe('data sets as they are published', () => {
  it.each(SETS.map((set) => [set.name, set] as const))('%s', async (_name, set) => {
    const dir = join(base, String(count++));
    await plant(dir, set.files);
    const loaded = await loadFolder(dir);
    if (set.counts) expect(loaded.message).toBe('');
    expect(loaded.counts).toEqual(set.counts);
    for (const pattern of [set.refused ?? []].flat()) expect(loaded.message).toMatch(pattern);
    for (const pattern of [set.warning ?? []].flat()) expect(loaded.warnings).toMatch(pattern);
    if (set.counts && !set.warning) expect(loaded.warnings).toBe('');
    if (!set.asWritten) return;
    const second = set.table ? await loadTable(dir, set.table[0], set.table[1]) : await loadFolder(dir, set.options);
    expect(second.message).toBe('');
    expect(second.counts).toEqual(set.asWritten);
  });
});
