import {
  MODEL_FILES,
  snapshotDownload
} from "./chunk-BAPLHSQJ.js";
import "./chunk-PXMY47J6.js";
import "./chunk-KJBHL2WW.js";
import "./chunk-SNHGLKYO.js";
import "./chunk-VSPP423R.js";
import "./chunk-BBRBU2CC.js";
import "./chunk-2FCRM4RN.js";
import "./chunk-CBKZZ4JE.js";
import "./chunk-WVPKETS6.js";
import "./chunk-4SGRRHUY.js";
import "./chunk-NY3EPE2R.js";
import "./chunk-VP2QJLUM.js";
export {
  MODEL_FILES,
  snapshotDownload
};
